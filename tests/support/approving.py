"""A workflow of several steps, draft → approve → send, that is killed at a chosen point and goes on from its store."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession import App, Pause, System, Timeline, component, tool, use_state
from nbsession.events import ConfirmationRequested
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from nbsession import Session


class Workflow:
    """The app, what its tools did (one line each in a file), and where the process is to die."""

    def __init__(self, folder: Path, point: str = "") -> None:
        self.point = point
        self.done = folder / "done.txt"
        self.app = App(
            self.root(),
            model=ScriptedModel(*[answer] * 20),
            store=SqlStore(f"sqlite:///{folder}/sessions.db"),
        )

    def do(self, what: str) -> None:
        """Note that a tool did something."""
        with self.done.open("a") as file:
            file.write(f"{what}\n")

    def die(self, point: str) -> None:
        """Kill this process, if that is the point at which it is to die."""
        if point == self.point:
            os.kill(os.getpid(), signal.SIGKILL)

    def root(self) -> Any:
        """Return the tree's root."""

        @component
        def Letter() -> Any:
            text, set_text = use_state("")

            @tool
            def draft(to: str) -> str:
                """Write a draft."""
                self.die("before the draft")
                self.do("draft")
                set_text(f"Dear {to}")
                self.die("in the draft")
                return "drafted"

            @tool
            def approve() -> str:
                """Have the draft approved."""
                self.die("before asking")
                raise Pause(f"Send {text!r}?", answer=bool)

            @tool(confirm=True)
            def deliver() -> str:
                """Send the letter."""
                self.die("before sending")
                self.do(f"sent {text}")
                self.die("in sending")
                return "sent"

            return [System("You write letters."), draft, approve, deliver, Timeline()]

        return Letter()

    async def run(self, session: Session) -> str:
        """Take the workflow as far as it goes, answering whatever is asked; return the last answer."""
        result = None
        if not len(session.timeline):
            result = await self.watched(session, session.send("Write to Bo.", request_id="letter"))
        while result is None or session.waiting:
            if session.waiting:
                execution = session.answer(session.waiting[0].id, True)
                self.die("answered")
            else:
                execution = session.render()
            result = await self.watched(session, execution)
            self.die("gone on")
        return str(result)

    async def watched(self, session: Session, execution: Any) -> Any:
        """Wait for an execution, and allow what it asks to do."""
        async for event in execution:
            if isinstance(event, ConfirmationRequested):
                self.die("confirming")
                session.answer(event.question, True)
                self.die("confirmed")
            self.die(event.type)
        return await execution


def answer(context: Any) -> Any:
    """Take the next step, as a model would, by the last result."""
    last = str(context.messages[-1])
    for result, step in (("drafted", "approve"), ("true", "deliver"), ("interrupted before", "draft")):
        if result in last.lower():
            return call(step, **({"to": "Bo"} if step == "draft" else {}))
    return call("draft", to="Bo") if "Write to" in last else f"It is over: {last}"


async def main(folder: str, point: str) -> None:
    """Run the workflow in a process that dies at a point."""
    workflow = Workflow(Path(folder), point)
    await workflow.run(workflow.app.session("letter"))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
