"""The thread that writes for sessions: one for each, or one for all of a store that takes their appends together."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from nbsession.stores.base import together

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nbsession.stores.base import Append, SessionStore

    Outcome = Exception | None
    Told = asyncio.Future[None] | Future[None]


class Waiting(Protocol):
    """A session's rows that wait."""

    def begin(self) -> Append | None:
        """Return what is to be stored now, ``None`` for nothing; raises what keeps it from being stored."""

    def end(self, append: Append, outcome: int | Exception) -> None:
        """Know what became of it: the session's revision with it, or why it was not stored."""


class _Asked(NamedTuple):
    journal: Waiting
    told: Told


_SHARED: weakref.WeakValueDictionary[int, Writer] = weakref.WeakValueDictionary()
"""The writer of each store that takes appends together, for as long as a session has it."""

_SHARING = threading.Lock()


class Writer:
    """Writes what waits in journals, each after the other or, where the store takes them, together."""

    @staticmethod
    def of(store: SessionStore) -> Writer:
        """Return the writer for one more session of a store."""
        if together(store) is None:
            return Writer(store)
        with _SHARING:
            writer = _SHARED.get(id(store))
            if writer is None:
                _SHARED[id(store)] = writer = Writer(store)
            return writer

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nbsession-store")
        self._lock = threading.Lock()
        self._waiting: list[_Asked] = []

    async def write(self, journal: Waiting) -> None:
        """Write what waits in a journal; returns when it is durable, also when it is cancelled meanwhile."""
        told = asyncio.get_running_loop().create_future()
        self._ask(_Asked(journal, told))
        try:
            await asyncio.shield(told)
        except asyncio.CancelledError:
            await asyncio.wait({told})
            told.exception()  # whatever it is, what was not stored waits in the backlog
            raise

    def write_now(self, journal: Waiting) -> None:
        """Write what waits in a journal, and block until it is durable."""
        told: Future[None] = Future()
        self._ask(_Asked(journal, told))
        told.result()

    def finish(self) -> None:
        """Block until all is written that was asked for."""
        if (begun := self._begin()) is not None:
            begun.result()

    def _ask(self, asked: _Asked) -> None:
        with self._lock:
            self._waiting.append(asked)
            if len(self._waiting) > 1:
                return  # it is on its way to these
        self._begin()

    def _begin(self) -> Future[None] | None:
        """Have what is asked for written; it is by now, where this returns nothing."""
        try:
            return self._thread.submit(self._write)
        except RuntimeError:  # the interpreter ends, and its threads take nothing more
            self._write()
            return None

    def _write(self) -> None:
        with self._lock:
            asked, self._waiting = self._waiting, []
        if not asked:
            return
        journals = list(dict.fromkeys(one.journal for one in asked))
        try:
            outcomes = dict(zip(journals, write(self._store, journals), strict=True))
        except Exception as error:  # noqa: BLE001  # a store that breaks its promise leaves nobody waiting
            outcomes = dict.fromkeys(journals, error)
        on_loops: defaultdict[asyncio.AbstractEventLoop, list[tuple[Told, Outcome]]] = defaultdict(list)
        for journal, told in asked:
            if isinstance(told, Future):
                _tell([(told, outcomes[journal])])
            else:
                on_loops[told.get_loop()].append((told, outcomes[journal]))
        for loop, those in on_loops.items():
            with suppress(RuntimeError):  # it was closed, with all who waited on it
                loop.call_soon_threadsafe(_tell, those)


def _tell(outcomes: Iterable[tuple[Told, Outcome]]) -> None:
    for told, error in outcomes:
        if told.done():
            continue
        if error is None:
            told.set_result(None)
        else:
            told.set_exception(error)


def write(store: SessionStore, journals: Sequence[Waiting]) -> list[Outcome]:
    """Write what waits in each of the journals, and return for each the error that it failed of."""
    failed: dict[Waiting, Exception] = {}
    appends: dict[Waiting, Append] = {}
    for journal in journals:
        try:
            append = journal.begin()
        except Exception as error:  # noqa: BLE001  # for whoever waits for this one
            failed[journal] = error
        else:
            if append is not None:
                appends[journal] = append
    for journal, outcome in zip(appends, _outcomes(store, list(appends.values())), strict=True):
        journal.end(appends[journal], outcome)
        if isinstance(outcome, Exception):
            failed[journal] = outcome
    return [failed.get(journal) for journal in journals]


def _outcomes(store: SessionStore, appends: Sequence[Append]) -> Sequence[int | Exception]:
    try:
        if (at_once := together(store)) is not None:
            return at_once(appends)
        return [
            store.append(one.session, one.rows, one.texts, revision=one.revision, token=one.token)
            for one in appends
        ]
    except Exception as error:  # noqa: BLE001  # as above
        return [error] * len(appends)
