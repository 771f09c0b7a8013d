"""A session's rows: short, read back as what they were made of, also those that were written longer before."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

from nbsession import App
from nbsession.stores import MemoryStore, Row
from nbsession.testing import ScriptedModel, call
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from nbsession import Session
    from nbsession.events import Event

OLDER = json.loads(Path(__file__).with_name("older_rows.json").read_text(encoding="utf-8"))
"""A session and its fork as they were kept when each entry's row had its parent, and more events their tick."""


def opened(store: MemoryStore, id: str, *answers: str) -> Session:
    return App(Notepad, model=ScriptedModel(*answers), store=store).session(id)


def older() -> MemoryStore:
    store = MemoryStore()
    for name, rows in OLDER["sessions"].items():
        store.append(name, [Row(*row) for row in rows], OLDER["texts"], revision=0)
    return store


def said(session: Session) -> list[str]:
    """Return what the user and the model said."""
    return [entry.text for entry in session.timeline if entry.role != "tool"]


async def told(session: Session) -> list[Event]:
    """Return the durable events of a session's past."""
    last, events = session._core.feed.sequence, []
    async for event in session.subscribe(0):
        events.append(event)
        if event.sequence == last:
            break
    return [event for event in events if event.durable]


async def test_a_session_that_was_kept_in_longer_rows_is_read_and_goes_on() -> None:
    store = older()
    session = opened(store, "old", "more")
    assert said(session) == ["first", "", "one", "instead " * 200, "other"]
    assert [tick.text for tick in session.ticks] == ["", "one", "two", "other"]
    assert (session.verify(), session.state) == ([], {"Notepad#1": ["a"]})
    events = await told(session)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.tick for event in events if event.type == "tick_end"] == [0, 1, 2, 3]  # type: ignore[attr-defined]
    assert (await session.send("first", request_id="r")).text == "one"
    assert (await session.send("go on")).text == "more"
    await session.aclose()
    again = opened(store, "old")
    assert said(again)[-2:] == ["go on", "more"]
    assert again.verify() == []


async def test_a_fork_that_was_kept_in_longer_rows_is_read_with_what_it_shares() -> None:
    fork = opened(older(), "fork", "here")
    assert said(fork) == ["first", "", "one"]
    assert fork.verify() == []
    assert (await fork.send("go on")).text == "here"


async def test_each_entry_has_its_parent_again_wherever_the_timeline_stood() -> None:
    store = MemoryStore()
    model = ScriptedModel([call("add_note", note="a")], *"bcdefghi")
    session = App(Notepad, model=model, store=store).session("s")
    await session.send("one")
    first, last = session.timeline[0].id, session.timeline[-1].id
    await session.send("two")
    session.rewind(first)
    await session.send("three")
    session.rewind(None)
    await session.send("four")
    session.rewind(last)
    session.rewind(None)
    session.rewind(last)
    early, late = session.fork(0, id="early"), session.fork(id="late")
    for fork in (early, late):
        await fork.send("five")
    of_fork = late.fork(0, id="of a fork")
    await of_fork.send("six")
    await session.send("seven")
    await asyncio.sleep(0)
    for kept in (session, early, late, of_fork):
        await kept.aclose()
        again = opened(store, kept.id)
        path = {entry.id: entry.parent for entry in kept.timeline}
        assert {entry.id: entry.parent for entry in again.timeline} == path
        mine = {entry.id: entry for entry in again._core.record.all()}
        assert mine.items() >= {entry.id: entry for entry in kept._core.record.all()}.items()
        assert again.verify() == []


async def test_a_row_of_an_entry_holds_no_parent_where_that_is_the_entry_before() -> None:
    store = MemoryStore()
    session = opened(store, "s", "a", "b", "c")
    await session.send("one")
    await session.send("two")
    session.rewind(session.timeline[0].id)
    await session.send("three")
    await session.aclose()
    entries = [row.data for row in store.load("s") or [] if row.kind == "entry"]
    assert len(entries) == 6
    assert not any("parent" in data for data in entries)
