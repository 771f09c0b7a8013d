"""Many rows in one pack, and texts compressed."""

from __future__ import annotations

import json
import zlib

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"

_AT_ONCE = 500


def upgrade() -> None:
    """Make each row a line of JSON and compress the texts; rows are packed when their session is next written."""
    op.drop_index("ix_sessions_updated", "sessions")
    op.create_table(
        "packs",
        sa.Column("session", sa.Text, sa.ForeignKey("sessions.id"), primary_key=True),
        sa.Column("last", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("lines", sa.LargeBinary, nullable=False),
    )
    op.rename_table("rows", "old_rows")
    rows = op.create_table(
        "rows",
        sa.Column("session", sa.Text, sa.ForeignKey("sessions.id"), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("line", sa.Text, nullable=False),
    )
    found = op.get_bind().execute(sa.text("SELECT session, sequence, kind, key, data FROM old_rows"))
    for some in found.partitions(_AT_ONCE):
        op.bulk_insert(
            rows,
            [
                {"session": row[0], "sequence": row[1], "line": f"[{_json(row[2])},{_json(row[3])},{row[4]}]"}
                for row in some
            ],
        )
    op.drop_table("old_rows")
    op.rename_table("texts", "old_texts")
    texts = op.create_table(
        "texts",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("text", sa.LargeBinary, nullable=False),
    )
    found = op.get_bind().execute(sa.text("SELECT digest, text FROM old_texts"))
    for some in found.partitions(_AT_ONCE):
        op.bulk_insert(texts, [{"digest": row[0], "text": zlib.compress(row[1].encode())} for row in some])
    op.drop_table("old_texts")


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
