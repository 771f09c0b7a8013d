"""Pages of the list of sessions, by an index."""

from __future__ import annotations

from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Make the index that the list is ordered by."""
    op.create_index("ix_sessions_updated", "sessions", ["updated", "id"])
