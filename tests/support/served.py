"""A server that is killed again and again: run by the test of what that loses."""

# ruff: noqa: T201  # what it prints is what the test reads

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from nbsession import App, System, Timeline, component, tool, use_state
from nbsession.server import Limits
from nbsession.stores import default_store
from nbsession.testing import ScriptedModel, call

WORK_LOG = sys.argv[2] if __name__ == "__main__" else ""


@component
def Agent() -> Any:
    _, set_done = use_state(0)

    @tool
    async def work(task: str) -> str:
        """Do a task, and write down that it was begun."""
        log = os.open(WORK_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, f"{task}\n".encode())
        os.close(log)
        await asyncio.sleep(0.005)
        set_done(lambda n: n + 1)
        return f"{task} is done"

    return [System("You work."), work, Timeline()]


def answer(context: Any) -> Any:
    """Ask for a tool after a message, and talk after its result."""
    last = context.messages[-1].content[-1].to_dict()
    return "word " * 12 if last["type"] == "tool_result" else ["I work. ", call("work", task=last["text"])]


def main() -> None:
    """Serve the sessions of a store until this process is killed."""
    app = App(Agent, model=ScriptedModel(*[answer] * 100_000, rate=400), store=default_store(sys.argv[1]))
    limits = Limits(rate=100_000, burst=100_000)
    app.serve(0, token=False, background=False, limits=limits, say=lambda said: print(said, flush=True))


if __name__ == "__main__":
    main()
