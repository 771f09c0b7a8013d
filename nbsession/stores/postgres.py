"""What is particular to PostgreSQL: how its sessions tell one another of changes, by LISTEN and NOTIFY."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy

from nbsession.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection
    from sqlalchemy import Engine

CHANNEL = "nbsession"
"""Where changes are told; a channel is a database's own."""

_DELETING = int.from_bytes(b"nbdelete", signed=True)
"""The lock between those who delete and those who write what a delete looks at; any unlikely number."""


def announce(connection: sqlalchemy.Connection, session: str) -> None:
    """Tell of a change when the caller's transaction is committed, and of none when it is not."""
    connection.execute(sqlalchemy.select(sqlalchemy.func.pg_notify(CHANNEL, session)))


def hold_off_deletes(connection: sqlalchemy.Connection) -> None:
    """Let nobody delete until the caller's transaction ends: first of all it does, lest two wait for each other.

    A text that is there already is not written again, and so no lock on it would keep it.
    """
    connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock_shared(_DELETING)))


def delete_alone(connection: sqlalchemy.Connection) -> None:
    """Wait for those who hold off deletes, and hold them off until the caller's transaction ends."""
    connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_DELETING)))


def dial(engine: Engine, location: str) -> PostgresLine:
    """Open a line, on a connection of its own."""
    import psycopg

    positional, named = engine.dialect.create_connect_args(engine.url)
    with _typed(location):
        connection: Connection = psycopg.connect(*positional, **named, autocommit=True)
        try:
            connection.execute(f"LISTEN {CHANNEL}")
        except BaseException:
            connection.close()
            raise
    return PostgresLine(connection, location)


class PostgresLine:
    """A connection that listens."""

    def __init__(self, connection: Connection, location: str) -> None:
        self._connection = connection
        self._location = location

    def heard(self, seconds: float) -> list[str]:
        with _typed(self._location):
            return [notice.payload for notice in self._connection.notifies(timeout=seconds, stop_after=1)]

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _typed(location: str) -> Iterator[None]:
    from psycopg import Error

    try:
        yield
    except Error as error:
        cause = " ".join(str(error).split())
        raise StoreError(
            f"{location} cannot be listened to ({cause}): see that it can be reached", location=location
        ) from error
