"""Deleting for good: nothing is left in the file, whoever else writes it and whenever the process dies."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import string
import subprocess
import sys
import textwrap
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Section, Timeline, component
from nbsession.errors import SessionBusyError, SessionClosedError
from nbsession.stores import Row, SqlStore, schema, sqlite
from nbsession.testing import ScriptedModel
from tests.support.stored import contents

if TYPE_CHECKING:
    from pathlib import Path

CHANCE = random.Random(7)
SECRET = "".join(CHANCE.choices(string.ascii_letters, k=24))
"""Stands in rows as it is, and in texts and packs compressed: there, what it became is looked for by its own bytes."""


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def on_disk(folder: Path) -> bytes:
    """Return all bytes of the file, its log and what else lies there."""
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())


def blobs(path: Path) -> list[bytes]:
    """Return the packs and texts of a file."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT lines FROM packs UNION ALL SELECT text FROM texts"
        return [blob for (blob,) in connection.execute(query)]


def pieces(blobs: list[bytes]) -> list[bytes]:
    """Return beginnings of what compressed values hold, long enough to be found nowhere by chance."""
    return [blob[start : start + 40] for blob in blobs for start in range(0, len(blob) - 40, 200)]


def words(count: int) -> str:
    return " ".join("".join(CHANCE.choices(string.ascii_lowercase, k=6)) for _ in range(count))


@component
def Briefed(prompt: str) -> Any:
    return [Section(prompt, id="brief"), Timeline()]


def talk(store: SqlStore, session: str, prompt: str, count: int = 30) -> None:
    """Have a session with a long prompt, whose rows are packed several times."""
    app = App(Briefed(prompt=prompt), model=ScriptedModel(*[words(300)] * count), store=store)
    opened = app.session(session)
    for number in range(count):
        opened.run(f"{SECRET} {session} {number} {words(200)}")
    opened.close()


def test_nothing_of_a_deleted_session_is_left_in_the_file_or_its_log(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    talk(store, "stays", words(500), count=3)
    before = set(blobs(tmp_path / "s.db"))
    talk(store, "secret-session", f"{SECRET} {words(500)}")
    store.append(
        "secret-session", [Row("entry", "e", {"text": SECRET})], revision=store.revision("secret-session")
    )
    disk = on_disk(tmp_path)
    own = [blob for blob in blobs(tmp_path / "s.db") if blob not in before]
    found = [piece for piece in pieces(own) if piece in disk]  # but those that a page's end cuts in two
    assert len(found) > 50
    assert SECRET.encode() in disk
    store.delete(["secret-session"])
    disk = on_disk(tmp_path)
    assert SECRET.encode() not in disk
    assert b"secret-session" not in disk
    assert [piece for piece in found if piece in disk] == []
    assert SECRET not in contents(tmp_path / "s.db").replace(f"{SECRET} stays", "")
    app = App(Timeline(), store=store)
    assert app.session("stays").verify() == []
    store.close()


def test_the_file_gets_smaller(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    talk(store, "stays", words(50), count=1)
    small = (tmp_path / "s.db").stat().st_size
    talk(store, "goes", words(5_000))
    assert (tmp_path / "s.db").stat().st_size > 3 * small
    store.delete(["goes"])
    assert (tmp_path / "s.db").stat().st_size < 1.3 * small
    store.close()


def test_a_reader_is_not_waited_for_without_end(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    store.append("s", [Row("entry", "e", {"text": SECRET})], revision=0)
    with closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM rows").fetchall()
        store.delete(["s"])
        assert store.load("s") is None
    token = store.acquire("other", "me", 60)
    store.release("other", token)
    assert SECRET.encode() not in on_disk(tmp_path)
    store.close()


DELETER = """
import sys
from nbsession.errors import NbsessionError
from nbsession.stores import SqlStore
store = SqlStore(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    try:
        store.delete(line.split())
        print("deleted", flush=True)
    except NbsessionError as error:
        print(type(error).__name__, error, flush=True)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/s.db"
    made: str = request.getfixturevalue("postgres")
    return made


def ask(process: subprocess.Popen[str], line: str = "") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    if line:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    return process.stdout.readline().strip()


async def test_a_session_that_this_process_holds_is_not_deleted_by_another(url: str) -> None:
    store = SqlStore(url)
    session = App(Timeline(), model=ScriptedModel("a", "b"), store=store).session("s")
    await session.send("one")
    deleter = python(DELETER, url)
    assert ask(deleter) == "ready"
    said = ask(deleter, "s")
    assert said.startswith(f"SessionBusyError session 's' is held by process {os.getpid()} on "), said
    assert (await session.send("two")).text == "b"
    await session.aclose()
    assert ask(deleter, "s") == "deleted"
    deleter.communicate()
    store.close()


async def test_a_session_that_another_process_deleted_is_not_written_on(url: str) -> None:
    store = SqlStore(url)
    app = App(Timeline(), model=ScriptedModel("a", "b", "c"), store=store)
    session = app.session("s")
    await session.send("one")
    await session.aclose()
    looking = app.session("s")  # opened to be read, so that nobody holds it
    deleter = python(DELETER, url)
    assert [ask(deleter), ask(deleter, "s")] == ["ready", "deleted"]
    deleter.communicate()
    with pytest.raises(SessionClosedError, match="'s' is not in the store any more: it was deleted"):
        await looking.send("two")
    assert store.sessions() == []
    await looking.aclose()
    store.close()


def test_a_text_that_another_process_is_just_given_never_vanishes(url: str) -> None:
    writer = python(
        """
        import sys
        from nbsession.stores import Row, SqlStore
        store = SqlStore(sys.argv[1])
        print("ready", flush=True)
        for line in sys.stdin:
            store.append(f"new-{line.strip()}", [Row("entry", "e", {})], {f"text-{line.strip()}": "x"}, revision=0)
            print("kept", flush=True)
        """,
        url,
    )
    store = SqlStore(url)
    assert ask(writer) == "ready"
    assert writer.stdin is not None
    for number in range(40):
        store.append(f"old-{number}", [Row("entry", "e", {})], {f"text-{number}": "x"}, revision=0)
        writer.stdin.write(f"{number}\n")
        writer.stdin.flush()
        store.delete([f"old-{number}"])
        assert ask(writer) == "kept"
        assert store.texts([f"text-{number}"]) == {f"text-{number}": "x"}
    writer.communicate()
    store.close()


@pytest.mark.parametrize("step", range(1, 6))
def test_a_process_that_dies_while_it_deletes_has_deleted_nothing(tmp_path: Path, step: int) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    store = SqlStore(url)
    for session in ("a", "b"):
        rows = [Row("entry", f"{number}", {"text": "long " * 300}) for number in range(80)]
        store.append(session, [Row("session", session, {}), *rows], {session: "text"}, revision=0)
        store.append(session, [Row("entry", "last", {})], revision=81)
    before = [store.load(session) for session in ("a", "b")]
    dying = python(
        """
        import os, signal, sys
        from sqlalchemy import event
        from nbsession.stores import SqlStore
        store, left = SqlStore(sys.argv[1]), int(sys.argv[2])
        @event.listens_for(store._engine, "after_cursor_execute")
        def die(connection, cursor, statement, *more):
            global left
            left -= statement.startswith("DELETE") and "leases" not in statement
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        store.delete(["a", "b"])
        """,
        url,
        step,
    )
    dying.communicate()
    assert dying.returncode == -signal.SIGKILL
    assert [store.load(session) for session in ("a", "b")] == before
    assert store.texts(["a", "b"]) == {"a": "text", "b": "text"}
    store.delete(["a", "b"])
    assert store.sessions() == []
    store.close()


def test_an_older_file_knows_whose_its_texts_are_and_what_forks_share(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    talk(store, "first", words(500), count=3)
    app = App(Timeline(), model=ScriptedModel("a"), store=store)
    first = app.session("first")
    fork = first.fork(id="fork")
    fork.run("go on")
    for each in (fork, first):
        each.close()
    store.close()
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        known = connection.execute("SELECT session, digest FROM uses ORDER BY 1, 2").fetchall()
        connection.executescript(
            "DROP TABLE uses; DROP INDEX ix_sessions_shares; ALTER TABLE sessions DROP COLUMN shares;"
            "UPDATE meta SET value = '4' WHERE key = 'schema'"
        )
    assert len(known) > 2
    again = SqlStore(f"sqlite:///{tmp_path}/s.db")
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == (
            f"{schema.VERSION}",
        )
        found = connection.execute("SELECT session, digest FROM uses ORDER BY 1, 2").fetchall()
        # The fork was given one that its rows don't name, for it stands in the past that it shares.
        assert [use for use in known if use not in found] == [use for use in known if use[0] == "fork"]
        assert set(found) < set(known)
        assert connection.execute("SELECT id, shares FROM sessions ORDER BY 1").fetchall() == [
            ("first", None),
            ("fork", "first"),
        ]
    again.delete(["first", "fork"])
    assert contents(tmp_path / "s.db") == ""
    again.close()


def test_what_is_deleted_is_overwritten_whatever_the_library_does_by_itself(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar() == 1
    assert sqlite.TIDY_SECONDS < sqlite.BUSY_SECONDS
    store.close()


def test_a_held_session_keeps_the_others_too(url: str) -> None:
    store = SqlStore(url)
    for session in ("a", "b"):
        store.append(session, [Row("session", session, {})], revision=0)
    store.acquire("b", "process 1 on host-a", 60)
    with pytest.raises(
        SessionBusyError, match=r"'b' is held by process 1 on host-a since .*nothing was deleted"
    ):
        store.delete(["a", "b"])
    assert {info.id for info in store.sessions()} == {"a", "b"}
    store.close()
