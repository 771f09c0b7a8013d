"""What clients were told and promised outlives a server that is killed at any moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from nbsession import App
from nbsession.record.journal import read_past
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import ScriptedModel, pause
from tests.server.conftest import client_of, notepad
from tests.support import postgres
from tests.support.losing import Tally, count_losses
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 5


def assert_nothing_lost(tally: Tally) -> None:
    assert tally.faults == []
    assert tally.kills == KILLS
    assert tally.compared > 100
    assert tally.accepted == tally.done + tally.interrupted > KILLS


@pytest.mark.timeout(300)
async def test_a_killed_server_loses_no_event_that_it_gave_and_no_run_that_it_took(tmp_path: Path) -> None:
    assert_nothing_lost(await count_losses(f"sqlite:///{tmp_path}/sessions.db", tmp_path, kills=KILLS))


@pytest.mark.timeout(300)
async def test_a_killed_server_loses_nothing_with_postgresql(tmp_path: Path) -> None:
    with postgres.server() as socket:
        assert_nothing_lost(await count_losses(postgres.url(socket), tmp_path, kills=KILLS))


async def test_what_was_stored_by_somebody_else_is_known_to_be(tmp_path: Path) -> None:
    app = App(Notepad, model=ScriptedModel("hi"), store=SqlStore(f"sqlite:///{tmp_path}/sessions.db"))
    session = app.session("s")
    await session.send("hello")
    session.knobs["tone"] = "terse"  # stored by a task of the session's own
    await asyncio.sleep(0)
    while session._core.journal.behind:
        pass  # on purpose without a pause: the task does not hear of it
    await session.keep()
    assert session.stored == session.sequence
    await session.aclose()


def kept_of(store: MemoryStore) -> int:
    """Return the number of the last event that a store has of a session."""
    past = read_past(store, "s")
    return 0 if past is None else past.sequence


async def test_a_page_of_events_and_the_number_of_the_last_tell_only_what_is_stored() -> None:
    held, store = pause(), MemoryStore()
    async with client_of(notepad(["so ", held, "it is"], store=store)) as client:
        await client.post("/sessions", json={"id": "s"})
        await client.post("/sessions/s/runs", json={"message": "hi"})
        await held.reached
        number = (await client.get("/sessions/s")).json()["sequence"]
        assert kept_of(store) == number
        events = (await client.get("/sessions/s/events/history")).json()["events"]
        assert events[-1]["type"] == "content_block_start" or events[-2]["type"] == "content_block_start"
        assert kept_of(store) == max(event["sequence"] for event in events)
        held.release()


async def test_a_message_that_was_accepted_to_be_read_later_is_read_once_after_the_server_was_killed() -> (
    None
):
    held, store = pause(), MemoryStore()

    def as_it_is() -> MemoryStore:
        kept = MemoryStore()  # what is stored when the process ends here
        kept.append("s", store.load("s") or [], dict(store._texts), revision=0)
        return kept

    long = [{"type": "text", "text": "and long " * 300}]
    async with client_of(notepad(["one", held], "two", store=store)) as client:
        await client.post("/sessions", json={"id": "s"})
        assert (await client.post("/sessions/s/queue", json={"message": long})).status_code == 202
        assert (await client.post("/sessions/s/steer", json={"message": "first"})).status_code == 202
        idle = as_it_is()
        sent = asyncio.create_task(client.post("/sessions/s/message", json={"message": "hi"}))
        await held.reached
        assert (await client.post("/sessions/s/queue", json={"message": "later"})).status_code == 202
        running = as_it_is()
        held.release()
        await sent
    for kept, said in (
        (idle, ["go on", "first", long[0]["text"]]),
        (running, ["hi", "first", long[0]["text"], "go on", "later"]),
        (store, ["hi", "first", long[0]["text"], "later", "go on"]),
    ):
        app = notepad("three", "four", store=kept)
        async with client_of(app) as client:
            await client.post("/sessions/s/message", json={"message": "go on"})
        assert [entry.text for entry in app.opened["s"].timeline if entry.role == "user"] == said
