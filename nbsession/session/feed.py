"""A session's events: numbered, kept, and given to any number of readers, the stored ones first."""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from itertools import islice, takewhile
from typing import TYPE_CHECKING, TypeAlias

from nbsession import threads
from nbsession.errors import NbsessionError, SessionError
from nbsession.events import (
    Done,
    Event,
    ExecutionStart,
    InputJsonDelta,
    TextDelta,
    Unkept,
)
from nbsession.record import EventLog, Seam, stored_events

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from nbsession.record import Outbox
    from nbsession.timeline import Record, Tick

KEPT = 10_000
"""Durable events that a session keeps in memory for its readers, executions of the past included."""
PAGE = 1_000
"""Events that are read from the store at a time."""

Observer: TypeAlias = "Callable[[Event], object]"
"""What is called with each durable event as it happens, by whoever does it: it neither waits nor raises."""


class Feed:
    """All events of one session, in the order of their numbers.

    The newest are in memory, all of them in the store. A reader costs nothing while
    it rests: one that comes back late goes on from the store. ``sequence`` is the
    number of the last durable event. ``observer``, if there is one, is called where an
    event happens: in the task of the tool that starts, and in the sender's context where an execution does.
    """

    def __init__(self, outbox: Outbox, record: Record, ticks: Sequence[Tick]) -> None:
        self.sequence = 0
        self.observer: Observer | None = None
        self._outbox = outbox
        self._record = record
        self._ticks = ticks
        self._log = EventLog(limit=KEPT)
        self._held: list[tuple[Event, EventLog | None]] | None = None

    def emit(self, event: Event, log: EventLog | None = None) -> None:
        """Number a durable event; keep it here, in the store and in the log of its execution."""
        if isinstance(event, (TextDelta, InputJsonDelta)):
            event.sequence = self.sequence
            self._log.grow(event, log.grow(event) if log is not None else None)
            return
        if event.durable:
            self.sequence += 1
            event.sequence = self.sequence
            if self._outbox.keeps:
                self._outbox.note(event)
                self._log.settled = self._outbox.stored
            if self.observer is not None:
                self.observer(event)
        else:
            event.sequence = self.sequence
        if self._held is not None:
            self._held.append((event, log))
        else:
            self._tell(event, log)

    def _tell(self, event: Event, log: EventLog | None) -> None:
        if log is not None:
            log.append(event)
        self._log.append(event)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Number and store events, and let readers have them when the block has ended.

        Where it fails, they get that as an ``Unkept`` before: then the events wait to be stored.
        """
        first, self._held = self.sequence, []
        failure: NbsessionError | None = None
        try:
            yield
        except NbsessionError as error:
            failure = error
            raise
        finally:
            told, self._held = self._held, None
            if failure is not None:
                unkept = Unkept(str(failure), "error", sequence=first)
                told = [(unkept, told[0][1] if told else None), *told]
            for event, log in told:
                self._tell(event, log)

    @property
    def followed(self) -> bool:
        """Whether anybody subscribes."""
        return self._log.followed

    def close(self) -> None:
        """Say that nothing more will come; readers end when they have read all."""
        self._log.close()

    async def subscribe(self, after: int | None = None) -> AsyncGenerator[Event]:
        """Give the events after a sequence number: stored ones, then those in memory, then new ones.

        Raises ``SessionError`` where some of them are kept nowhere any more: a session
        without a store keeps the newest only, and without a number it is these.
        """
        place = Place(after or 0)
        while True:
            begun_at = place.last
            async with aclosing(self._stored(place.last)) as stored:
                async for event in stored:
                    if (new := place.take(event)) is not None:
                        yield new
            try:
                async with aclosing(self._log.read(place.last or after)) as read:
                    async for event in read:
                        if (new := place.take(event)) is not None:
                            yield new
                return
            except SessionError:
                # It rested until the next events were no longer in memory: on from the store, if that is any further.
                if place.last == begun_at and self._outbox.stored <= begun_at:
                    raise

    async def of(self, execution: str) -> AsyncGenerator[Event]:
        """Give the events of one execution that has ended; ``SessionError`` where its first are kept nowhere any more."""
        last, inside = self.sequence, False
        async with aclosing(self.subscribe()) as events:
            async for event in events:
                inside = inside or (isinstance(event, ExecutionStart) and event.execution == execution)
                if inside:
                    yield event
                if isinstance(event, Done) and inside:
                    return
                if not inside and event.sequence >= last:
                    break
        if not inside:
            raise SessionError(
                f"the events of execution {execution} are no longer kept: without a store, a session keeps its last "
                f"{KEPT:,}; its result is there, by awaiting it"
            )

    async def _stored(self, last: int) -> AsyncGenerator[Event]:
        """Give the events that only the store has."""
        first, store = self._log.first, self._outbox.journal.store
        if store is None or (first is not None and first <= last + 1):
            return
        journal = self._outbox.journal
        kept = takewhile(
            lambda kept: kept[0] <= journal.revision,  # more is known only to another process
            store.rows(journal.session, kinds=["events"]),
        )
        rows = (row.data for _, row in kept)
        events = stored_events(rows, self._ticks, self._record.by_id, last)

        def page() -> list[Event]:
            return list(islice(events, PAGE))

        while read := (await threads.beside(page) if store.blocking else page()):
            for event in read:
                if first is not None and event.sequence >= first:
                    return
                yield event


class Place:
    """Where a reader stands: the last durable event it was given, and how much of each open block."""

    __slots__ = ("_seam", "last")

    def __init__(self, last: int) -> None:
        self.last = last
        self._seam = Seam()

    def take(self, event: Event) -> Event | None:
        """Return what is new of the next event: of a delta that begins anew only the rest."""
        if isinstance(event, (TextDelta, InputJsonDelta)):
            return self._seam.rest(event)
        self._seam.begin(event)
        self.last = event.sequence
        return event
