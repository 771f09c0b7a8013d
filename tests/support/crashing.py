"""A program that talks to a session on disk until it is killed: run by the crash tests."""

# ruff: noqa: T201  # what it prints is what the test reads

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from nbsession import App, Section, System, Timeline, component, tool, use_state
from nbsession.content import new_id
from nbsession.events import TextDelta
from nbsession.stores import default_store
from nbsession.testing import ScriptedModel, call


@component
def Agent() -> Any:
    steps, set_steps = use_state(0)

    @tool
    async def work(step: int) -> str:
        """Do a step."""
        print(f"started {step}", flush=True)
        await asyncio.sleep(0.01)
        set_steps(lambda n: n + 1)
        return f"step {step} is done"

    return [System("You work."), work, Section(f"steps: {steps}", id="steps", title="Steps"), Timeline()]


def answer(context: Any) -> Any:
    """Ask for a tool after a message and talk after its result, as a model would."""
    last = context.messages[-1]
    if any(block.to_dict()["type"] == "tool_result" for block in last.content):
        return "word " * 40
    return ["I work.", call("work", step=len(context.messages))]


def app(url: str, rate: float = 400) -> App:
    """Return the app that the killed process and its heirs open."""
    return App(Agent, model=ScriptedModel(*[answer] * 10_000, rate=rate), store=default_store(url))


async def main(url: str) -> None:
    """Send messages for ever; say on standard output what was begun."""
    session = app(url).session("crash")
    print("ready", flush=True)
    while True:
        name = new_id("message")
        execution = session.send(name, request_id=name)
        print(f"sent {name}", flush=True)
        await execution
        print(f"done {name}", flush=True)


async def slowly(url: str) -> None:
    """Get one long answer; say how many characters of it have come, and when."""
    agent = App(Timeline(), model=ScriptedModel("word " * 1000, rate=50), store=default_store(url))
    session = agent.session("crash")
    print("ready", flush=True)
    length = 0
    async for event in session.send("talk", request_id="slow"):
        if isinstance(event, TextDelta):
            length += len(event.text)
            print(f"text {time.monotonic()} {length}", flush=True)


if __name__ == "__main__":
    asyncio.run((slowly if sys.argv[2] == "slow" else main)(sys.argv[1]))
