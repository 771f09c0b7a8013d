"""An append to a SQL database, inside the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from nbsession.stores import every, schema, sql_lease, sql_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from nbsession.stores.base import Append

_MINE = schema.sessions.update().where(
    (schema.sessions.c.id == bindparam("wanted")) & (schema.sessions.c.revision == bindparam("known"))
)


class Write:
    """An append, put into the database's form; what cannot be kept is a ``StoreError`` before anything is written.

    It ``may_meet_deletes`` that take its texts or its past away, and ``tells`` listeners. ``known`` is the session's
    revision before it, ``revision`` the one with it; ``token`` is its lease's.
    """

    def __init__(self, append: Append) -> None:
        self.session, self.token, self.known = append.session, append.token, append.revision
        self.lines = every.encode_rows(append.session, append.rows)
        self.description = every.describe(append.session, append.rows)
        self.texts = every.encode_texts(append.texts)
        self.may_meet_deletes = bool(self.texts) or self.description is not None
        self.tells = every.tells(append.rows)
        self.revision = append.revision + len(self.lines)


def make(
    connection: Connection, writes: Sequence[Write], now: float, unpacked: Mapping[str, int], location: str
) -> dict[str, int]:
    """Make the writes of as many sessions, at the time ``now``: all of them, or it raises what keeps one of them out.

    ``unpacked`` is how many characters of sessions are not packed, as far as that is known; returned is how many are
    not then, of the sessions that got rows.
    """
    sql_lease.check(connection, {write.session: write.token for write in writes if write.token is not None})
    for write in writes:
        if write.description is not None and write.description.shares is not None:
            _expect_past(connection, write.session, write.description.shares, location)
    _keep_texts(connection, writes)
    for write in writes:
        if not write.lines:
            expect(connection, write.session, write.known)
    grown = [write for write in writes if write.lines]
    _advance(connection, grown, now)
    lines = {write.session: (write.known, write.lines) for write in grown}
    return sql_rows.add(connection, lines, unpacked)


def _advance(connection: Connection, writes: Sequence[Write], now: float) -> None:
    """Move the sessions on by their rows, as only one of two writers can."""
    plain: list[dict[str, Any]] = []
    for write in writes:
        values: dict[str, object] = {"revision": write.revision, "updated": now}
        found = {"wanted": write.session, "known": write.known}
        if write.known and write.description is None:
            plain.append(found | values)
            continue
        said = write.description or every.Description()
        values |= {"metadata": said.metadata, "parent": said.parent}
        if said.shares is not None:
            values["shares"] = said.shares[0]
        if write.known:
            moved = connection.execute(_MINE, found | values).rowcount
        else:
            new = schema.insert_new(connection, schema.sessions)
            made = new.values(id=write.session, created=now, **values)
            # Some drivers don't count inserted rows unless asked.
            moved = connection.execute(made, execution_options={"preserve_rowcount": True}).rowcount
        if moved != 1:
            expect(connection, write.session, write.known)
    if plain and connection.execute(_MINE, plain).rowcount != len(plain):
        for row in plain:  # of several, any is refused here: whose fault it is, each finds alone
            expect(connection, str(row["wanted"]), int(row["known"]))


def revision(connection: Connection, session: str) -> int:
    """Return how many rows of a session are kept."""
    columns = schema.sessions.c
    return connection.execute(select(columns.revision).where(columns.id == session)).scalar() or 0


def expect(connection: Connection, session: str, known: int) -> None:
    """Refuse a writer that knows another revision than the store's."""
    kept = revision(connection, session)
    if kept != known:
        raise every.conflict(session, known, kept)


def _expect_past(connection: Connection, session: str, shares: tuple[str, int], location: str) -> None:
    """Refuse a fork whose past is not there."""
    kept = revision(connection, shares[0])
    if kept < shares[1]:
        raise every.without_past(session, shares, kept, location)


def _keep_texts(connection: Connection, writes: Sequence[Write]) -> None:
    """Keep the texts that are not there yet, and that each session was given its own."""
    fresh = {digest: text for write in writes for digest, text in write.texts.items()}
    if fresh:
        # In one order everywhere, lest two writers wait for each other's.
        texts = [{"digest": digest, "text": fresh[digest]} for digest in sorted(fresh)]
        connection.execute(schema.insert_new(connection, schema.texts), texts)
        uses = [
            {"session": write.session, "digest": digest} for write in writes for digest in sorted(write.texts)
        ]
        connection.execute(schema.insert_new(connection, schema.uses), uses)
