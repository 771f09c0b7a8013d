"""A store in a SQL database: a SQLite file, or PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import weakref
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, select, tuple_
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from nbsession.errors import StoreError
from nbsession.stores import every, postgres, schema, sql_append, sql_delete, sql_lease, sql_rows, sqlite
from nbsession.stores.base import Append, Row, SessionInfo
from nbsession.stores.lease import check_request, check_seconds
from nbsession.stores.listening import Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_DIGESTS_AT_ONCE = 500  # SQLite may have been built to take no more than 999 parameters
_APPENDS_AT_ONCE = 100
_PAGE = 1_000


class SqlStore:
    """Keeps sessions in the database at ``url``: ``sqlite:///…`` or ``postgresql+psycopg://…``.

    Without a URL that is a SQLite file in this user's data folder. Tables are
    made where there are none; a store of an older schema is brought to this one,
    in one transaction, and one of a newer schema is refused. What was
    appended survives the process, however it ends; with SQLite, a power cut may
    take the last appends, each as a whole. Any number of threads and processes
    may use one database; in one process, SQLite's writers take turns.
    ``location`` is the file's path, or the URL without its password.

    **What is deleted** is overwritten in a SQLite file, which gets smaller, and its log is
    emptied at once; where a program reads the file at that moment, the log keeps old pages
    until a session is next let go or the last program closes the file. In a file that an
    nbsession before schema 5 wrote, pages that were free then may hold old text until ``VACUUM``.
    PostgreSQL keeps deleted rows on its disk until its ``VACUUM``, which runs by itself, and what
    stands in its log and in copies as long as it keeps those.

    A SQLite file of this schema that may only be read is opened by
    ``sqlite:///file:/path/sessions.db?mode=ro&uri=true``. ``elsewhere`` is what
    errors advise to have another place, for a caller who was not given ``url`` here.
    """

    blocking = True
    notes = ()

    def __init__(self, url: str | None = None, *, elsewhere: str = sqlite.ELSEWHERE) -> None:
        parsed = sqlite.default_url(elsewhere) if url is None else _parse(url)
        self._elsewhere = elsewhere
        if parsed.get_backend_name() == "sqlite":
            parsed, self.location = sqlite.place(parsed, elsewhere)
            self._engine = sqlite.engine(parsed, self.location)
        else:
            self.location = parsed.render_as_string(hide_password=True)
            self._engine = _server(parsed, self.location)
        self._writer = self._engine.execution_options(**{sqlite.WRITES: True})
        self._is_file = parsed.get_backend_name() == "sqlite"
        # What one transaction reads is of one moment, as SQLite has it anyway: rows move into packs.
        self._reader = (
            self._engine
            if self._is_file
            else self._engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self.notifier = (
            None if self._is_file else Listener(partial(postgres.dial, self._engine, self.location))
        )
        self._identity = sqlite.Identity(self.location) if self._is_file else None
        self._unpacked: dict[str, int] = {}
        # SQLite's own waiting is by polling: a lock is fairer and quicker. A server's writers need no turns.
        self._turn: AbstractContextManager[object] = threading.Lock() if self._is_file else nullcontext()
        self._clock = every.Clock()
        self._release = weakref.finalize(self, self._engine.dispose)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"SqlStore({self.location!r})"

    def append(
        self,
        session: str,
        rows: Sequence[Row],
        texts: Mapping[str, str] | None = None,
        *,
        revision: int,
        token: int | None = None,
    ) -> int:
        write = sql_append.Write(Append(session, rows, texts or {}, revision, token))
        self._make([write])
        return write.revision

    @property
    def append_together(self) -> Callable[[Sequence[Append]], list[int | Exception]] | None:
        """Keep appends of several sessions at once; ``None`` for a server, which takes them side by side."""
        return self._append_together if self._is_file else None

    def _append_together(self, appends: Sequence[Append]) -> list[int | Exception]:
        """Keep several sessions' appends in one transaction, whose commit costs more than they do; each alone where one fails."""
        if len(appends) > _APPENDS_AT_ONCE:
            some, others = appends[:_APPENDS_AT_ONCE], appends[_APPENDS_AT_ONCE:]
            return [*self._append_together(some), *self._append_together(others)]
        if len(appends) > 1:
            try:
                writes = list(map(sql_append.Write, appends))
                self._make(writes)
                return [write.revision for write in writes]
            except Exception as error:  # noqa: BLE001  # of one, who meets it again; or of the file, whose it is for all
                if isinstance(error.__cause__, OperationalError | sqlite3.OperationalError):
                    return [error] * len(appends)
        outcomes: list[int | Exception] = []
        for one in appends:
            try:
                write = sql_append.Write(one)
                self._make([write])
            except Exception as error:  # noqa: BLE001  # for whose it is
                outcomes.append(error)
            else:
                outcomes.append(write.revision)
        return outcomes

    def _make(self, writes: Sequence[sql_append.Write]) -> None:
        with self._writing() as connection:
            if not self._is_file and any(write.may_meet_deletes for write in writes):
                postgres.hold_off_deletes(connection)
            unpacked = sql_append.make(connection, writes, self._clock.now(), self._unpacked, self.location)
            if self.notifier is not None:
                for write in writes:
                    if write.tells:
                        postgres.announce(connection, write.session)
        self._unpacked |= unpacked

    def load(self, session: str, last_of: Iterable[str] = ()) -> list[Row] | None:
        every.plain(session, "a session id")
        with self._reading() as connection:
            revision = sql_append.revision(connection, session)
            lines = sql_rows.read(connection, session, self.location) if revision else []
        if revision == 0:
            return None
        if len(lines) != revision:
            raise every.cut(session, revision, len(lines), self.location)
        places = every.last_of(lines, last_of)
        numbers = [place + 1 for place in places]
        return every.decode_rows(session, [lines[place] for place in places], numbers, self.location)

    def revision(self, session: str) -> int:
        every.plain(session, "a session id")
        with self._reading() as connection:
            return sql_append.revision(connection, session)

    def rows(
        self, session: str, after: int = 0, kinds: Iterable[str] | None = None, limit: int | None = None
    ) -> Iterator[tuple[int, Row]]:
        every.plain(session, "a session id")
        wanted = None if kinds is None else tuple(map(every.beginning, kinds))
        after, left = max(after, 0), sys.maxsize if limit is None else limit
        most = min(_PAGE, left) if wanted is None else _PAGE
        while left > 0:
            # A transaction for each page: a reader that rests keeps no log from being cleared.
            with self._reading() as connection:
                found = sql_rows.page(connection, session, after, most, self.location)
            if not found:
                return
            after = found[-1][0] + 1
            found = [(n, line) for n, line in found if wanted is None or line.startswith(wanted)][:left]
            numbers = [number + 1 for number, _ in found]
            yield from zip(
                numbers,
                every.decode_rows(session, [line for _, line in found], numbers, self.location),
                strict=True,
            )
            left -= len(found)

    def acquire(self, session: str, owner: str, seconds: float, *, revision: int | None = None) -> int:
        check_request(every.plain(owner, "an owner"), seconds)
        every.plain(session, "a session id")
        with self._writing() as connection:
            if not self._is_file:
                postgres.hold_off_deletes(connection)
            token = sql_lease.acquire(connection, session, owner, seconds)
            if revision is not None:
                sql_append.expect(connection, session, revision)
            return token

    def holder(self, session: str) -> str:
        with self._reading() as connection:
            return sql_lease.holder(connection, every.plain(session, "a session id"))

    def renew(self, session: str, token: int, seconds: float) -> None:
        check_seconds(seconds)
        with self._writing() as connection:
            sql_lease.renew(connection, session, token, seconds)

    def release(self, session: str, token: int) -> None:
        self._unpacked.pop(session, None)
        with suppress(StoreError):  # the lease is let go of also where there is no room for that
            self._pack(session, token)
        with self._writing() as connection:
            sql_lease.release(connection, session, token)
        self._tidy()

    def _tidy(self, patience: float = 0.0) -> None:
        if self._is_file:
            with suppress(StoreError), self._typed(), self._turn:
                sqlite.tidy(self._engine, patience)

    def _pack(self, session: str, token: int) -> None:
        with self._writing() as connection:
            if sql_lease.holds(connection, session, token):
                sql_rows.pack(connection, session)

    def texts(self, digests: Iterable[str]) -> dict[str, str]:
        wanted = [every.plain(digest, "a digest") for digest in digests]
        found: dict[str, str] = {}
        texts = schema.texts.c
        with self._reading() as connection:
            for start in range(0, len(wanted), _DIGESTS_AT_ONCE):
                some = wanted[start : start + _DIGESTS_AT_ONCE]
                query = select(texts.digest, texts.text).where(texts.digest.in_(some))
                for digest, text in connection.execute(query):
                    found[digest] = every.decode_text(bytes(text), digest, self.location)
        if missing := [digest for digest in wanted if digest not in found]:
            raise every.absent(missing, self.location)
        return found

    def sessions(
        self, *, after: tuple[float, str] | None = None, limit: int | None = None
    ) -> list[SessionInfo]:
        columns = schema.sessions.c
        query = select(schema.sessions).order_by(columns.updated.desc(), columns.id.desc()).limit(limit)
        if after is not None:
            query = query.where(tuple_(columns.updated, columns.id) < tuple_(*after))
        with self._reading() as connection:
            found = connection.execute(query).all()
        return [
            SessionInfo(
                id=row.id,
                created=row.created,
                updated=row.updated,
                revision=row.revision,
                metadata=every.decode(row.metadata, f"metadata of session {row.id!r}", self.location),
                parent=row.parent,
            )
            for row in found
        ]

    def delete(self, sessions: Sequence[str]) -> None:
        ids = every.to_delete(sessions)
        with self._writing() as connection:
            if not self._is_file:
                postgres.delete_alone(connection)
            sql_delete.delete(connection, ids, self.location)
        for session in ids:
            self._unpacked.pop(session, None)
        self._tidy(sqlite.TIDY_SECONDS)

    def close(self) -> None:
        self._release()

    def _prepare(self) -> None:
        with self._reading() as connection:
            version = schema.version(connection, self.location)
        if version is None or version < schema.VERSION:
            with self._writing() as connection:
                schema.bring_up(connection, self.location)
        if self._is_file:
            with self._typed():
                sqlite.set_journal(self._engine, self.location)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._typed(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._turn, self._transaction() as connection:
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._typed(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _typed(self) -> Iterator[None]:
        """Turn the database's errors into ours, with the location and what to do."""
        if not self._release.alive:
            raise StoreError(f"the store {self.location} was closed: open it again", location=self.location)
        if self._identity is not None:
            self._identity.check()
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            name = getattr(cause, "sqlite_errorname", "")
            told = sqlite.explain(name, self.location, cause, self._elsewhere)
            raise StoreError(told, location=self.location) from error


def _parse(url: str) -> URL:
    try:
        parsed = sqlalchemy.make_url(url)
    except ArgumentError as error:
        raise StoreError(
            f"{url!r} is not a database URL: write {_written(url)}", location=str(url)
        ) from error
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        raise StoreError(
            f"no store for {parsed.drivername!r}: use sqlite:///… or postgresql+psycopg://…, or RedisStore() for "
            "redis://…",
            location=parsed.render_as_string(hide_password=True),
        )
    return parsed


def _written(url: Any) -> str:
    """Return the URL that somebody meant who gave a path."""
    if isinstance(url, os.PathLike) or (
        isinstance(url, str) and url.endswith((".db", ".sqlite", ".sqlite3"))
    ):
        return f"sqlite:///{os.fspath(url)}"
    return "sqlite:////path/of/sessions.db"


def _server(url: URL, location: str) -> Engine:
    try:
        return sqlalchemy.create_engine(url, pool_pre_ping=True, hide_parameters=True)
    except ImportError as error:
        raise StoreError(
            f'{location} needs a driver: pip install "nbsession[postgres]"', location=location
        ) from error
