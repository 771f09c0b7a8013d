"""Leases in a SQL database, inside the caller's transaction."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Update, bindparam, extract, func, select

from nbsession.stores import schema
from nbsession.stores.lease import Lease, this_process

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLUMNS = schema.leases.c

# Made once: each append asks, and to put a statement together takes longer than SQLite takes to answer it.
_WHOLE = (_COLUMNS.token, _COLUMNS.owner, _COLUMNS.since, _COLUMNS.expires, _COLUMNS.process)
_LATEST = select(*_WHOLE).where(_COLUMNS.session == bindparam("wanted"))
_LAST = "token"
_TO_READ, _TO_WRITE = _LATEST.with_for_update(read=True), _LATEST.with_for_update()
_ALL = select(_COLUMNS.session, *_WHOLE).where(_COLUMNS.session.in_(bindparam("wanted", expanding=True)))
_ALL = _ALL.order_by(_COLUMNS.session).with_for_update(read=True)


def acquire(connection: Connection, session: str, owner: str, seconds: float) -> int:
    """Take the lease and return its token."""
    made = schema.insert_new(connection, schema.leases)
    connection.execute(made.values(session=session, token=0, owner="", since=0.0, expires=0.0, process=""))
    lease, now = _latest(connection, session, writes=True), _now(connection)
    lease.check_free(session, owner, now)
    token = (lease.token or _last_token(connection)) + 1
    taken = {"token": token, "owner": owner, "since": now, "expires": now + seconds}
    connection.execute(_change(session).values(process=this_process(), **taken))
    return token


def holder(connection: Connection, session: str) -> str:
    """Return who holds the session's lease now."""
    found = connection.execute(_LATEST, {"wanted": session}).first()
    lease = Lease(*found) if found else Lease()
    return lease.owner if lease.held(_now(connection)) else ""


def renew(connection: Connection, session: str, token: int, seconds: float) -> None:
    """Let the lease last from now for so many seconds."""
    _latest(connection, session, writes=True).check_renewable(session, token)
    connection.execute(_change(session).values(expires=_now(connection) + seconds))


def release(connection: Connection, session: str, token: int) -> None:
    """Let go of the lease, if the token is the latest."""
    connection.execute(_change(session).where(_COLUMNS.token == token).values(owner="", expires=0.0))


def end(connection: Connection, session: str) -> None:
    """Take the lease of a session away that is to be deleted, unless another process holds it.

    Tokens go on from there: one that was given for what is deleted is never given again.
    """
    lease = _latest(connection, session, writes=True)
    lease.check_deletable(session, _now(connection))
    connection.execute(schema.leases.delete().where(_COLUMNS.session == session))
    connection.execute(schema.insert_new(connection, schema.meta).values(key=_LAST, value="0"))
    if lease.token > _last_token(connection):
        last = schema.meta.update().where(schema.meta.c.key == _LAST)
        connection.execute(last.values(value=str(lease.token)))


def holds(connection: Connection, session: str, token: int) -> bool:
    """Say whether the token is the latest, and keep it so until the caller's write is done."""
    lease = _latest(connection, session, writes=False)
    return bool(lease.owner) and lease.token == token


def check(connection: Connection, tokens: Mapping[str, int]) -> None:
    """Refuse writes of sessions with a token that is not the latest, and keep it the latest until they are done."""
    if tokens:
        leases = {row.session: Lease(*row[1:]) for row in connection.execute(_ALL, {"wanted": list(tokens)})}
        for session, token in tokens.items():
            leases.get(session, Lease()).check_token(session, token, writes=True)


def _latest(connection: Connection, session: str, *, writes: bool) -> Lease:
    # The lock on the row keeps a server's other transactions out; SQLite's writers are alone anyway.
    found = connection.execute(_TO_WRITE if writes else _TO_READ, {"wanted": session}).first()
    return Lease(*found) if found else Lease()


def _last_token(connection: Connection) -> int:
    """Return the greatest token of the leases that are gone."""
    return int(
        connection.execute(select(schema.meta.c.value).where(schema.meta.c.key == _LAST)).scalar() or 0
    )


def _change(session: str) -> Update:
    return schema.leases.update().where(_COLUMNS.session == session)


def _now(connection: Connection) -> float:
    """Return the time of the one clock that all writers share: the server's, else this machine's."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.execute(select(extract("epoch", func.clock_timestamp()))).scalar_one())
