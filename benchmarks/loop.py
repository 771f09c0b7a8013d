"""What the loop adds to a model's answers: many ticks with a tool call each, and what they leave in memory.

The model is scripted and answers at once, so what is measured is the loop alone: render,
compile, stream, run the tool, commit, and the events of all that.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession import App, System, Timeline, component, tool, use_knob
from nbsession.content import ToolCall
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel

if TYPE_CHECKING:
    from nbsession.session import Result
    from nbsession.stores import SessionStore

TICKS = 100
RUNS = 9
TEXT = "x" * 400


@tool
def look(query: str, limit: int = 5) -> str:  # noqa: ARG001  # as tools take them
    """Look something up.

    Args:
        query: What to look for.
        limit: How many lines at most.
    """
    return TEXT


@tool
def note(text: str) -> str:  # noqa: ARG001  # the same
    """Keep a note."""
    return "Noted."


@component
def Agent() -> Any:
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    return [System(f"You are a {tone} assistant."), look, note, Timeline()]


async def ticking(ticks: int, store: SessionStore | None = None) -> tuple[Result, float]:
    """Send one message that takes so many ticks; return its result and the milliseconds it took."""
    answers: list[list[Any]] = [[TEXT, ToolCall(f"call-{n}", "look", {"query": "a"})] for n in range(ticks)]
    model = ScriptedModel(*answers)
    session = App(Agent, model=model, store=store, max_ticks=ticks).session()
    started = time.perf_counter()
    result = await session.send("go")
    taken = (time.perf_counter() - started) * 1_000
    await session.aclose()
    return result, taken


def milliseconds(result: Result) -> list[float]:
    return [(tick.ended - tick.started) * 1_000 for tick in result.ticks if tick.ended is not None]


def show(what: str, value: float, unit: str, bound: str = "") -> None:
    print(f"{what:<58} {value:9.2f} {unit:<5} {bound}")


def in_memory() -> None:
    asyncio.run(ticking(TICKS))
    totals, growth, busy = [], [], []
    for _ in range(RUNS):
        before = time.process_time()
        result, taken = asyncio.run(ticking(TICKS))
        busy.append((time.process_time() - before) * 1_000)
        each = milliseconds(result)
        totals.append(taken)
        growth.append(statistics.median(each[-10:]) / statistics.median(each[:10]))
    show(f"{TICKS} ticks with a tool call each", statistics.median(totals), "ms", "at most 35")
    show("  of that on the processor (what counts on a busy machine)", statistics.median(busy), "ms")
    show("  the last ten ticks to the first ten", statistics.median(growth), "times", "at most 1.3")


def durable() -> None:
    with tempfile.TemporaryDirectory() as folder:
        taken = []
        for number in range(3):
            store = SqlStore(f"sqlite:///{Path(folder) / f'{number}.db'}")
            taken.append(asyncio.run(ticking(TICKS, store))[1] / TICKS)
            store.close()
    show("  a tick, kept in SQLite", statistics.median(taken), "ms", "at most 5 over memory")


async def _traced(ticks: int) -> float:
    """Return the kilobytes that an execution of so many ticks leaves."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result, _ = await ticking(ticks)
        assert len(result.ticks) == ticks
        return (tracemalloc.get_traced_memory()[0] - before) / 1_000
    finally:
        tracemalloc.stop()


def memory() -> None:
    asyncio.run(ticking(10))
    some, many = asyncio.run(_traced(TICKS)), asyncio.run(_traced(4 * TICKS))
    show(f"memory a tick, over {TICKS} ticks", some / TICKS, "kB")
    show(f"  over {4 * TICKS} ticks", many / TICKS / 4, "kB", "the same, as it is linear")


def main() -> None:
    in_memory()
    durable()
    memory()


if __name__ == "__main__":
    main()
