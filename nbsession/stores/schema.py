"""The tables of a SQL store, the same in every database."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Insert,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    inspect,
    select,
)
from sqlalchemy.dialects import sqlite

from nbsession.errors import StoreError

VERSION = 5
"""The version these tables have, a revision in ``migrations``; a store of a newer one is refused."""

_CREATING = int.from_bytes(b"nbstore")
"""PostgreSQL's lock on making the tables: any number that other programs are unlikely to take."""

tables = MetaData()

# Small tables without row ids: SQLite then keeps no second tree for their keys.

sessions = Table(
    "sessions",
    tables,
    Column("id", Text, primary_key=True),
    # How many rows the session has: the number that a writer must know in order to append.
    Column("revision", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("metadata", Text, nullable=False),
    # Not a foreign key: a fork may be kept where its parent is not.
    Column("parent", Text),
    # The session whose first rows are also this fork's past: it cannot be deleted while this one is there.
    Column("shares", Text, index=True),
    # A page of the list costs the same however long it is.
    Index("ix_sessions_updated", "updated", "id"),
    sqlite_with_rowid=False,
)

# A session's latest rows, each a line of JSON: kind, key, data.
rows = Table(
    "rows",
    tables,
    Column("session", Text, ForeignKey("sessions.id"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("line", Text, nullable=False),
)

# Its rows before those, many in one: their lines, compressed by zlib.
packs = Table(
    "packs",
    tables,
    Column("session", Text, ForeignKey("sessions.id"), primary_key=True),
    Column("last", Integer, primary_key=True, autoincrement=False),
    Column("first", Integer, nullable=False),
    Column("lines", LargeBinary, nullable=False),
)

# JSON here too, compressed: it holds NUL and lone surrogates, which a database's text does not.
texts = Table(
    "texts", tables, Column("digest", Text, primary_key=True), Column("text", LargeBinary, nullable=False)
)

# Which sessions each text was given with: the last one takes it along when it is deleted.
uses = Table(
    "uses",
    tables,
    Column("session", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    sqlite_with_rowid=False,
)

# Not a foreign key either: a lease is acquired before the session's first row.
leases = Table(
    "leases",
    tables,
    Column("session", Text, primary_key=True),
    Column("token", Integer, nullable=False),
    # "" once it is released.
    Column("owner", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("process", Text, nullable=False),
    sqlite_with_rowid=False,
)

meta = Table(
    "meta",
    tables,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)


_FIRST = {"sessions", "rows", "texts", "meta"}
"""The tables that every version has."""


def version(connection: Connection, location: str) -> int | None:
    """Return the schema version of what is connected, or ``None`` where nothing was made yet.

    Tables of these names that are not this package's, and a version newer than
    ``VERSION``, are a ``StoreError``: they are not for this program to touch.
    """
    names = set(inspect(connection).get_table_names())
    if not names & _FIRST:
        return None
    if missing := _FIRST - names:
        raise _foreign(location, f"it has a table {min(names & _FIRST)!r} and no table {min(missing)!r}")
    found = connection.execute(select(meta.c.value).where(meta.c.key == "schema")).scalar()
    if found is None or not found.isdecimal() or int(found) < 1:
        raise _foreign(location, f"its schema version is {found!r}")
    if int(found) > VERSION:
        raise StoreError(
            f"{location} was written by a newer nbsession (schema {found}, this one knows {VERSION}): "
            "upgrade with pip install --upgrade nbsession, or choose another file or database",
            location=location,
        )
    if int(found) == VERSION and (missing := set(tables.tables) - names):
        raise _foreign(location, f"its schema version is {found} and it has no table {min(missing)!r}")
    return int(found)


def bring_up(connection: Connection, location: str) -> None:
    """Make the tables, or bring those of an older version to this one, inside the caller's transaction.

    Where another process was quicker, that is waited for and nothing is done.
    """
    if connection.dialect.name == "postgresql":
        # Its CREATE TABLE fails where another transaction creates the same; SQLite's transaction waits by itself.
        connection.execute(select(func.pg_advisory_xact_lock(_CREATING)))
    found = version(connection, location)
    if found is None:
        tables.create_all(connection)
        connection.execute(meta.insert().values(key="schema", value=str(VERSION)))
    elif found < VERSION:
        from nbsession.stores import migrations

        migrations.upgrade(connection, found, VERSION, location)
        connection.execute(meta.update().where(meta.c.key == "schema").values(value=str(VERSION)))


def insert_new(connection: Connection, table: Table) -> Insert:
    """Return an insert that leaves out what is there already, which has no spelling common to databases."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table).on_conflict_do_nothing()


def _foreign(location: str, why: str) -> StoreError:
    return StoreError(
        f"{location} is a database, but not a session store: {why}; choose another file or database",
        location=location,
    )
