"""Stored events: what was live is read again, in order and without gaps."""

from __future__ import annotations

from typing import Any

import pytest

from nbsession import App, Session, StopReason
from nbsession.content import Thinking
from nbsession.events import Event, TextDelta
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call
from tests.support.notepad import Notepad


def plain(events: list[Event]) -> list[Any]:
    """Return events as data, deltas joined before what follows them, contexts by their hashes."""
    seen: list[Any] = []
    text = ""
    for event in events:
        if isinstance(event, TextDelta):
            text += event.text
        elif event.durable:
            data = event.to_dict()
            if "context" in data:
                data["context"] = data["context"]["hash"]
            seen.append((text, data))
            text = ""
    return seen


async def until_done(session: Session, after: int | None, times: int) -> list[Event]:
    """Read a session's events until so many executions are done."""
    events = []
    async for event in session.subscribe(after):
        events.append(event)
        times -= event.type == "done"
        if times == 0:
            break
    return events


def session_of(store: MemoryStore, *responses: Any) -> Session:
    return App(Notepad, model=ScriptedModel(*responses), store=store).session("s")


@pytest.mark.parametrize("after", [None, 3, 12, 20, 31])
async def test_events_of_an_earlier_process_are_read_as_they_were_live(after: int | None) -> None:
    store = MemoryStore()
    session = session_of(store, [Thinking("hm"), call("add_note", note="a")], "one two three", "four")
    await session.send("first")
    session.knobs["tone"] = "terse"
    await session.send("second")
    live = await until_done(session, None, 2)
    await session.aclose()
    again = session_of(store, "five")
    wanted = [
        event
        for event in live
        if after is None or event.sequence > after or (event.sequence == after and not event.durable)
    ]
    stored = await until_done(again, after, sum(event.type == "done" for event in wanted))
    assert plain(stored) == plain(wanted)
    await again.send("third")
    everything = await until_done(again, None, 3)
    numbers = [event.sequence for event in everything if event.durable]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_tick_that_the_budget_forbade_is_told_as_it_was_live() -> None:
    store = MemoryStore()
    session = session_of(store, "one", "two")
    await session.send("first")
    result = await session.send("second", budget={"tokens": 1})
    assert result.stop_reason is StopReason.budget
    live = await until_done(session, None, 2)
    await session.aclose()
    stored = await until_done(session_of(store), None, 2)
    assert plain(stored) == plain(live)
    assert [event.type for event in stored if event.durable][-5:] == [
        "entry_committed",
        "tick_start",
        "tick_end",
        "execution_end",
        "done",
    ]


async def test_the_end_of_an_execution_that_was_not_told_any_more_is_told_by_the_next_process() -> None:
    store = MemoryStore()
    session = session_of(store, "one")
    await session.send("first")
    rows = store.load("s") or []
    assert (rows[-1].kind, rows[-1].data["events"][-1]) == ("events", "done 1")
    cut = MemoryStore()
    cut.append("s", rows[:-1], store._texts, revision=0)
    again = session_of(cut)
    events = [event for event in await until_done(again, None, 1) if event.durable]
    assert [event.type for event in events][-2:] == ["execution_end", "done"]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
