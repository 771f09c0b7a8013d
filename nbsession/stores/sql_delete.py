"""Deleting sessions from a SQL database, inside the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from nbsession.stores import every, schema, sql_lease

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import BindParameter, Connection

_AT_ONCE = 500  # SQLite may have been built to take no more than 999 parameters
_SESSIONS, _USES = schema.sessions.c, schema.uses.c
_GONE: BindParameter[str] = bindparam("gone")

# In this order: rows and packs refer to their session.
_STEPS = (
    schema.uses.delete().where(_USES.session == _GONE),
    schema.rows.delete().where(schema.rows.c.session == _GONE),
    schema.packs.delete().where(schema.packs.c.session == _GONE),
    schema.sessions.delete().where(_SESSIONS.id == _GONE),
)


def delete(connection: Connection, sessions: Sequence[str], location: str) -> None:
    """Delete the sessions, in their order; nobody else may delete meanwhile, nor write texts, forks or leases."""
    for session in sessions:
        sql_lease.end(connection, session)
    _check_known(connection, sessions, location)
    _check_unshared(connection, sessions)
    digests: set[str] = set()
    for session in sessions:
        digests.update(connection.execute(select(_USES.digest).where(_USES.session == session)).scalars())
        for step in _STEPS:
            connection.execute(step, {"gone": session})
    # One look through the uses for many texts: an index by digest would cost each append room and time.
    for some in _portions(sorted(digests)):
        texts = schema.texts.c.digest
        unused = texts.in_(some) & texts.not_in(select(_USES.digest))
        connection.execute(schema.texts.delete().where(unused))


def _check_known(connection: Connection, sessions: Sequence[str], location: str) -> None:
    known: set[str] = set()
    for some in _portions(sessions):
        # The lock keeps out who appends without a lease.
        query = select(_SESSIONS.id).where(_SESSIONS.id.in_(some)).order_by(_SESSIONS.id)
        known.update(connection.execute(query.with_for_update()).scalars())
    if missing := [session for session in sessions if session not in known]:
        raise every.unknown(missing, location)


def _check_unshared(connection: Connection, sessions: Sequence[str]) -> None:
    going = set(sessions)
    for some in _portions(sessions):
        query = select(_SESSIONS.shares, _SESSIONS.id).where(_SESSIONS.shares.in_(some))
        forks: dict[str, list[str]] = {}
        for shared, fork in connection.execute(query):
            if fork not in going:
                forks.setdefault(shared, []).append(fork)
        if forks:
            shared = min(forks)
            raise every.shared(shared, forks[shared])


def _portions(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]
