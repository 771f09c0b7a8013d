"""What lies in a SQLite store's file, for tests that look at it or change it behind the store's back."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def contents(path: Path) -> str:
    """Return all rows and texts of a file, as JSON, a line each."""
    with closing(sqlite3.connect(path)) as connection:
        packed = [blob for (blob,) in connection.execute("SELECT lines FROM packs ORDER BY session, last")]
        lines = [line for (line,) in connection.execute("SELECT line FROM rows ORDER BY session, sequence")]
        texts = [blob for (blob,) in connection.execute("SELECT text FROM texts")]
    return "\n".join([zlib.decompress(blob).decode() for blob in (*packed, *texts)] + lines)


def edit_texts(path: Path, change: Callable[[str], str | None]) -> None:
    """Change the JSON of each text; one that becomes ``None`` is gone."""
    changed = 0
    with closing(sqlite3.connect(path)) as connection, connection:
        for digest, blob in connection.execute("SELECT digest, text FROM texts").fetchall():
            old = zlib.decompress(blob).decode()
            new = change(old)
            changed += new != old
            if new is None:
                connection.execute("DELETE FROM texts WHERE digest = ?", [digest])
            else:
                packed = zlib.compress(new.encode())
                connection.execute("UPDATE texts SET text = ? WHERE digest = ?", [packed, digest])
    assert changed, "nothing was changed"


def edit_rows(path: Path, change: Callable[[str], str]) -> None:
    """Change the line of each row, ``[kind, key, data]`` as JSON, wherever it lies."""
    changed = 0
    with closing(sqlite3.connect(path)) as connection, connection:
        for session, last, blob in connection.execute("SELECT session, last, lines FROM packs").fetchall():
            old = zlib.decompress(blob).decode().split("\n")
            new = [change(line) for line in old]
            changed += new != old
            packed = zlib.compress("\n".join(new).encode())
            connection.execute(
                "UPDATE packs SET lines = ? WHERE session = ? AND last = ?", [packed, session, last]
            )
        for session, sequence, old_line in connection.execute("SELECT * FROM rows").fetchall():
            new_line = change(old_line)
            changed += new_line != old_line
            connection.execute(
                "UPDATE rows SET line = ? WHERE session = ? AND sequence = ?", [new_line, session, sequence]
            )
    assert changed, "nothing was changed"
