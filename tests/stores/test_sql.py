"""What the SQL store promises beyond the contract: where it writes, how, and what outlives it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import textwrap
import time
import uuid
import zlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import given

from nbsession import stores
from nbsession.errors import SessionBusyError, StoreError
from nbsession.stores import MemoryStore, Row, SqlStore, default_is_there, default_store, sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def pragma(path: Path, name: str) -> object:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]
    finally:
        connection.close()


def test_importing_the_stores_loads_no_sqlalchemy() -> None:
    code = "import sys, nbsession.stores; print(sorted({'sqlalchemy', 'platformdirs', 'sqlite3'} & set(sys.modules)))"
    printed, _ = python(code).communicate()
    assert printed == "[]\n"


def test_without_a_url_sessions_lie_in_a_private_folder_of_the_user() -> None:
    store = default_store()
    assert isinstance(store, SqlStore)
    path = Path(store.location)
    assert path.name == "sessions.db"
    assert path.is_file()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    store.close()


def test_the_environment_names_another_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBSESSION_STORE", url(tmp_path / "mine.db"))
    store = default_store()
    assert isinstance(store, SqlStore)
    assert store.location == str(tmp_path / "mine.db")
    store.close()


def test_whether_the_default_store_is_there_is_said_without_making_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("NBSESSION_STORE", raising=False)
    for location in ("", url(tmp_path / "mine.db")):
        monkeypatch.setenv("NBSESSION_STORE", location)
        assert not default_is_there()
        assert not list(tmp_path.rglob("*.db"))
        default_store().close()
        assert default_is_there()
        for made in tmp_path.rglob("*.db"):
            made.unlink()
    monkeypatch.setenv("NBSESSION_STORE", "postgresql+psycopg://nobody@nowhere/none")
    assert default_is_there()


def test_a_relative_path_stays_the_same_file_when_the_program_changes_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqlStore("sqlite:///here.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.append("s", [Row("entry", "e", {})], revision=0)
    store.close()
    assert store.location == str(tmp_path / "here.db")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_on_a_local_disk_there_is_a_write_ahead_log_that_outlives_the_process(tmp_path: Path) -> None:
    store = SqlStore(url(tmp_path / "s.db"))
    assert pragma(tmp_path / "s.db", "journal_mode") == "wal"
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1  # NORMAL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 10_000
    store.close()


def test_on_a_shared_file_system_there_is_no_write_ahead_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqlStore(url(tmp_path / "s.db")).close()
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 35 0:47 / {tmp_path} rw,relatime shared:1 - nfs4 server:/home rw\n")
    monkeypatch.setattr(sqlite, "MOUNTS", mounts)
    store = SqlStore(url(tmp_path / "s.db"))
    store.append("s", [Row("entry", "e", {})], revision=0)
    assert pragma(tmp_path / "s.db", "journal_mode") == "delete"
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    store.close()


@pytest.mark.parametrize(
    ("path", "shared"),
    [
        ("/home/ann/s.db", True),
        ("/home/ann/local disk/s.db", False),
        ("/home/annette/s.db", True),
        ("/mnt/s.db", True),
        ("/homely/s.db", False),
        ("/s.db", False),
    ],
)
def test_the_innermost_mount_decides_what_is_shared(
    path: str, shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/root rw\n"
        "36 21 0:47 / /home rw,relatime - nfs4 server:/home rw\n"
        "37 36 254:1 / /home/ann/local\\040disk rw - xfs /dev/sdb rw\n"
        "38 21 254:2 / /mnt rw - ext4 /dev/sdc rw\n"
        "39 38 0:50 / /mnt rw - fuse.sshfs ann@server:/ rw\n"
    )
    monkeypatch.setattr(sqlite, "MOUNTS", mounts)
    assert sqlite.is_shared(Path(path)) is shared


def test_what_was_appended_survives_a_killed_process(tmp_path: Path) -> None:
    writer = python(
        """
        import sys
        from nbsession.stores import Row, SqlStore
        store, revision = SqlStore(sys.argv[1]), 0
        while True:
            rows = [Row("entry", str(revision), {"text": "kept"}), Row("head", "head", {"entry": revision})]
            revision = store.append("s", rows, {str(revision): "text"}, revision=revision)
            print(revision, flush=True)
        """,
        url(tmp_path / "s.db"),
    )
    assert writer.stdout is not None
    said = [int(writer.stdout.readline()) for _ in range(20)][-1]
    writer.kill()
    said = max([said, *map(int, writer.communicate()[0].split())])
    store = SqlStore(url(tmp_path / "s.db"))
    rows = store.load("s")
    assert rows is not None
    assert len(rows) >= said
    assert len(rows) % 2 == 0, "an append is kept as a whole or not at all"
    store.texts(row.key for row in rows if row.kind == "entry")
    store.close()


def test_of_several_processes_one_wins_each_revision(tmp_path: Path) -> None:
    writers = [
        python(
            """
            import sys
            from nbsession.errors import SessionBusyError
            from nbsession.stores import Row, SqlStore
            print("ready", flush=True)
            sys.stdin.readline()
            store, won = SqlStore(sys.argv[1]), []  # all of them make the file at once
            for revision in range(40):
                try:
                    store.append("s", [Row("entry", sys.argv[2], {})], revision=revision)
                    won.append(revision)
                except SessionBusyError:
                    while len(store.load("s") or []) <= revision:
                        pass
            store.close()
            print(*won)
            """,
            url(tmp_path / "s.db"),
            name,
        )
        for name in "abc"
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    won = sorted(int(word) for writer in writers for word in writer.communicate()[0].split())
    assert won == list(range(40))
    store = SqlStore(url(tmp_path / "s.db"))
    assert len(store.load("s") or []) == 40
    store.close()
    assert pragma(tmp_path / "s.db", "journal_mode") == "wal"


def test_a_write_that_waits_for_another_process_asks_as_often_however_long_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqlStore(url(tmp_path / "s.db"))
    pauses: list[float] = []
    with closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 300:
                other.execute("COMMIT")

        monkeypatch.setattr(time, "sleep", pause)
        assert store.append("s", [Row("entry", "1", {})], revision=0) == 1
    assert pauses == [sqlite.TURN_SECONDS] * 300
    store.close()


def test_the_loser_of_a_race_is_told_what_to_do(tmp_path: Path) -> None:
    one, other = SqlStore(url(tmp_path / "s.db")), SqlStore(url(tmp_path / "s.db"))
    one.append("draft", [Row("entry", "e1", {})], revision=0)
    with pytest.raises(
        SessionBusyError, match=r"session 'draft' has 1 rows in the store and .* knew 0.*open 'draft' again"
    ):
        other.append("draft", [Row("entry", "e2", {})], revision=0)
    one.close()
    other.close()


def test_a_text_is_written_once_whoever_keeps_it(tmp_path: Path) -> None:
    store = SqlStore(url(tmp_path / "s.db"))
    long = "word " * 100_000
    for session in range(20):
        store.append(f"{session}", [Row("entry", "e", {"text": "digest"})], {"digest": long}, revision=0)
    store.close()
    assert (tmp_path / "s.db").stat().st_size < 1.2 * len(long)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SqlStore(url(tmp_path / "s.db"))
    store.close()
    with pytest.raises(StoreError, match="was closed: open it again"):
        store.load("s")


def test_a_store_that_is_dropped_lets_go_of_its_file(tmp_path: Path) -> None:
    SqlStore(url(tmp_path / "s.db")).append("s", [Row("entry", "e", {})], revision=0)
    # The last connection to close writes the log into the file and removes it.
    assert [path.name for path in tmp_path.iterdir()] == ["s.db"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    store = SqlStore(url(tmp_path_factory.mktemp("lasting") / "s.db"))
    yield store
    store.close()


@given(data=st.dictionaries(st.text(), JSON, max_size=4), text=st.text())
def test_both_stores_give_back_any_json(lasting: SqlStore, data: dict[str, object], text: str) -> None:
    session = uuid.uuid4().hex
    rows = [Row("state", "k", data)]
    for store in (MemoryStore(), lasting):
        store.append(session, rows, {session: text}, revision=0)
        assert store.load(session) == rows
        assert store.texts([session]) == {session: text}


def test_rows_are_json_for_any_other_program(tmp_path: Path) -> None:
    store = SqlStore(url(tmp_path / "s.db"))
    store.append("s", [Row("entry", "e", {"text": "schön", "n": [1, None]})], {"d": "a\nb"}, revision=0)
    connection = sqlite3.connect(tmp_path / "s.db")
    [[line]] = connection.execute("SELECT line FROM rows").fetchall()
    [[text]] = connection.execute("SELECT text FROM texts").fetchall()
    assert line == '["entry","e",{"text":"schön","n":[1,null]}]'
    assert json.loads(zlib.decompress(text)) == "a\nb"
    store.append(
        "s", [Row("entry", f"{number}", {"text": "long " * 200}) for number in range(99)], revision=1
    )
    store.close()
    [[first, last, packed]] = connection.execute("SELECT first, last, lines FROM packs").fetchall()
    connection.close()
    lines = zlib.decompress(packed).decode().split("\n")
    assert (first, last, len(lines), lines[0]) == (0, 99, 100, line)
    assert json.loads(lines[-1]) == ["entry", "98", {"text": "long " * 200}]


def shape(path: Path) -> tuple[list[int], list[int]]:
    """Return how many rows each pack holds, and the numbers of the rows that are not packed."""
    with closing(sqlite3.connect(path)) as connection:
        packs = connection.execute("SELECT last - first + 1 FROM packs ORDER BY last").fetchall()
        rows = connection.execute("SELECT sequence FROM rows ORDER BY sequence").fetchall()
    return [count for (count,) in packs], [number for (number,) in rows]


def test_rows_are_packed_when_they_are_many_and_when_the_session_is_let_go(tmp_path: Path) -> None:
    store = SqlStore(url(tmp_path / "s.db"))
    rows = [Row("entry", f"{number}", {"text": f"{number} " * 1_000}) for number in range(70)]
    token = store.acquire("s", "me", 60)
    shapes = []
    for number, row in enumerate(rows[:52]):
        store.append("s", [row], revision=number, token=token)
        shapes.append(shape(tmp_path / "s.db"))
        assert store.load("s") == rows[: number + 1]
        assert [row for _, row in store.rows("s", number)] == [row]
    assert shapes[3] == ([], [0, 1, 2, 3])
    packs, single = shapes[-1]
    assert len(packs) > 1
    assert sum(packs) + len(single) == 52
    store.release("s", token)
    packed, left = shape(tmp_path / "s.db")
    assert (sum(packed), left) == (52, [])
    token = store.acquire("s", "me", 60)
    store.append("s", rows[52:53], revision=52, token=token)
    store.release("s", token)
    assert shape(tmp_path / "s.db") == (packed, [52]), "one row is no pack"
    store.append("s", rows[53:], revision=53)
    assert store.load("s") == rows
    assert [number for number, _ in store.rows("s")] == list(range(1, 71))
    store.close()


def test_a_session_that_is_let_go_leaves_no_log_behind(tmp_path: Path) -> None:
    store = SqlStore(url(tmp_path / "s.db"))
    token = store.acquire("s", "me", 60)
    store.append("s", [Row("entry", "e", {"text": "x" * 9_000})], revision=0, token=token)
    log = tmp_path / "s.db-wal"
    assert log.stat().st_size > 0
    store.release("s", token)
    assert log.stat().st_size == 0
    store.close()


def test_completion_offers_the_store_that_is_imported_when_it_is_used() -> None:
    assert "SqlStore" in dir(stores)


def test_letting_go_of_a_session_does_not_wait_for_a_reader(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    token = store.acquire("s", "me", 20)
    store.append("s", [Row("session", "s", {})], revision=0, token=token)
    reader = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM rows").fetchall()
    store.append("s", [Row("head", "", {"head": None})], revision=1, token=token)
    begun = time.monotonic()
    store.release("s", token)
    assert time.monotonic() - begun < sqlite.BUSY_SECONDS / 2
    reader.close()
    store.close()
