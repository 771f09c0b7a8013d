"""What a reader has of a stream, so that it is given nothing twice when the stream is taken up again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.errors import SessionError
from nbsession.events import InputJsonDelta, TextDelta
from nbsession.record import Seam

if TYPE_CHECKING:
    from nbsession.events import Event


class PartedError(SessionError):
    """What the server tells is another past than the one that was told before: it was killed before it was stored."""


class Received:
    """The durable events that came, by number, and how much of each open block.

    ``keep_all`` is for a stream that may be told again from its first event on; without it, only from the last.
    """

    def __init__(self, *, keep_all: bool) -> None:
        self._events: dict[int, Event] = {}
        self._keep_all = keep_all
        self._seam = Seam()
        self._told_again = False
        self.last: int | None = None

    def again(self) -> None:
        """Say that the stream is taken up: what is known comes first, the last event at least."""
        self._told_again = self.last is not None

    def take(self, event: Event) -> Event | None:
        """Return what is new of the next event; ``PartedError`` where it is not the one that was there before."""
        if isinstance(event, (TextDelta, InputJsonDelta)):
            return None if self._told_again else self._seam.rest(event)
        if not event.durable:
            return event
        known = self._events.get(event.sequence)
        if self._told_again:
            if known is None or not _same(known, event):
                raise PartedError(f"event {event.sequence} of the session is another one than before")
            self._told_again = event.sequence != self.last
            return None
        if not self._keep_all:
            self._events.clear()
        self._events[event.sequence] = event
        self.last = event.sequence
        self._seam.begin(event)
        return event

    def forget(self, first: int) -> None:
        """Forget the events from a number on: they are not in the session any more."""
        self._events = {number: event for number, event in self._events.items() if number < first}
        self.last = max(self._events, default=None)
        self._seam = Seam()
        self._told_again = False


def _same(known: Event, event: Event) -> bool:
    """Compare two events by what they say; how a failure is put may be another way when it is read from a store."""
    return type(known) is type(event) and known == event
