"""Events as they are kept: readable late, by many, at their own pace.

A log never makes its writer wait. Deltas are kept as the text of their block, so
a reader that is late, or slow, gets one joined delta where others got many.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from nbsession.events import ContentBlockStop, Event, InputJsonDelta, TextDelta

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class BlockText:
    """The growing text of one content block."""

    __slots__ = ("closed", "index", "json", "length", "pieces", "sequence")

    def __init__(self, index: int, json: bool, sequence: int) -> None:
        self.index = index
        self.json = json
        self.sequence = sequence
        self.pieces: list[str] = []
        self.length = 0
        self.closed = False

    def since(self, offset: int) -> Event | None:
        """Return what was written after ``offset`` characters, as one delta."""
        if offset >= self.length:
            return None
        if len(self.pieces) > 1:
            self.pieces[:] = ["".join(self.pieces)]
        text = self.pieces[0][offset:]
        if self.json:
            return InputJsonDelta(self.index, text, offset, sequence=self.sequence)
        return TextDelta(self.index, text, offset, sequence=self.sequence)


Item: TypeAlias = Event | BlockText


class EventLog:
    """An append-only log of events with any number of readers.

    ``limit`` bounds how many are kept; the oldest go first. Deltas take the
    sequence number of the durable event before them.
    """

    __slots__ = ("_base", "_closed", "_items", "_limit", "_open", "_readers")

    def __init__(self, limit: int | None = None) -> None:
        self._items: list[Item] = []
        self._base = 0
        self._limit = limit
        self._open: dict[int, BlockText] = {}
        self._closed = False
        self._readers: set[_Reader] = set()

    def append(self, event: Event, share: BlockText | None = None) -> BlockText | None:
        """Keep an event; for a delta return the block's text, which another log may share."""
        block: BlockText | None = None
        if isinstance(event, (TextDelta, InputJsonDelta)):
            block = self._delta(event, share)
        else:
            if isinstance(event, ContentBlockStop):
                finished = self._open.pop(event.index, None)
                if finished is not None:
                    finished.closed = True
            self._items.append(event)
        if self._limit is not None and len(self._items) > self._limit:
            dropped = len(self._items) - self._limit
            del self._items[:dropped]
            self._base += dropped
        for reader in tuple(self._readers):
            reader.wake()
        return block

    def _delta(self, event: TextDelta | InputJsonDelta, share: BlockText | None) -> BlockText:
        block = self._open.get(event.index)
        if share is not None:
            if block is not share:
                self._open[event.index] = share
                self._items.append(share)
            return share
        if block is None:
            block = BlockText(event.index, isinstance(event, InputJsonDelta), event.sequence)
            self._open[event.index] = block
            self._items.append(block)
        piece = event.text if isinstance(event, TextDelta) else event.partial_json
        event.offset = block.length
        block.pieces.append(piece)
        block.length += len(piece)
        return block

    def end_blocks(self) -> None:
        """Forget open blocks, so that the next message's deltas begin blocks of their own."""
        for block in self._open.values():
            block.closed = True
        self._open.clear()

    def close(self) -> None:
        """Say that nothing more will come; readers end when they have read all."""
        self._closed = True
        for reader in tuple(self._readers):
            reader.wake()

    @property
    def first(self) -> int | None:
        """The sequence number of the first durable event that is kept, ``None`` where there is none."""
        return next((item.sequence for item in self._items if isinstance(item, Event)), None)

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    async def read(self, after: int | None = None) -> AsyncIterator[Event]:
        """Give the events, from the first kept or after a sequence number, then those to come.

        May be used from any event loop.
        """
        reader = _Reader()
        self._readers.add(reader)
        position = self._base
        open_blocks: dict[BlockText, int] = {}
        try:
            while True:
                reader.rest()
                closed = self._closed
                position = max(position, self._base)
                for block, offset in tuple(open_blocks.items()):
                    delta = block.since(offset)
                    if delta is not None:
                        open_blocks[block] = block.length
                        yield delta
                    elif block.closed:
                        del open_blocks[block]
                while position - self._base < len(self._items):
                    item = self._items[max(position - self._base, 0)]
                    position = max(position, self._base) + 1
                    if isinstance(item, BlockText):
                        if after is None or item.sequence >= after:
                            delta = item.since(0)
                            open_blocks[item] = item.length
                            if delta is not None:
                                yield delta
                        continue
                    if isinstance(item, ContentBlockStop):
                        for block in [b for b in open_blocks if b.index == item.index and b.closed]:
                            delta = block.since(open_blocks.pop(block))
                            if delta is not None:
                                yield delta
                    if after is None or item.sequence > after:
                        yield item
                if closed and position - self._base >= len(self._items):
                    return
                await reader.wait()
        finally:
            self._readers.discard(reader)


class _Reader:
    """Wakes one reader on its own loop, from any thread."""

    __slots__ = ("_event", "_loop", "_set")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._set = False

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
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()
