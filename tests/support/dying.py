"""A program whose session kills its own process at a chosen point: run by the tests of such points."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from nbsession import (
    App,
    Section,
    System,
    Timeline,
    ToolContext,
    component,
    tool,
    use_effect,
    use_knob,
    use_on_execution_end,
    use_on_tick_end,
    use_state,
)
from nbsession.stores import default_store
from nbsession.testing import ScriptedModel, call

POINT = sys.argv[2] if __name__ == "__main__" else ""


def die(point: str) -> None:
    """Kill this process, if that is the point at which it is to die."""
    if point == POINT:
        os.kill(os.getpid(), signal.SIGKILL)


@tool
def first() -> str:
    """A tool that runs in a thread."""
    die("thread")
    return "first is done"


@tool(parallel=True)
async def beside(number: int) -> str:
    """One of several that run together."""
    if number > 1:
        await asyncio.sleep(0.2)
        die("parallel")
    return f"{number} is done"


@tool(confirm=True)
def risky() -> str:
    """A tool that asks first."""
    return "done"


@tool
async def ask(context: ToolContext) -> str:
    """Ask another session."""
    child = context.spawn(Timeline(), "hello", model=ScriptedModel("a"))
    await child
    die("child")
    return "asked"


async def everything(entries: Any) -> Any:
    """Show all entries."""
    if len(entries) > 2:
        die("policy")
    return entries


@component
def Agent() -> Any:
    count, set_count = use_state(0)
    mood, set_mood = use_knob("mood", "calm", momentary=True)

    @tool
    def bump() -> str:
        """Count on."""
        set_count(lambda n: n + 1)
        set_mood("busy")
        return "counted"

    @tool
    def late() -> str:
        """End the process behind the back of a tool that ended."""
        die("after a tool")
        return "late"

    def effect() -> None:
        if count:
            die("effect")

    use_effect(effect, (count,))

    @use_on_tick_end
    def ended(tick: Any) -> None:
        if tick.number:
            die("tick end hook")

    @use_on_execution_end
    def all_ended() -> None:
        if count:
            die("execution end hook")

    trailing = Section(f"{count} {mood}", id="count", title="Count")
    return [System("You work."), first, beside, risky, ask, bump, late, Timeline(), trailing]


ANSWERS: dict[str, Any] = {
    "thread": ["I look. ", call("first"), call("bump")],
    "parallel": [call("beside", number=1), call("beside", number=2), call("beside", number=3)],
    "confirmation": ["May I?", call("risky")],
    "child": [call("ask")],
}


def app(url: str, *responses: Any) -> App:
    """Return the app that the process that dies and its heir open."""
    return App(Agent, model=ScriptedModel(*responses), store=default_store(url), policies=[everything])


async def main(url: str) -> None:
    """Send two messages; the process dies in the second at the latest."""
    answer = ANSWERS.get(POINT, ["I count. ", call("bump"), call("late")])
    session = app(url, "hi", answer, "end").session("s")
    await session.send("one")
    async for event in session.send("two", request_id="two"):
        if event.type == "confirmation_requested":
            await session._core.outbox.keep()  # waits for what is on its way
            die("confirmation")
    session.rewind(session.timeline[0].id)
    assert session._core.keeper.storing is not None
    await session._core.keeper.storing
    die("rewind")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
