"""A store that cannot be used says where, why and what to do, and destroys nothing."""

from __future__ import annotations

import random
import sqlite3
import sys
import zlib
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy

from nbsession.errors import StoreError
from nbsession.stores import Row, SqlStore, default_store, sqlite
from tests.support.stored import edit_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANCE = random.Random(4)
BIG = random.Random(5).randbytes(50_000).hex()
"""A text that no packing makes small."""

ROWS = [
    Row("entry", f"{number}", {"text": " ".join(f"{CHANCE.random()}" for _ in range(40))})
    for number in range(200)
]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return a file with one session of 200 rows, closed."""
    path = tmp_path / "sessions.db"
    store = SqlStore(f"sqlite:///{path}")
    store.append("s", ROWS, revision=0)
    store.close()
    return path


@contextmanager
def refused(path: Path, advice: str) -> Iterator[pytest.ExceptionInfo[StoreError]]:
    """Expect a StoreError that names the path and gives the advice, and a file that stays as it is."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreError, match=advice) as failure:
        yield failure
    assert failure.value.location == str(path)
    assert str(path) in str(failure.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_a_newer_schema_is_left_alone(kept: Path) -> None:
    change(kept, "UPDATE meta SET value = '6' WHERE key = 'schema'")
    with refused(kept, r"newer nbsession \(schema 6, this one knows 5\): upgrade with pip install"):
        SqlStore(f"sqlite:///{kept}")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    change(tmp_path / "other.db", "CREATE TABLE sessions (cookie TEXT)")
    with refused(tmp_path / "other.db", "not a session store: it has a table 'sessions' and no table 'meta'"):
        SqlStore(f"sqlite:///{tmp_path}/other.db")


def test_a_store_without_a_version_is_left_alone(kept: Path) -> None:
    change(kept, "DELETE FROM meta")
    with refused(kept, "not a session store: its schema version is None"):
        SqlStore(f"sqlite:///{kept}")


def test_tables_of_another_name_in_the_same_database_do_not_disturb(tmp_path: Path) -> None:
    change(tmp_path / "both.db", "CREATE TABLE notes (text TEXT)", "INSERT INTO notes VALUES ('mine')")
    store = SqlStore(f"sqlite:///{tmp_path}/both.db")
    store.append("s", ROWS, revision=0)
    store.close()
    with closing(sqlite3.connect(tmp_path / "both.db")) as connection:
        assert connection.execute("SELECT text FROM notes").fetchall() == [("mine",)]


def test_a_read_only_file_can_be_read_and_refuses_to_be_written(kept: Path) -> None:
    store = SqlStore(f"sqlite:///file:{kept}?mode=ro&uri=true")
    assert store.load("s") == ROWS
    with refused(kept, "is read-only .*: make the file and its folder writable"):
        store.append("s", [Row("entry", "late", {})], revision=200)
    with refused(kept, "is read-only"):
        store.acquire("s", "process 1 on host-a", 60)
    assert store.load("s") == ROWS
    assert [row for _, row in store.rows("s")] == ROWS
    store.close()


def test_a_read_only_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with refused(tmp_path / "none.db", "cannot be opened .*: see that its folder exists"):
        SqlStore(f"sqlite:///file:{tmp_path}/none.db?mode=ro&uri=true")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with refused(tmp_path / "no" / "s.db", "No such file or directory.*see that its folder exists"):
        SqlStore(f"sqlite:///{tmp_path}/no/s.db")


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with refused(tmp_path, "cannot be opened"):
        SqlStore(f"sqlite:///{tmp_path}")


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    with refused(tmp_path / "file" / "nbsession", r"Not a directory.*set \$NBSESSION_STORE"):
        default_store()


@pytest.mark.parametrize("beyond", ["no/s.db", "s.db/s.db"])
def test_the_advice_fits_where_the_place_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beyond: str
) -> None:
    (tmp_path / "s.db").touch()
    location = tmp_path / beyond
    with refused(location, "or give SqlStore[(][)] another place") as caught:
        SqlStore(f"sqlite:///{location}")
    assert "NBSESSION_STORE" not in str(caught.value)
    monkeypatch.setenv("NBSESSION_STORE", f"sqlite:///{location}")
    with refused(location, r"or set \$NBSESSION_STORE to another place"):
        default_store()


def test_a_damaged_header_is_left_alone(kept: Path) -> None:
    content = bytearray(kept.read_bytes())
    content[:16] = b"not a database!!"
    kept.write_bytes(content)
    with refused(kept, "header is damaged .*: it was left as it is"):
        SqlStore(f"sqlite:///{kept}")


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Buy milk.\n" * 500)
    with refused(tmp_path / "notes.txt", "not a SQLite file"):
        SqlStore(f"sqlite:///{tmp_path}/notes.txt")


def test_damaged_pages_are_left_alone(kept: Path) -> None:
    content = bytearray(kept.read_bytes())
    page = int.from_bytes(content[16:18])
    for start in range(40 * page, len(content), page):
        content[start : start + page] = b"\xff" * page
    kept.write_bytes(content)
    store = SqlStore(f"sqlite:///{kept}")
    with refused(kept, "is damaged .*: .*recover"):
        store.load("s")
    with refused(kept, "is damaged .*: .*recover"):
        list(store.rows("s"))
    store.close()


def test_a_truncated_file_is_left_alone(kept: Path) -> None:
    kept.write_bytes(kept.read_bytes()[:10_000])
    with refused(kept, "is damaged"):
        SqlStore(f"sqlite:///{kept}").load("s")


@pytest.mark.parametrize("damage", ['["entry","7",{"text":', '"entry"', '["entry",{}]'])
def test_a_row_that_is_no_longer_one_is_named(damage: str, kept: Path) -> None:
    edit_rows(kept, lambda line: damage if line.startswith('["entry","7",') else line)
    store = SqlStore(f"sqlite:///{kept}")
    with refused(kept, "row 8 of session 's' is damaged .*restore the store from a copy"):
        store.load("s")
    with refused(kept, "row 8 of session 's' is damaged"):
        list(store.rows("s"))
    store.close()


@pytest.mark.parametrize(
    "damage", ["lines = x'00'", "lines = substr(lines, 1, 1000)", "first = 1", "last = last + 1"]
)
def test_a_pack_that_is_damaged_is_named(damage: str, kept: Path) -> None:
    change(kept, f"UPDATE packs SET {damage} WHERE first = 0")
    store = SqlStore(f"sqlite:///{kept}")
    with refused(
        kept, r"the pack of rows \d to \d+ of session 's' is damaged .*restore the store from a copy"
    ):
        store.load("s")
    with refused(kept, r"the pack of rows \d to \d+ of session 's' is damaged"):
        list(store.rows("s"))
    store.close()


def test_a_text_that_is_damaged_is_named(kept: Path) -> None:
    store = SqlStore(f"sqlite:///{kept}")
    store.append("s", [], {"d": "a text"}, revision=200)
    for damage, why in ((b"", "incomplete"), (zlib.compress(b"[]"), "no text"), (zlib.compress(b"{"), "")):
        with closing(sqlite3.connect(kept)) as connection, connection:
            connection.execute("UPDATE texts SET text = ?", [damage])
        with refused(kept, f"text d is damaged .*{why}.*restore the store from a copy"):
            store.texts(["d"])
    store.close()


@pytest.fixture
def mixed(kept: Path) -> Path:
    """Return the file with ten rows more, which are in no pack."""
    store = SqlStore(f"sqlite:///{kept}")
    store.append("s", [Row("entry", f"{number}", {}) for number in range(200, 210)], revision=200)
    store.close()
    return kept


def test_rows_that_are_gone_are_noticed(mixed: Path) -> None:
    change(mixed, "DELETE FROM rows WHERE sequence > 205")
    store = SqlStore(f"sqlite:///{mixed}")
    with refused(mixed, "session 's' should have 210 rows and has 206"):
        store.load("s")
    store.close()


@pytest.mark.parametrize(
    ("gone", "first"),
    [("DELETE FROM rows WHERE sequence = 205", 206), ("DELETE FROM packs WHERE first = 0", 1)],
)
def test_rows_that_are_gone_from_the_middle_are_noticed(gone: str, first: int, mixed: Path) -> None:
    change(mixed, gone)
    store = SqlStore(f"sqlite:///{mixed}")
    with refused(mixed, f"row {first} of session 's' is missing"):
        store.load("s")
    with refused(mixed, f"row {first} of session 's' is missing"):
        list(store.rows("s"))
    store.close()


def test_a_full_disk_keeps_nothing_of_the_append_and_all_before_it(kept: Path) -> None:
    store = SqlStore(f"sqlite:///{kept}")
    with store._engine.connect() as connection:  # the one connection, which the store's pool gives again
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with refused(kept, "is full, or the disk is .*: free some space and try again"):
        store.append("s", [Row("entry", "big", {"text": BIG})], {"d": BIG[::-1]}, revision=200)
    assert store.load("s") == ROWS
    with pytest.raises(StoreError, match="missing"):
        store.texts(["d"])
    with refused(kept, "is full, or the disk is"):
        store.acquire("t" * 100_000, "process 1 on host-a", 60)
    with store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    assert store.append("s", [Row("entry", "big", {"text": BIG})], revision=200) == 201
    store.close()


def test_a_writer_that_does_not_end_is_not_waited_for_forever(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    store = SqlStore(f"sqlite:///{kept}")
    with closing(sqlite3.connect(kept, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with refused(kept, "is being written by another process"):
            store.append("s", [Row("entry", "late", {})], revision=200)
        assert store.load("s") == ROWS, "readers do not wait for writers"
        other.execute("ROLLBACK")
    assert store.append("s", [Row("entry", "late", {})], revision=200) == 201
    store.close()


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("sessions.db", "is not a database URL: write sqlite:///sessions.db"),
        (Path("kept/all.db"), "is not a database URL: write sqlite:///kept/all.db"),
        ("sessions", "is not a database URL: write sqlite:////path"),
        ("mysql://ann:secret@host/db", r"no store for 'mysql': use sqlite:///… or postgresql\+psycopg"),
        ("sqlite://", r"use MemoryStore\(\)"),
        ("sqlite:///:memory:", r"use MemoryStore\(\)"),
        ("sqlite:///file:shared?mode=memory&uri=true", r"use MemoryStore\(\)"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_can(url: Any, advice: str) -> None:
    with pytest.raises(StoreError, match=advice) as failure:
        SqlStore(url)
    assert "secret" not in str(failure.value) + failure.value.location


def test_postgresql_without_its_driver_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r'pip install "nbsession\[postgres\]"') as failure:
        SqlStore("postgresql+psycopg://ann:secret@127.0.0.1:1/sessions")
    assert "secret" not in str(failure.value) + failure.value.location


def test_a_server_that_cannot_be_reached_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"ann:\*\*\*@.*cannot be used .*see that it can be reached"
    ) as failure:
        SqlStore(f"postgresql+psycopg://ann:secret@/sessions?host={tmp_path}")
    assert "secret" not in str(failure.value) + failure.value.location


def test_after_a_server_dropped_its_connections_a_store_goes_on(postgres: str) -> None:
    store = SqlStore(postgres)
    store.append("s", ROWS, revision=0)
    engine = sqlalchemy.create_engine(postgres)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    engine.dispose()
    assert store.load("s") == ROWS
    store.close()


@pytest.mark.parametrize("name", ["a\0b", "cut \ud83d"])
def test_a_name_no_database_can_hold_is_refused(name: str, kept: Path) -> None:
    store = SqlStore(f"sqlite:///{kept}")
    with pytest.raises(StoreError, match="may hold no"):
        store.acquire("t", name, 60)
    with pytest.raises(StoreError, match="may hold no"):
        store.acquire(name, "me", 60)
    for session, key, digest in ((name, "e", "d"), ("t", name, "d"), ("t", "e", name)):
        with pytest.raises(StoreError, match="may hold no"):
            store.append(session, [Row("entry", key, {})], {digest: "text"}, revision=0)
    assert [info.id for info in store.sessions()] == ["s"]
    store.close()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"metadata": "title"}, "metadata of session 't' must be a dict, got 'title'"),
        ({"parent": 7}, "parent of session 't' must be a session id, got 7"),
    ],
)
def test_a_session_row_that_cannot_be_listed_is_refused(
    data: dict[str, object], why: str, kept: Path
) -> None:
    store = SqlStore(f"sqlite:///{kept}")
    with pytest.raises(StoreError, match=why):
        store.append("t", [Row("session", "t", data)], revision=0)
    store.close()
