"""Events as they are kept: readable late, by many, at their own pace.

A log never makes its writer wait. Deltas are kept as the text of their block, so
a reader that is late, or slow, gets one joined delta where others got many.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from bisect import bisect_right
from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

from nbsession.errors import SessionError
from nbsession.events import ContentBlockStop, Event, InputJsonDelta, MessageStart, TextDelta

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class BlockText:
    """The growing text of one content block, which several logs may share."""

    __slots__ = ("_lock", "_pieces", "closed", "index", "json", "length", "sequence")

    def __init__(self, index: int, json: bool, sequence: int) -> None:
        self.index = index
        self.json = json
        self.sequence = sequence
        self.length = 0
        self.closed = False
        self._pieces: list[str] = []
        self._lock = threading.Lock()

    def add(self, piece: str) -> None:
        """Let the text grow."""
        with self._lock:
            self._pieces.append(piece)
            self.length += len(piece)

    def since(self, offset: int) -> TextDelta | InputJsonDelta | None:
        """Return what was written after ``offset`` characters, as one delta."""
        with self._lock:
            if offset >= self.length:
                return None
            if len(self._pieces) > 1:
                self._pieces[:] = ["".join(self._pieces)]
            text = self._pieces[0][offset:]
        if self.json:
            return InputJsonDelta(self.index, text, offset, sequence=self.sequence)
        return TextDelta(self.index, text, offset, sequence=self.sequence)


Item: TypeAlias = Event | BlockText


class EventLog:
    """An append-only log of events with any number of readers.

    One thread writes, readers may be on any. ``limit`` bounds how many events are
    kept (a few more, so that not each one drops another); the oldest go first, but
    none after number ``settled``, where that is set: they are kept nowhere else yet.
    Deltas take the sequence number of the durable event before them.
    """

    __slots__ = ("_base", "_closed", "_items", "_limit", "_lock", "_most", "_open", "_readers", "settled")

    def __init__(self, limit: int | None = None) -> None:
        self._items: list[Item] = []
        self._base = 0
        self._limit = sys.maxsize if limit is None else limit
        self._most = self._limit * 1.1
        self.settled: int | None = None
        self._open: dict[int, BlockText] = {}
        self._closed = False
        self._readers: set[_Reader] = set()
        self._lock = threading.Lock()

    def append(self, event: Event) -> None:
        """Keep an event; a delta as the text of its block."""
        if isinstance(event, (TextDelta, InputJsonDelta)):
            self.grow(event)
            return
        with self._lock:
            if self._open:
                self._end_blocks(event)
            self._items.append(event)
            if len(self._items) > self._most:
                self._drop(len(self._items) - self._limit)
        if self._readers:
            self._wake()

    def grow(self, delta: TextDelta | InputJsonDelta, share: BlockText | None = None) -> BlockText:
        """Keep a delta in its block's text, or in the one that another log shares; return that text."""
        with self._lock:
            block = self._delta(delta) if share is None else self._shared(delta.index, share)
        if self._readers:
            self._wake()
        return block

    def _drop(self, count: int) -> None:
        if self.settled is not None:
            count = min(count, bisect_right(self._items, self.settled, key=attrgetter("sequence")))
        del self._items[:count]
        self._base += count

    def _delta(self, delta: TextDelta | InputJsonDelta) -> BlockText:
        block = self._open.get(delta.index)
        if block is None:
            block = BlockText(delta.index, isinstance(delta, InputJsonDelta), delta.sequence)
            self._begin(block)
        delta.offset = block.length
        block.add(_written(delta))
        return block

    def _shared(self, index: int, share: BlockText) -> BlockText:
        if self._open.get(index) is not share:
            self._begin(share)
        return share

    def _begin(self, block: BlockText) -> None:
        self._open[block.index] = block
        self._items.append(block)

    def _end_blocks(self, event: Event) -> None:
        """Let a block that stops grow no more; where a message starts, none of a message that was cut before."""
        if isinstance(event, ContentBlockStop):
            finished = self._open.pop(event.index, None)
            if finished is not None:
                finished.closed = True
        elif isinstance(event, MessageStart):
            for block in self._open.values():
                block.closed = True
            self._open.clear()

    def close(self) -> None:
        """Say that nothing more will come; readers end when they have read all."""
        with self._lock:
            self._closed = True
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            readers = tuple(self._readers)
        for reader in readers:
            reader.wake()

    @property
    def first(self) -> int | None:
        """The sequence number of the first durable event that is kept, ``None`` where there is none."""
        with self._lock:
            return next((item.sequence for item in self._items if isinstance(item, Event)), None)

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    @property
    def followed(self) -> bool:
        """Whether anybody reads, and gets what comes."""
        return bool(self._readers)

    async def read(self, after: int | None = None) -> AsyncGenerator[Event]:
        """Give the events, from the first kept or after a sequence number, then those to come.

        May be used from any event loop. Raises ``SessionError`` where events after that
        number are no longer kept, and in a reader that fell so far behind.
        """
        reader = _Reader(after)
        with self._lock:
            self._readers.add(reader)
        try:
            ended = False
            while not ended:
                reader.rest()
                with self._lock:
                    ended = self._closed
                    events = reader.take(self._items, self._base)
                for event in events:
                    yield event
                if not ended:
                    await reader.wait()
        finally:
            with self._lock:
                self._readers.discard(reader)


def _written(delta: TextDelta | InputJsonDelta) -> str:
    return delta.text if isinstance(delta, TextDelta) else delta.partial_json


class _Reader:
    """Where one reader stands, and its wake-up on its own loop, from any thread."""

    __slots__ = ("_after", "_blocks", "_event", "_loop", "_position", "_set")

    def __init__(self, after: int | None) -> None:
        self._after = after
        self._position = 0 if after is not None else -1
        self._blocks: dict[BlockText, int] = {}
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._set = False

    def take(self, items: list[Item], base: int) -> list[Event]:
        """Return what is new among the items, the first of which is number ``base``."""
        self._check(items, base)
        events: list[Event] = []
        for block in tuple(self._blocks):
            self._grown(block, events)
        for item in items[self._position - base :]:
            if isinstance(item, BlockText):
                if self._after is None or item.sequence >= self._after:
                    self._blocks[item] = 0
                    self._grown(item, events)
            elif self._after is None or item.sequence > self._after:
                events.append(item)
        self._position = base + len(items)
        return events

    def _grown(self, block: BlockText, events: list[Event]) -> None:
        closed = block.closed  # asked first: what is closed does not grow any more
        delta = block.since(self._blocks[block])
        if delta is not None:
            events.append(delta)
            self._blocks[block] += len(_written(delta))
        if closed:
            del self._blocks[block]

    def _check(self, items: list[Item], base: int) -> None:
        if self._position < 0:
            self._position = base
        if self._position >= base:
            return
        first = next((item.sequence for item in items if isinstance(item, Event)), 0)
        if self._position > 0 or self._after is None or first > self._after + 1:
            raise SessionError(
                f"the events before number {first} are no longer kept, and this reader has not read them all; begin "
                "with the first that is kept, by subscribe(), and read on without waiting in between, or give the app "
                "a store, which keeps all"
            )
        self._position = base

    def rest(self) -> None:
        self._set = False
        self._event.clear()

    def wake(self) -> None:
        if self._set:
            return
        self._set = True
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            self._event.set()
        elif not self._loop.is_closed():
            with suppress(RuntimeError):  # closed just now
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()
