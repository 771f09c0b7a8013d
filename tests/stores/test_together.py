"""Appends of several sessions at the same moment: one transaction, each as if it were alone."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import sqlalchemy

from nbsession.errors import SessionBusyError, StoreError
from nbsession.stores import Row, SqlStore, sqlite
from nbsession.stores.base import Append

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROW = Row("head", "", {"head": None})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    made = SqlStore(f"sqlite:///{tmp_path}/s.db")
    yield made
    made.close()


def together(store: SqlStore, *appends: Append) -> list[int | Exception]:
    assert store.append_together is not None
    return store.append_together(appends)


def new(session: str, *rows: Row, texts: dict[str, str] | None = None, token: int | None = None) -> Append:
    return Append(session, rows or (ROW,), texts or {}, 0, token)


def test_they_are_one_transaction(store: SqlStore) -> None:
    commits: list[object] = []
    sqlalchemy.event.listen(store._engine, "commit", commits.append)
    shared = {"d": "a text of all"}
    assert together(store, new("a", ROW, ROW, texts=shared), new("b", texts=shared), new("c")) == [2, 1, 1]
    assert len(commits) == 1
    assert store.load("a") == [ROW, ROW]
    assert store.load("b") == [ROW]
    assert store.texts(["d"]) == {"d": "a text of all"}
    store.delete(["a"])
    assert store.texts(["d"]) == {"d": "a text of all"}, "the text is the other session's, too"
    more = [Append("b", (ROW,), {}, 1, None), Append("c", (ROW, ROW), {}, 1, None)]
    assert together(store, *more) == [2, 3]
    assert store.load("c") == [ROW, ROW, ROW]


def test_one_that_fails_takes_no_other_along(store: SqlStore) -> None:
    assert together(store, new("a"), new("b")) == [1, 1]
    token = store.acquire("b", "me", 20)
    stale = Append("a", (ROW,), {"stale": "stale"}, 7, None)
    not_mine = Append("b", (ROW,), {}, 1, token - 1)
    no_json = new("c", Row("entry", "e", {"x": object()}))
    kept, *refused = together(store, new("d"), stale, not_mine, no_json)
    assert kept == 1
    assert [type(error) for error in refused] == [SessionBusyError, SessionBusyError, StoreError]
    assert [store.revision(session) for session in "abcd"] == [1, 1, 0, 1]
    with pytest.raises(StoreError):
        store.texts(["stale"])


def test_a_file_that_another_program_holds_is_waited_for_once(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []
    begin = sqlite._begin_writing

    def counted(connection: sqlite3.Connection) -> None:
        begun.append(connection)
        begin(connection)

    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(sqlite, "_begin_writing", counted)
    with closing(sqlite3.connect(store.location)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = together(store, *map(new, "abc"))
    assert [type(error) for error in refused] == [StoreError] * 3
    assert len(begun) == 1
    assert together(store, *map(new, "abc")) == [1, 1, 1]


def test_however_many_there_are(store: SqlStore) -> None:
    names = [f"s{number}" for number in range(1_100)]
    assert together(store, *map(new, names)) == [1] * 1_100
    tokens = {name: store.acquire(name, "me", 20) for name in names[:250]}
    assert (
        together(store, *[Append(name, (ROW,), {}, 1, token) for name, token in tokens.items()]) == [2] * 250
    )


def test_rows_are_packed_as_those_that_come_alone(store: SqlStore) -> None:
    big = Row("entry", "e", {"text": "x" * 1_000})
    for revision in range(0, 100, 10):
        appends = [Append(session, [big] * 10, {}, revision, None) for session in "ab"]
        assert together(store, *appends) == [revision + 10] * 2
    for session in "ab":
        assert store.load(session) == [big] * 100


def test_threads_that_append_at_once_keep_all_of_it_and_those_that_may_not_keep_nothing(
    store: SqlStore,
) -> None:
    counts = dict.fromkeys("abcdefgh", 0)
    refused: list[str] = []

    def write(session: str) -> None:
        token = store.acquire(session, "me", 20)
        for number in range(40):
            if number % 10 == 9:
                with pytest.raises(SessionBusyError):
                    store.append(session, [ROW], {"d" + session: "text"}, revision=number + 5, token=token)
                refused.append(session)
            counts[session] = store.append(
                session, [Row("head", str(number), {})], revision=counts[session], token=token
            )

    threads = [threading.Thread(target=write, args=(session,)) for session in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 32
    for session in counts:
        rows = store.load(session)
        assert rows is not None
        assert [row.key for row in rows] == [str(number) for number in range(40)]
