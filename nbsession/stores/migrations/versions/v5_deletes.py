"""What must be known to delete a session: the forks that share its past, and whose each text is."""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from collections.abc import Iterator

revision = "5"
down_revision = "4"

_STRING = re.compile(r'"([^"\\]+)"')


def upgrade() -> None:
    """Find both in the rows of each session: a digest stands there as a string of its own."""
    op.add_column("sessions", sa.Column("shares", sa.Text))
    op.create_index("ix_sessions_shares", "sessions", ["shares"])
    uses = op.create_table(
        "uses",
        sa.Column("session", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    digests = set(connection.execute(sa.text("SELECT digest FROM texts")).scalars())
    for session in connection.execute(sa.text("SELECT id FROM sessions")).scalars().all():
        found: set[str] = set()
        for number, line in enumerate(_lines(connection, session)):
            found |= digests.intersection(_STRING.findall(line))
            if number == 0 and (shared := _shared(line)) is not None:
                update = sa.text("UPDATE sessions SET shares = :shared WHERE id = :session")
                connection.execute(update, {"shared": shared, "session": session})
        op.bulk_insert(uses, [{"session": session, "digest": digest} for digest in sorted(found)])


def _lines(connection: sa.Connection, session: str) -> Iterator[str]:
    packs = sa.text("SELECT lines FROM packs WHERE session = :session ORDER BY last")
    for packed in connection.execute(packs, {"session": session}).scalars():
        yield from zlib.decompress(packed).decode().split("\n")
    rows = sa.text("SELECT line FROM rows WHERE session = :session ORDER BY sequence")
    yield from connection.execute(rows, {"session": session}).scalars()


def _shared(line: str) -> str | None:
    kind, _, data = json.loads(line)
    return data["shares"][0] if kind == "session" and data.get("shares") else None
