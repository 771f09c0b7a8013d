"""The tables of a SQL store, the same in every database."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    func,
    inspect,
    select,
)

from nbsession.errors import StoreError

VERSION = 1
"""The version these tables have; a store of a newer one is refused."""

_CREATING = int.from_bytes(b"nbstore")
"""PostgreSQL's lock on making the tables: any number that other programs are unlikely to take."""

tables = MetaData()

sessions = Table(
    "sessions",
    tables,
    Column("id", Text, primary_key=True),
    # How many rows the session has: the number that a writer must know in order to append.
    Column("revision", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False, index=True),
    Column("metadata", Text, nullable=False),
    # Not a foreign key: a fork may be kept where its parent is not.
    Column("parent", Text),
)

rows = Table(
    "rows",
    tables,
    Column("session", Text, ForeignKey("sessions.id"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("at", Float, nullable=False),
)

# JSON text here too: it holds NUL and lone surrogates, which a database's text does not.
texts = Table("texts", tables, Column("digest", Text, primary_key=True), Column("text", Text, nullable=False))

meta = Table("meta", tables, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))


def version(connection: Connection, location: str) -> int | None:
    """Return the schema version of what is connected, or ``None`` where nothing was made yet.

    Tables of these names that are not this package's, and a version newer than
    ``VERSION``, are a ``StoreError``: they are not for this program to touch.
    """
    present = set(inspect(connection).get_table_names()) & set(tables.tables)
    if not present:
        return None
    if missing := set(tables.tables) - present:
        raise _foreign(location, f"it has a table {min(present)!r} and no table {min(missing)!r}")
    found = connection.execute(select(meta.c.value).where(meta.c.key == "schema")).scalar()
    if found is None or not found.isdecimal():
        raise _foreign(location, f"its schema version is {found!r}")
    if int(found) > VERSION:
        raise StoreError(
            f"{location} was written by a newer nbsession (schema {found}, this one knows {VERSION}): "
            "upgrade with pip install --upgrade nbsession, or choose another file with $NBSESSION_STORE",
            location=location,
        )
    return int(found)


def create(connection: Connection, location: str) -> None:
    """Make the tables and note their version, inside the caller's transaction.

    Where another process was quicker, that is waited for and nothing is done.
    """
    if connection.dialect.name == "postgresql":
        # Its CREATE TABLE fails where another transaction creates the same; SQLite's transaction waits by itself.
        connection.execute(select(func.pg_advisory_xact_lock(_CREATING)))
    if version(connection, location) is None:
        tables.create_all(connection)
        connection.execute(meta.insert().values(key="schema", value=str(VERSION)))


def _foreign(location: str, why: str) -> StoreError:
    return StoreError(
        f"{location} is a database, but not a session store: {why}; choose another file or database",
        location=location,
    )
