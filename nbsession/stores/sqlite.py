"""What is particular to SQLite: the file, its journal, its transactions, and what its errors mean."""

from __future__ import annotations

import os
import re
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event

from nbsession.errors import StoreError
from nbsession.stores.place import default_file

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry

BUSY_SECONDS = 10.0
"""How long a statement waits for another process's write to end."""

TIDY_SECONDS = 2.0
"""How long others are waited for, who read, before the log that holds what was deleted is left as it is."""

TURN_SECONDS = 0.001
"""How often a write asks whether another process's has ended."""

WRITES = "nbsession_writes"
"""The execution option of connections whose transactions write."""

MOUNTS = Path("/proc/self/mountinfo")

_MAKING = threading.Lock()

PAGE_BYTES = 1024
"""Of a new file. An append touches a few pages, and each is written whole into the log."""

LOG_PAGES = 256
"""After how many pages the log is written into the file: who writes then waits for the disk."""

_SHARED = {
    "9p", "afs", "beegfs", "ceph", "cifs", "drvfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "prl_fs", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
}  # fmt: skip

ELSEWHERE = "give SqlStore() another place"
"""What to do where a place cannot be used; it follows from where that was given."""

_READABLE = (
    "what is there can still be read, by sqlite:///file:{location}?immutable=1&uri=true if nobody writes it"
)

# What the beginning of SQLite's own name for an error means for the file, and what to do.
_REMEDIES = {
    "SQLITE_READONLY": (
        "is read-only",
        f"make the file and its folder writable, or {{elsewhere}}; {_READABLE}",
    ),
    "SQLITE_FULL": (
        "is full, or the disk is",
        "free some space and try again; nothing of this was kept, and all before it is safe",
    ),
    "SQLITE_NOTADB": (
        "is not a SQLite file, or its header is damaged",
        "it was left as it is; restore it from a copy, or move it away to begin a new one",
    ),
    "SQLITE_CORRUPT": (
        "is damaged",
        "it was left as it is; restore it from a copy, or save what can be read with sqlite3 FILE .recover",
    ),
    "SQLITE_CANTOPEN": (
        "cannot be opened",
        "see that its folder exists and can be written, or {elsewhere}",
    ),
    "SQLITE_BUSY": (
        f"is being written by another process, for more than {BUSY_SECONDS:.0f} seconds",
        "try again, or stop that process; nothing of this was kept",
    ),
    "SQLITE_LOCKED": ("is held by another process", "try again; nothing of this was kept"),
    "SQLITE_IOERR": (
        "is on a disk that failed",
        "check the disk and its free space, then try again; nothing of this was kept",
    ),
}


def default_url(elsewhere: str) -> URL:
    """Return the URL of this user's file, in a folder that nobody else may enter."""
    file = default_file()
    folder = file.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder {folder} for sessions cannot be made ({error.strerror}): make it writable, or "
            f"{elsewhere}, by a URL such as sqlite:////path/of/sessions.db",
            location=str(folder),
        ) from error
    return URL.create("sqlite", database=str(file))


def place(url: URL, elsewhere: str) -> tuple[URL, str]:
    """Return the URL with its path made absolute, and that path.

    A file that is not there yet is made so that only this user may read it. A
    database in memory is refused: each thread would see its own.
    """
    database = url.database or ":memory:"
    if ":memory:" in database or url.query.get("mode") == "memory":
        raise StoreError(
            "SQLite in memory is not shared between threads; use MemoryStore()", location=str(url)
        )
    if database.startswith("file:"):
        return url, database.removeprefix("file:")
    path = Path(database).expanduser().absolute()
    try:
        # Never a file that is there: closing it would drop the locks that this process's other connections
        # hold on it (https://sqlite.org/howtocorrupt.html, 2.2); nor may anyone connect before it is closed.
        with _MAKING:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        told = explain("SQLITE_CANTOPEN", str(path), error.strerror, elsewhere)
        raise StoreError(told, location=str(path)) from error
    return url.set(database=str(path)), str(path)


def engine(url: URL, location: str) -> Engine:
    """Return an engine whose transactions are SQLite's own, and whose writes survive the process.

    With a write-ahead log, ``synchronous=NORMAL`` makes each commit outlive a
    killed process; a power cut may take the last commits with it, but leaves
    the file whole (https://sqlite.org/pragma.html#pragma_synchronous). ``FULL``
    would wait for the disk at each append, 17 times as long. Where the log
    cannot be used, ``FULL`` stays: ``NORMAL`` is not safe without it.
    """
    made = sqlalchemy.create_engine(url, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True)
    shared = is_shared(Path(location))

    @event.listens_for(made, "connect")
    def prepare(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        # The driver's own transactions leave out CREATE TABLE and begin too late; see `begin`.
        connection.isolation_level = None
        if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA foreign_keys = ON")
        # What is deleted is overwritten, also what was taken into packs: many SQLites are built to do so anyway.
        connection.execute("PRAGMA secure_delete = ON")
        log = connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal" and not shared
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if log else 'FULL'}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")

    @event.listens_for(made, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later may fail at once, without waiting its turn.
        if connection.get_execution_options().get(WRITES, False):
            driven = connection.connection.driver_connection
            assert isinstance(driven, sqlite3.Connection)
            _begin_writing(driven)
        else:
            connection.exec_driver_sql("BEGIN")

    return made


def _begin_writing(connection: sqlite3.Connection) -> None:
    """Begin a transaction that writes, soon after another process's has ended.

    SQLite's own waiting asks ever more seldom, up to each 100 ms, and whoever writes
    again meanwhile goes first each time.
    """
    last = time.monotonic() + BUSY_SECONDS
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > last:
                    raise
            time.sleep(TURN_SECONDS)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")


class Identity:
    """Which file a path named when it was opened: a database that is deleted or replaced can still be written.

    What is written then is lost, or mixed up with what another program put there.
    """

    def __init__(self, location: str) -> None:
        self._path = Path(location)
        self._opened = self._present()

    def check(self) -> None:
        """Raise a ``StoreError`` where the path names no file now, or another one."""
        present = self._present()
        if self._opened is None:  # it is only now made
            self._opened = present
        elif present != self._opened:
            raise StoreError(
                f"{self._path} was {'replaced by another file' if present else 'deleted or moved away'} while it was "
                "open: put it back to go on, or open the store again for what is there now; nothing of this was kept",
                location=str(self._path),
            )

    def _present(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def set_journal(engine: Engine, location: str) -> None:
    """Turn on the write-ahead log, or turn it off where its shared memory does not reach everyone.

    The file remembers the choice. Where somebody else is using the file, or it is
    read-only, it stays as it is: the next to open it has its turn.
    """
    wanted = "delete" if is_shared(Path(location)) else "wal"
    connection = engine.raw_connection()
    try:
        present = connection.cursor().execute("PRAGMA journal_mode").fetchone()[0]
        if present != wanted:
            connection.cursor().execute(f"PRAGMA journal_mode = {wanted}")
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY")):
            raise
    finally:
        connection.close()
    engine.dispose()  # so that every connection chooses `synchronous` by the journal there is now


def tidy(engine: Engine, patience: float) -> None:
    """Give free pages back to the disk, write the log into the file and empty it, as far as nobody else needs it.

    Others are waited for so many seconds.
    """
    connection = engine.raw_connection()
    try:
        connection.cursor().execute(f"PRAGMA busy_timeout = {patience * 1000:.0f}")
        # As a script, for each step frees one page, and `execute` takes one step only.
        connection.cursor().executescript("PRAGMA incremental_vacuum")
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise
    finally:
        connection.cursor().execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
        connection.close()


def is_shared(path: Path) -> bool:
    """Say whether ``path`` lies on a file system that several machines may have mounted.

    A write-ahead log needs memory shared by all who open the file
    (https://sqlite.org/wal.html). Known from ``MOUNTS`` on Linux and from a
    network path on Windows; elsewhere SQLite finds out by itself.
    """
    if sys.platform == "win32":
        return str(path).startswith("\\\\")
    kind, longest = "", -1
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return False
    real = path.resolve()
    for line in lines:
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before.split(" ")[4])
        # A later mount on the same point hides the earlier.
        if real.is_relative_to(point) and len(point) >= longest:
            kind, longest = after.split(" ")[0], len(point)
    return kind in _SHARED or kind.startswith("fuse.")


def explain(name: str, location: str, cause: object, elsewhere: str) -> str:
    """Say what an error of SQLite's, by its name, means for the file and what to do about it; see ``ELSEWHERE``."""
    cause = " ".join(str(cause).split())  # one line, for those that show errors in one
    if cause.startswith("Could not decode"):  # a text of a page that is whole otherwise
        name = "SQLITE_CORRUPT"
    for beginning, (state, advice) in _REMEDIES.items():
        if name.startswith(beginning):
            return f"{location} {state} ({cause}): {advice.format(location=location, elsewhere=elsewhere)}"
    return f"{location} cannot be used ({cause}): see that it can be reached; nothing of this was kept"
