"""``app.delete``: sessions that are gone for good, here and in their store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    Section,
    SessionClosedError,
    SessionError,
    SessionNotFoundError,
    Timeline,
    component,
)
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbsession.stores import SessionStore


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionStore]:
    made: Any = MemoryStore() if request.param == "memory" else SqlStore(f"sqlite:///{tmp_path}/s.db")
    yield made
    made.close()


@component
def Briefed() -> Any:
    return [Section("long " * 400, id="brief"), Timeline()]


def app_of(store: SessionStore | None) -> App:
    return App(Timeline(), model=ScriptedModel(*["answer"] * 20), store=store)


def ids(app: App) -> list[str]:
    return [info.id for info in app.sessions()]


def test_an_open_session_is_closed_and_deleted_and_its_id_begins_anew(store: SessionStore) -> None:
    app = app_of(store)
    session = app.session("s")
    session.run("hello")
    app.delete("s")
    assert (session.status, app.knows("s"), ids(app)) == ("closed", False, [])
    again = app.session("s")
    assert len(again.timeline) == 0
    again.run("hello")
    again.close()
    assert len(app_of(store).session("s").timeline) == 2


def test_a_session_that_was_never_stored_is_let_go_of() -> None:
    app = app_of(None)
    session = app.session("s")
    app.delete("s")
    assert (session.status, app.knows("s")) == ("closed", False)


def test_an_id_that_is_not_there_is_named_and_nothing_is_deleted(store: SessionStore) -> None:
    app = app_of(store)
    session = app.session("draft")
    session.run("hello")
    with pytest.raises(
        SessionNotFoundError, match=r"no session 'darft'; did you mean 'draft'\?; nothing was"
    ):
        app.delete("draft", "darft")
    assert (session.status, ids(app)) == ("idle", ["draft"])
    app.delete()
    session.close()


async def test_a_running_session_is_not_deleted(store: SessionStore) -> None:
    app = app_of(store)
    session = app.session("s")
    execution = session.send("hello")
    with pytest.raises(SessionError, match="'s' is running: wait for it or abort it"):
        app.delete("s")
    await execution
    with pytest.raises(SessionError, match=r"'s' is open on this loop: await session.aclose\(\)"):
        app.delete("s")
    await session.aclose()
    app.delete("s")
    assert ids(app) == []


async def test_forks_keep_their_past_and_go_along_with_it(store: SessionStore) -> None:
    app = App(Briefed, model=ScriptedModel("a", "b"), store=store)
    session = app.session("s")
    await session.send("one")
    fork = session.fork(id="fork")
    second = fork.fork(id="second")
    await second.send("two")
    for each in (second, fork, session):
        await each.aclose()
    with pytest.raises(SessionError, match=r"'s' is the past of its forks? .*'second'"):
        app.delete("s")
    with pytest.raises(
        SessionError, match="'s' is the past of its fork 'second': delete them first or along"
    ):
        app.delete("s", "fork")
    kept = app_of(store).session("second")
    assert (len(kept.timeline), kept.verify()) == (4, [])
    await kept.aclose()
    app.delete("s", "fork", "second")
    assert ids(app) == []


async def test_what_another_session_sent_too_can_still_be_read(store: SessionStore) -> None:
    app = App(Briefed, model=ScriptedModel("a", "b"), store=store)
    for name in ("one", "two"):
        session = app.session(name)
        await session.send("The same words. " * 200)
        await session.aclose()
    app.delete("one")
    kept = app_of(store).session("two")
    assert kept.verify() == []
    assert "long long" in str(kept.ticks[0].context)
    await kept.aclose()


async def test_a_session_that_is_deleted_under_its_object_says_so_and_keeps_nothing(
    store: SessionStore,
) -> None:
    app = app_of(store)
    session = app.session("s")
    await session.send("one")
    store.delete(["s"])
    with pytest.raises(SessionClosedError, match=r"'s' is not in the store any more: it was deleted"):
        await session.send("two")
    assert store.load("s") is None
    fresh = app.session("s")
    assert (fresh is session, len(fresh.timeline)) == (False, 0)
    await fresh.send("three")
    await session.aclose()
    assert [entry.text for entry in fresh.timeline] == ["three", "answer"]
    await fresh.aclose()
    assert len(app_of(store).session("s").timeline) == 2


async def test_a_fork_of_what_was_deleted_meanwhile_is_not_kept_in_halves(store: SessionStore) -> None:
    app = app_of(store)
    session = app.session("s")
    await session.send("one")
    fork = session.fork(id="fork")
    store.delete(["s"])
    with pytest.raises(SessionClosedError, match=r"'fork' shares the first \d+ rows of 's', which has 0"):
        await fork.send("two")
    assert store.load("fork") is None
    await fork.aclose()
    await session.aclose()
    assert store.sessions() == []
