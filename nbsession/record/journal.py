"""A session's way to its store and back: rows out, a session's past in."""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbsession import threads
from nbsession.content import Block, Entry, ToolResult, block_from_dict
from nbsession.errors import NbsessionError, SessionBusyError, SessionClosedError, StoreError
from nbsession.hooks import GONE
from nbsession.record.event_rows import row_of
from nbsession.record.lease import Lease
from nbsession.record.partial import grown
from nbsession.record.texts import lifted, lower, wanted
from nbsession.record.writer import Writer, write
from nbsession.stores import every
from nbsession.stores.base import Append, Row
from nbsession.stores.lease import this_owner
from nbsession.timeline import ForkPoint, entries_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nbsession.events import Event
    from nbsession.stores.base import SessionStore


@dataclass(slots=True)
class Rows:
    """Rows and texts that wait to be stored together."""

    rows: list[Row] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Let a row wait."""
        self.rows.append(row)

    def extend(self, later: Rows) -> None:
        """Let more rows and texts wait behind these."""
        self.rows += later.rows
        self.texts.update(later.texts)

    def seal(self, *, answering: bool = False) -> None:
        """Make the events that wait a row; ``answering`` where a response is not complete so far."""
        if self.events:
            self.add(Row("events", "", row_of(self.events, answering=answering)))
            self.events = []

    def __bool__(self) -> bool:
        return bool(self.rows)


class Journal:
    """The rows of one session, appended in order by one writer.

    What could not be stored waits, and goes in front of what is stored next, so that a
    store that recovers has everything. The session's lease is taken before the first
    write. Without a store nothing is kept, and nothing costs anything. ``held_by`` is the
    process that was running the session when it was read: then it can be read only. ``created``
    is when it was made, as its first row says.
    """

    def __init__(
        self,
        store: SessionStore | None,
        session: str,
        *,
        revision: int = 0,
        held_by: str = "",
        created: float | None = None,
    ) -> None:
        self.store = store
        self.session = session
        self.revision = revision
        self.held_by = held_by
        self._created = created
        self._lease = Lease(store, session) if store is not None else None
        self._backlog = Rows()
        self._failure: NbsessionError | None = None
        self._lock = threading.Lock()  # on the revision and the backlog, which belong together
        self._writer: Writer | None = None

    @property
    def behind(self) -> bool:
        """Whether something is not stored so far."""
        return bool(self._backlog)

    @property
    def superseded(self) -> bool:
        """Whether another process has gone on with it, or may have, or it was deleted: nothing more can be stored."""
        if self.store is None:
            return False
        if isinstance(self._failure, SessionClosedError):
            return True
        if self.held_by and self.store.holder(self.session) != self.held_by:
            return True
        if not self.held_by and not isinstance(self._failure, SessionBusyError):
            return False
        return self.store.revision(self.session) != self.revision

    @property
    def outdated(self) -> bool:
        """Whether the store has another revision than this knows; who holds the lease need not ask."""
        if self.store is None or self.held:
            return False
        return self.store.revision(self.session) != self.revision

    @property
    def held(self) -> bool:
        """Whether this has the session's lease, as far as is known here."""
        return self._lease is not None and self._lease.held

    @property
    def keeps(self) -> bool:
        """Whether there is a store."""
        return self.store is not None

    @property
    def trouble(self) -> str:
        """What is not kept and why, ``""`` where the last attempt to store did not fail."""
        failure, count = self._failure, len(self._backlog.rows)
        if failure is None or not count:
            return ""
        return (
            f"the last {count} rows of session {self.session!r} are in memory only, and are stored with the next "
            f"that can be: {failure}"
        )

    def standing(self) -> tuple[int, Rows]:
        """Return the number of rows that are durable, and those that are not yet."""
        with self._lock:
            return self.revision, Rows(list(self._backlog.rows), dict(self._backlog.texts))

    async def append(self, waiting: Rows) -> None:
        """Store rows and texts in one transaction; returns when they are durable."""
        if self.store is None:
            return
        self._wait(waiting)
        if not self.store.blocking or not threads.can_start():
            self._write()
            return
        if self._writer is None:
            self._writer = Writer.of(self.store)
        await self._writer.write(self)

    def append_now(self, waiting: Rows) -> None:
        """Store rows and block until they are durable."""
        if self.store is None:
            return
        self._wait(waiting)
        if self._writer is not None:
            self._writer.write_now(self)
        else:
            self._write()

    def _wait(self, waiting: Rows) -> None:
        with self._lock:
            self._backlog.extend(waiting)

    def _write(self) -> None:
        assert self.store is not None
        for error in write(self.store, [self]):
            if error is not None:
                raise error

    # For the writer

    def begin(self) -> Append | None:
        """Return what is to be stored now, ``None`` where an append before took it along."""
        assert self._lease is not None
        revision, waiting = self.standing()
        if not waiting:
            return None
        try:
            if revision and not self._lease.held:
                self._check_same()
            token = self._lease.hold(revision)
            if self.held_by:
                self._lease.give_back()
                raise SessionBusyError(
                    f"session {self.session!r} was opened here while {self.held_by} ran it; that is over, so open it "
                    "again to go on from what is there, or fork what is in memory here under a new id"
                )
        except NbsessionError as error:
            self._failed(error)
            raise
        return Append(self.session, waiting.rows, waiting.texts, revision, token)

    def end(self, append: Append, outcome: int | Exception) -> None:
        """Know that it was stored, and the revision that made; or that it was not, and why."""
        if isinstance(outcome, Exception):
            if isinstance(outcome, NbsessionError):
                self._failed(outcome)
            return
        if not append.revision:
            self._created = append.rows[0].data.get("created")
        with self._lock:
            self.revision, self._failure = outcome, None
            del self._backlog.rows[: len(append.rows)]
            for digest in append.texts:
                self._backlog.texts.pop(digest, None)

    def _failed(self, error: NbsessionError) -> None:
        assert self._lease is not None
        self._failure = error
        if isinstance(error, SessionBusyError):
            self._lease.lose()

    def _check_same(self) -> None:
        """Refuse to write to what began anew under the id of a session that was deleted: it may have as many rows."""
        assert self.store is not None
        for _, first in self.store.rows(self.session, limit=1):
            if first.data.get("created") != self._created:
                raise every.gone(self.session)

    def close(self) -> None:
        """Let the writer finish, and another process hold the session."""
        if self._writer is not None:
            self._writer.finish()
            self._writer = None
        if self._lease is not None:
            self._lease.release()


@dataclass(slots=True)
class Past:
    """What a store knows of a session.

    ``held_by`` is another process that runs it at this moment, ``""`` where none does;
    ``untold`` says that the end of its last execution is no event yet.
    """

    revision: int = 0
    held_by: str = ""
    created: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    forked: tuple[int | None, bool] | None = None
    entries: list[Entry] = field(default_factory=list)
    head: str | None = None
    changes: list[tuple[str, Any]] = field(default_factory=list)
    ticks: dict[int, dict[str, Any]] = field(default_factory=dict)
    executions: dict[str, dict[str, Any]] = field(default_factory=dict)
    partials: dict[int, tuple[Block, ...]] = field(default_factory=dict)
    tool_calls: dict[str, ToolResult | None] = field(default_factory=dict)
    policies: dict[str, tuple[Entry, ...]] = field(default_factory=dict)
    sequence: int = 0
    untold: bool = False

    @property
    def fork_point(self) -> ForkPoint | None:
        """Where its parent was left, ``None`` for what is no fork."""
        return ForkPoint(*self.forked) if self.forked else None

    @property
    def runs(self) -> bool:
        """Whether an execution has begun and not ended."""
        return any(data["status"] == "running" for data in self.executions.values())


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from searching, again and again, what is read and stays: a third of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@uncollected()
def read_past(store: SessionStore, session: str) -> Past | None:
    """Fold a session's rows, in the order they were kept; ``None`` for a session the store does not know.

    Of its events only the last are read. A fork begins with the rows it shares with its parent.
    """
    # Before the rows: who reads more of them than this knows is refused when it writes, and loses nothing.
    revision, holder = store.revision(session), store.holder(session)
    rows = store.load(session, last_of=("events",))
    if rows is None:
        return None
    past = Past(revision=revision, created=rows[0].data.get("created"))
    entries: dict[str, Entry] = {}
    for row in _with_texts(store, [*_shared(store, rows[0]), *rows]):
        if row.kind == "entry":
            entries[row.key] = _entry(row, past.head)
            past.entries.append(entries[row.key])
            past.head = row.key
        elif row.kind == "head":
            past.head = row.data["head"]
        elif row.kind == "fork":
            past.head = row.data["head"]
            del past.changes[row.data["state"] :]
            past.ticks = {number: tick for number, tick in past.ticks.items() if number < row.data["ticks"]}
        elif row.kind == "state":
            past.changes += [(c[0], c[1]) if len(c) > 1 else (c[0], GONE) for c in row.data["changes"]]
        elif row.kind == "tick":
            past.ticks.setdefault(int(row.key), {}).update(row.data)
        elif row.kind == "execution":
            past.executions.setdefault(row.key, {}).update(row.data)
        elif row.kind == "partial":
            past.partials[int(row.key)] = grown(past.partials.get(int(row.key), ()), row.data)
        elif row.kind == "events":
            past.sequence = row.data["first"] + len(row.data["events"]) - 1
            past.untold = not all(map(_after_an_end, row.data["events"])) and not any(
                map(_is_done, row.data["events"])
            )
        elif row.kind == "policy":
            past.policies[row.key] = entries_of(row.data, past.policies, entries)
        elif row.kind == "event":
            result = row.data.get("result")
            read = block_from_dict(result) if result is not None else None
            past.tool_calls[row.key.partition("/")[2]] = read if isinstance(read, ToolResult) else None
        elif row.kind == "session":
            past.metadata = row.data.get("metadata", past.metadata)
            past.parent = row.data.get("parent", past.parent)
            past.forked = row.data.get("forked", past.forked)
    past.held_by = holder if past.runs and holder != this_owner() else ""
    return past


SHARED = ("entry", "head", "fork", "state", "tick", "policy")
"""The kinds of rows that a fork shares with its parent; what its executions were is the parent's own."""


def _shared(store: SessionStore, birth: Row) -> list[Row]:
    """Return the rows that a fork shares with those it was forked from, the oldest first."""
    shared: list[Row] = []
    session, shares = birth.key, birth.data.get("shares")
    while shares is not None:
        parent, revision = shares
        if store.revision(parent) < revision:
            raise StoreError(
                f"session {session!r} shares the first {revision} rows of {parent!r}, which has "
                f"{store.revision(parent)} in {store!r}: restore the store from a copy"
            )
        session, shares = parent, None
        rows: list[Row] = []
        for number, row in store.rows(parent, kinds=("session", *SHARED)):
            if number > revision:
                break
            if row.kind == "session":
                shares = row.data.get("shares", shares)
            else:
                rows.append(row)
        shared[:0] = rows
    return shared


def entry_row(entry: Entry, head: str | None, texts: dict[str, str]) -> Row:
    """Return the row that an entry is kept as: without its id, which is the key, and what is as usual.

    Its parent is ``head`` as a rule, where the timeline stands by the rows before. Its long
    texts are added to ``texts``.
    """
    usual: dict[str, Any] = {"id": entry.id, "parent": head, "status": "complete", "metadata": {}}
    data = entry.to_dict()
    data = {name: data[name] for name in data if name not in usual or usual[name] != data[name]}
    data["content"], paths = lifted(data["content"], texts)
    return Row("entry", entry.id, {**data, LONG: paths} if paths else data)


LONG = "long"
"""Where the row of an entry says which of its texts are kept by their digests."""


def _with_texts(store: SessionStore, rows: list[Row]) -> list[Row]:
    """Put the long texts back into the rows of entries."""
    lacking = [row.data for row in rows if row.kind == "entry" and LONG in row.data]
    if lacking:
        texts = store.texts({text for data in lacking for text in wanted(data["content"], data[LONG])})
        for data in lacking:
            lower(data["content"], data[LONG], texts)
    return rows


def _entry(row: Row, head: str | None) -> Entry:
    usual: dict[str, Any] = {"id": row.key, "parent": head, "status": "complete", "metadata": {}}
    return Entry.from_dict({**usual, **row.data})


def _is_done(word: Any) -> bool:
    return isinstance(word, str) and word.startswith("done")


def _after_an_end(word: Any) -> bool:
    """Say whether a kept event may stand where no execution runs."""
    return isinstance(word, dict) and word["type"] in ("knob_set", "gate_changed")
