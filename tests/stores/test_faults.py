"""A session whose file cannot be written or read: it says so, loses nothing that it has, and goes on when it can."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from nbsession import App, Session, StoreError
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANCE = random.Random(9)
LONG = "A long answer. " * 2_000


class Disk:
    """Says how many pages the files of a store may have, on each connection."""

    def __init__(self, store: SqlStore) -> None:
        self.pages = 1_000_000
        event.listen(store._engine, "checkout", self._limit)

    def _limit(self, connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {self.pages}")

    def fill(self, store: SqlStore) -> None:
        """Leave no page free."""
        with closing(sqlite3.connect(store.location)) as connection:
            self.pages = connection.execute("PRAGMA page_count").fetchone()[0]


def opened(path: Path, *responses: Any) -> tuple[App, SqlStore]:
    store = SqlStore(f"sqlite:///{path}")
    return App(Notepad, model=ScriptedModel(*responses), store=store), store


async def talked(path: Path, *responses: Any) -> tuple[Session, SqlStore]:
    app, store = opened(path, [call("add_note", note="kept")], "noted", *responses)
    session = app.session("s")
    await session.send("first")
    return session, store


def talk(session: Session) -> list[str]:
    return [f"{entry.role}: {entry.text[:20]}" for entry in session.timeline]


async def test_a_disk_that_fills_up_while_an_answer_comes_stops_there_and_all_is_stored_when_there_is_room(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.db"
    session, store = await talked(path, LONG, "fine")
    disk = Disk(store)

    def full(_: Any) -> str:
        disk.fill(store)
        return "".join(f"{number} " for number in range(20_000))

    model = ScriptedModel(full, "fine")
    with pytest.raises(StoreError, match=f"{path} is full, or the disk is .*: free some space") as failure:
        await session.send("second", model=model)
    assert failure.value.location == str(path)
    assert session.timeline[-1].text.startswith("0 1 2 3"), "the answer is there"
    (note,) = session.notes
    assert "rows of session 's' are in memory only" in note
    assert "is full" in note
    # Usable as far as nothing has to be kept; and no model is called for what could not be.
    assert session.compile().messages[-1].text.startswith("0 1 2 3")
    session.knobs["tone"] = "terse"
    with pytest.raises(StoreError, match="is full"):
        await session.send("third", model=model)
    assert len(model.contexts) == 1
    disk.pages = 1_000_000
    assert (await session.send("fourth", model=model)).text == "fine"
    assert session.notes == []
    before = (talk(session), [tick.context.hash for tick in session.ticks], session.state)
    await session.aclose()
    store.close()
    app, store = opened(path)
    again = app.session("s")
    assert (talk(again), [tick.context.hash for tick in again.ticks], again.state) == before
    assert again.knobs["tone"] == "terse"
    assert again.verify() == []
    store.close()


async def test_a_session_that_is_closed_on_a_full_disk_stays_open_until_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    session, store = await talked(path)
    disk = Disk(store)
    disk.fill(store)
    with pytest.raises(StoreError, match="is full"):
        await session.send(" ".join(f"{CHANCE.random()}" for _ in range(5_000)))
    before = talk(session)
    with pytest.raises(
        StoreError, match=r"is full.*session 's' stays open: close it again when there is room"
    ):
        await session.aclose()
    assert (session.status, talk(session)) == ("idle", before)
    disk.pages = 1_000_000
    await session.aclose()
    store.close()
    app, store = opened(path)
    assert talk(app.session("s")) == before
    store.close()


async def test_a_session_that_is_closed_twice_on_a_full_disk_keeps_what_was_stored(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.db"
    session, store = await talked(path)
    disk = Disk(store)
    disk.fill(store)
    with pytest.raises(StoreError, match="is full"):
        await session.send(" ".join(f"{CHANCE.random()}" for _ in range(5_000)))
    for _ in range(2):
        with pytest.raises(StoreError, match="is full"):
            await session.aclose()
    assert session.status == "closed"
    store.close()
    app, store = opened(path, "goes on")
    again = app.session("s")
    assert talk(again) == ["user: first", "assistant: ", "tool: Noted.", "assistant: noted"]
    assert (await again.send("second")).text == "goes on"
    await again.aclose()
    store.close()


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Be a user whom file permissions bind, as they do not bind root."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.iterdir()):
        os.chown(path, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """Return a folder that other users can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def read_only(*paths: Path) -> Iterator[None]:
    modes = [path.stat().st_mode for path in paths]
    for path in paths:
        path.chmod(path.stat().st_mode & 0o555)
    try:
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


@pytest.mark.parametrize("what", ["file", "folder", "both"])
async def test_a_read_only_file_or_folder_can_be_read_and_keeps_nothing(
    what: str, shared_folder: Path
) -> None:
    path = shared_folder / "s.db"
    session, store = await talked(path)
    said = talk(session)
    await session.aclose()
    store.close()
    content = path.read_bytes()
    paths = {"file": (path,), "folder": (shared_folder,), "both": (path, shared_folder)}[what]
    with as_nobody(shared_folder), read_only(*paths):
        name = f"{path}"
        if what != "file":
            # No log can be made beside it, which even a reader needs.
            with pytest.raises(StoreError, match=f"{path} is read-only .*sqlite:///file:{path}.immutable=1"):
                opened(path)
            name = f"file:{path}?immutable=1&uri=true"
        app, store = opened(Path(name), "never")
        again = app.session("s")
        assert (talk(again), again.verify()) == (said, [])
        with pytest.raises(StoreError, match=f"{path} is read-only"):
            await again.send("second")
        assert again.compile().messages[-1].text == "second", "in memory it goes on"
        assert "are in memory only" in again.notes[0]
        store.close()
    assert path.read_bytes() == content


def move(folder: Path, other: Path) -> None:
    for file in folder.glob("s.db*"):
        file.rename(other / file.name)


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_goes_away_under_an_open_session_is_noticed_and_may_come_back(
    replaced: bool, tmp_path: Path
) -> None:
    path, away = tmp_path / "s.db", tmp_path / "away"
    session, store = await talked(path, "second answer", "never")
    away.mkdir()
    move(tmp_path, away)
    if replaced:
        SqlStore(f"sqlite:///{path}").close()
    content = path.read_bytes() if replaced else None
    gone = "replaced by another file" if replaced else "deleted or moved away"
    with pytest.raises(StoreError, match=f"{path} was {gone} while it was open: put it back") as failure:
        await session.send("second")
    assert failure.value.location == str(path)
    assert talk(session)[-1] == "user: second"
    assert "are in memory only" in session.notes[0]
    assert (path.read_bytes() if path.exists() else None) == content, "nothing is made or written there"
    path.unlink(missing_ok=True)
    move(away, tmp_path)
    assert (await session.send("third")).text == "second answer"
    await session.aclose()
    store.close()
    app, store = opened(path)
    assert talk(app.session("s"))[-3:] == ["user: second", "user: third", "assistant: second answer"]
    store.close()


async def test_a_session_whose_file_was_deleted_can_be_read_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    session, store = await talked(path)
    path.unlink()
    assert len(session.timeline) == 4
    assert session.compile().messages
    with pytest.raises(StoreError, match="was deleted or moved away"):
        await session.send("second")
    for _ in range(2):
        with pytest.raises(StoreError, match="was deleted or moved away"):
            await session.aclose()
    store.close()
    assert not path.exists()


async def test_a_header_that_is_damaged_under_an_open_session_is_said_and_nothing_is_written_over_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.db"
    session, store = await talked(path, "never")
    await session.aclose()
    store.close()
    app, store = opened(path, "never")
    session = app.session("s")
    store._engine.dispose()  # so that the file is read again, not what was read of it before
    content = bytearray(path.read_bytes())
    content[:100] = b"\xff" * 100
    path.write_bytes(content)
    with pytest.raises(StoreError, match=f"{path} (is not a SQLite file|is damaged)"):
        await session.send("second")
    assert talk(session)[-1] == "user: second"
    store.close()
    assert path.read_bytes() == content
    with pytest.raises(
        StoreError, match=f"{path} is not a SQLite file, or its header is damaged .*left as it is"
    ):
        opened(path)
    assert path.read_bytes() == content


async def test_damage_in_the_middle_of_a_file_is_said_for_the_session_that_has_it(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    app, store = opened(path, *[f"{number} {LONG}" for number in range(40)], "fine")
    for name in ("first", "second"):
        session = app.session(name)
        for number in range(20):
            await session.send("".join(f"{number} {n} " for n in range(2_000)))
        await session.aclose()
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        # The page in the middle of the first session's packs.
        (page,) = connection.execute(
            "SELECT pageno FROM dbstat WHERE name = 'packs' AND pagetype = 'overflow' ORDER BY path LIMIT 1 OFFSET 3"
        ).fetchone()
    content = bytearray(path.read_bytes())
    content[(page - 1) * 1024 : page * 1024] = b"\x55" * 1024
    path.write_bytes(content)
    app, store = opened(path, "fine")
    with pytest.raises(StoreError, match=f"{path}.*(left as it is|restore the store from a copy)"):
        app.session("first")
    assert path.read_bytes() == content
    other = app.session("second")
    assert len(other.timeline) == 40
    assert (await other.send("go on")).text == "fine"
    await other.aclose()
    store.close()


async def test_a_damaged_text_in_a_page_that_is_whole_otherwise_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    session, store = await talked(path)
    await session.aclose()
    store.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE sessions SET metadata = CAST(x'7b80ff7d' AS TEXT)")
    app, store = opened(path)
    with pytest.raises(StoreError, match=f"{path} is damaged .*restore it from a copy"):
        app.sessions()
    store.close()


async def test_a_file_that_is_no_database_stops_the_app_before_any_session(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_text("Buy milk.\n" * 500)
    with pytest.raises(StoreError, match=f"{path} is not a SQLite file"):
        opened(path)
    assert path.read_text() == "Buy milk.\n" * 500
