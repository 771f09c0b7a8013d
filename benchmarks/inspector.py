"""What a step of the inspector costs in the kernel, in a session of 500 ticks: from the page's question to the answer."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from typing import Any

from nbsession import App, Section, Session, System, Timeline, component, tool, use_state
from nbsession.notebook.panels.inspector import Inspector
from nbsession.testing import ScriptedModel, call

TICKS = 500
STEPS = 60


@component
def Notepad() -> Any:
    notes, set_notes = use_state(list[str]())

    @tool
    def add_note(note: str) -> str:
        """Keep a note."""
        set_notes(lambda kept: [*kept[-19:], note])
        return "Noted."

    return [
        System("You are an assistant with a notepad. " * 20),
        add_note,
        Section("\n".join(f"- {note}" for note in notes), id="notes", title="Notes"),
        Timeline(),
    ]


MESSAGES = [f"Message {number}, which says what is to be done." for number in range(TICKS // 2)]


def noting() -> App:
    """Return the app whose model keeps a note and answers, for each of the messages."""
    turns: list[Any] = []
    for number in range(len(MESSAGES)):
        turns += [call("add_note", note=f"note {number}, of some words"), "An answer of some length. " * 20]
    return App(Notepad, model=ScriptedModel(*turns))


async def spoken() -> Session:
    session = noting().session("long")
    for message in MESSAGES:
        await session.send(message)
    return session


async def measure() -> None:
    session = await spoken()
    began = time.perf_counter()
    panel = Inspector(session)
    page = panel.html()
    print(f"opened in {1000 * (time.perf_counter() - began):.0f} ms, a page of {len(page) / 1000:.0f} kB")
    fork = session.fork(TICKS // 2)
    fork.model = ScriptedModel(*(f"Another answer {number}." for number in range(TICKS // 2 - 1)))
    for number in range(TICKS // 2 - 1):
        await fork.send(f"Another message {number}.")
    for name, what in (
        ("compared with the tick before", {"k": "compare", "beside": "before"}),
        ("compared with the first tick", {"k": "compare", "beside": 0}),
        ("with a fork beside it", {"k": "company", "id": fork.id}),
    ):
        panel.hear(what)
        took, size = [], 0
        for step in range(STEPS):
            number = TICKS - 1 - step * (TICKS // STEPS)
            began = time.perf_counter()
            panel.hear({"k": "go", "tick": number})
            size = max(size, len(json.dumps(panel.answer())))
            took.append(1000 * (time.perf_counter() - began))
        took.sort()
        print(
            f"a step, {name}: {statistics.median(took):.0f} ms, "
            f"95th percentile {took[round(0.95 * STEPS) - 1]:.0f} ms, at most {size / 1000:.0f} kB"
        )


def main() -> None:
    asyncio.run(measure())


if __name__ == "__main__":
    main()
