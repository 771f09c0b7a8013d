"""The way to the store: in order, all of it, and when."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    Session,
    SessionBusyError,
    SessionClosedError,
    SessionError,
    StoreError,
    System,
    Timeline,
    component,
    tool,
    use_effect,
    use_on_unmount,
)
from nbsession.record import Journal
from nbsession.record.journal import Rows
from nbsession.stores import MemoryStore, Row, SqlStore
from nbsession.testing import ScriptedModel, call, pause
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nbsession.tools import ToolContext


class Faulty(MemoryStore):
    """A store that refuses while it is broken, and notes how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.asked = 0

    def append(
        self, session: str, rows: Sequence[Row], texts: Mapping[str, str] | None = None, **options: Any
    ) -> int:
        self.asked += 1
        if self.broken:
            raise StoreError("the disk is full; make room")
        return super().append(session, rows, texts, **options)


def waiting(*keys: str) -> Rows:
    rows = Rows()
    for key in keys:
        rows.add(Row("head", key, {"head": key}))
    return rows


async def test_rows_that_were_refused_are_stored_first_when_the_store_recovers() -> None:
    store = Faulty()
    journal = Journal(store, "s")
    await journal.append(waiting("1"))
    store.broken = True
    for key in ("2", "3"):
        with pytest.raises(StoreError, match="disk is full"):
            await journal.append(waiting(key))
    behind = [journal.behind]
    store.broken = False
    await journal.append(waiting("4"))
    assert [*behind, journal.behind] == [True, False]
    assert [row.key for row in store.load("s") or []] == ["1", "2", "3", "4"]


async def test_an_append_that_is_cancelled_is_written_all_the_same(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    journal = Journal(store, "s")
    for number in range(20):
        task = asyncio.create_task(journal.append(waiting(f"{number}")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    journal.close()
    assert [row.key for row in store.load("s") or []] == [f"{number}" for number in range(20)]
    store.close()


async def test_no_model_is_called_before_the_message_is_durable() -> None:
    store = Faulty()
    model = ScriptedModel("never", "fine")
    session = App(Notepad, model=model, store=store).session("s")
    store.broken = True
    with pytest.raises(StoreError, match="disk is full"):
        await session.send("hi")
    assert model.contexts == []
    assert [entry.text for entry in session.timeline] == ["hi"]


@pytest.mark.parametrize("change", ["knob", "dispatch", "rewind", "fork"])
async def test_what_changes_between_executions_is_stored_without_waiting_for_the_next(change: str) -> None:
    store = MemoryStore()
    app = App(Notepad, model=ScriptedModel("a", "b"), store=store)
    session = app.session("s")
    await session.send("hi")
    if change == "knob":
        session.knobs["tone"] = "terse"
    elif change == "dispatch":
        await session.dispatch("add_note", note="n")
    elif change == "rewind":
        session.rewind(session.timeline[0].id)
    else:
        session.fork(id="f")
    for _ in range(5):
        await asyncio.sleep(0)
    # Another process finds it, although this session was not closed.
    other = App(Notepad, model=ScriptedModel(), store=store)
    again = other.session("f" if change == "fork" else "s")
    if change == "knob":
        assert again.knobs["tone"] == "terse"
    elif change == "dispatch":
        assert again.state["Notepad#1"] == ["n"]
    else:
        assert len(again.timeline) == (1 if change == "rewind" else 2)


def test_a_knob_set_without_any_loop_is_stored_at_once() -> None:
    store = MemoryStore()
    session = App(Notepad, model=ScriptedModel(), store=store).session("s")
    session.knobs["tone"] = "terse"
    assert App(Notepad, model=ScriptedModel(), store=store).session("s").knobs["tone"] == "terse"


async def test_what_is_no_json_is_refused_where_it_is_given_and_poisons_nothing() -> None:
    @tool
    def tell(context: ToolContext) -> str:
        """Tell of progress."""
        context.emit({"so": object()})
        return "told"

    store = MemoryStore()
    session = App(Notepad, model=ScriptedModel([call("tell")], "b"), store=store, tools=[tell]).session("s")
    result = await session.send("hi")
    assert result.tool_calls[0].result is not None
    assert "what tool 'tell' emits holds" in result.tool_calls[0].result.text
    with pytest.raises(SessionError, match="metadata"):
        session.send("hi", metadata={"x": {1}})
    await session.aclose()


async def test_nothing_waits_in_memory_where_nothing_is_kept() -> None:
    session = App(Notepad, model=ScriptedModel([call("add_note", note="n")], "b")).session()
    await session.send("hi")
    assert not session._core.outbox


# Closing


@component
def Careful(log: list[str]) -> Any:
    @use_effect
    def hold() -> Any:
        return lambda: log.append("cleaned up")

    @use_on_unmount
    async def left() -> None:
        await asyncio.sleep(0)
        log.append("unmounted")

    return [System("Be careful."), Timeline()]


def careful(log: list[str], *responses: Any, store: Any = None) -> App:
    return App(Careful(log=log), model=ScriptedModel(*responses), store=store)


async def test_closing_cleans_up_once_and_says_how_to_open_again() -> None:
    log: list[str] = []
    app = careful(log, "a", "b", store=MemoryStore())
    session = app.session("s")
    await session.send("hi")
    await asyncio.gather(session.aclose(), session.aclose())
    await session.aclose()
    assert log == ["cleaned up", "unmounted"]
    assert session.status == "closed"
    for misuse in (lambda: session.send("x"), session.compile, lambda: session.knobs["x"], session.fork):
        with pytest.raises(SessionClosedError, match=r"app\.session\('s'\)"):
            misuse()
    assert [entry.text for entry in session.timeline] == ["hi", "a"]
    again = app.session("s")
    assert again is not session
    assert (await again.send("more")).text == "b"
    await again.aclose()


async def test_closing_stops_what_runs_and_what_is_queued() -> None:
    held = pause()
    session = careful([], ["a", held]).session()
    running, queued = session.send("1"), session.send("2")
    await held.reached
    await session.aclose()
    assert [(await handle).reason for handle in (running, queued)] == ["the session was closed"] * 2
    assert session.timeline[-1].status == "interrupted"


async def test_closing_without_awaiting_is_finished_by_a_task() -> None:
    log: list[str] = []
    app = careful(log, "a", store=MemoryStore())
    session = app.session("s")
    await session.send("hi")
    session.close()
    assert session.status == "closed"
    with pytest.raises(SessionClosedError, match="is being closed"):
        app.session("s")
    await session.aclose()
    assert log == ["cleaned up", "unmounted"]
    assert len(app.session("s").timeline) == 2


def test_closing_waits_in_a_program_without_a_loop() -> None:
    log: list[str] = []
    session = careful(log, "a").session()
    session.run("hi")
    session.close()
    assert log == ["cleaned up", "unmounted"]
    session.close()


async def test_a_session_that_closes_itself_in_a_tool_is_closed() -> None:
    sessions: list[Session] = []

    @tool
    async def leave() -> str:
        """Close the session."""
        await sessions[0].aclose()
        return "never"

    session = App(Notepad, model=ScriptedModel([call("leave")], "never"), tools=[leave]).session()
    sessions.append(session)
    result = await asyncio.wait_for(session.send("go"), 5)
    assert result.reason == "the session was closed"
    await asyncio.wait_for(session.aclose(), 5)
    assert session.status == "closed"
    assert session.timeline[-1].role == "tool"


async def test_readers_of_a_closed_session_end() -> None:
    session = careful([], "a").session()
    await session.send("hi")
    reading = asyncio.create_task(_all(session.subscribe()))
    await asyncio.sleep(0)
    await session.aclose()
    assert (await asyncio.wait_for(reading, 5))[-1] == "done"


async def _all(stream: Any) -> list[str]:
    return [event.type async for event in stream]


async def test_an_id_that_is_taken_is_refused_for_a_fork() -> None:
    store = MemoryStore()
    app = careful([], "a", store=store)
    session = app.session("s")
    await session.send("hi")
    session.fork(id="f")
    for _ in range(5):
        await asyncio.sleep(0)
    with pytest.raises(SessionError, match="there is a session 'f' already"):
        session.fork(id="f")
    with pytest.raises(SessionError, match="there is a session 'f' already"):
        careful([], "a", store=store).session("s").fork(id="f")


class TakenOver(SqlStore):
    """A store that another process takes the session over from, in the middle of a write."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.writing, self.taken = threading.Event(), threading.Event()

    def append(self, *args: Any, **options: Any) -> int:
        self.writing.set()
        self.taken.wait(10)
        raise SessionBusyError("it was taken over")


async def test_a_cancelled_append_stays_cancelled_where_the_session_was_taken_over(tmp_path: Path) -> None:
    store = TakenOver(f"sqlite:///{tmp_path}/s.db")
    journal = Journal(store, "s")
    appending = asyncio.create_task(journal.append(waiting("1")))
    await asyncio.to_thread(store.writing.wait, 10)
    appending.cancel()
    asyncio.get_running_loop().call_soon(store.taken.set)
    await asyncio.wait({appending})
    assert (appending.cancelled(), journal.behind) == (True, True)
    journal.close()
    store.close()
