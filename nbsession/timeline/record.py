"""The append-only record of a session's entries.

Entries form a tree: each has a parent, and a movable *head* says which path
through the tree is the conversation now. Nothing is ever deleted; what a path
no longer shows stays in the record.

The path to the head is kept as immutable chunks, so that an append replaces
one chunk, and everything worked out for the others stays valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

from nbsession.content import Entry, ToolCall
from nbsession.context import Chunk
from nbsession.errors import SessionError

CHUNK = 256
"""Entries a chunk."""


class Record(Sequence[Entry]):
    """The timeline of a session: the entries on the path to the head, in order.

    As a sequence it is that path; ``all()`` gives every entry ever appended.
    """

    __slots__ = ("_all", "_calls", "_length", "chunks", "head", "version")

    def __init__(self) -> None:
        self._all: dict[str, Entry] = {}
        self._calls: set[str] | None = None
        self._length = 0
        self.chunks: tuple[Chunk, ...] = ()
        self.head: str | None = None
        self.version = 0

    def append(self, entry: Entry) -> None:
        """Add an entry whose parent is the head; it becomes the head."""
        if entry.parent != self.head:
            raise SessionError(f"entry {entry.id!r} follows {entry.parent!r}, but the head is {self.head!r}")
        self._all[entry.id] = entry
        if self._calls is not None:
            self._calls.update([block.id for block in entry.content if isinstance(block, ToolCall)])
        self.head = entry.id
        self._length += 1
        self.version += 1
        if self.chunks and len(self.chunks[-1].entries) < CHUNK:
            self.chunks = (*self.chunks[:-1], self.chunks[-1].append(entry))
        else:
            self.chunks = (*self.chunks, Chunk((entry,)))

    def restore(self, entries: Sequence[Entry], head: str | None) -> None:
        """Take over entries of any branch, parents first, and stand at ``head``."""
        for entry in entries:
            self._all[entry.id] = entry
        self._calls = self.head = None
        self.move(head)

    def move(self, head: str | None) -> None:
        """Stand at an entry (``None``: before the first); later entries stay in the record."""
        if head is not None and head not in self._all:
            raise SessionError(f"no entry {head!r} in this timeline")
        path = self.path(head)
        self.head = head
        self.version += 1
        self._length = len(path)
        old = self.chunks
        chunks: list[Chunk] = []
        for start in range(0, len(path), CHUNK):
            run = tuple(path[start : start + CHUNK])
            known = old[len(chunks)] if len(chunks) < len(old) else None
            chunks.append(known if known is not None and known.entries == run else Chunk(run))
        self.chunks = tuple(chunks)

    def path(self, head: str | None) -> list[Entry]:
        """Return the entries from the first to this one, wherever the head stands (``None``: before the first)."""
        path: list[Entry] = []
        while head is not None:
            entry = self._all[head]
            path.append(entry)
            head = entry.parent
        path.reverse()
        return path

    def has_call(self, call_id: str) -> bool:
        """Say whether a tool call of any branch has this id."""
        if self._calls is None:
            self._calls = {call.id for entry in self._all.values() for call in entry.tool_calls}
        return call_id in self._calls

    def since(self, entry_id: str | None) -> frozenset[str]:
        """Return the ids of the user's entries behind an entry of the path (``None``: of all of it)."""
        ids: list[str] = []
        at = self.head
        while at is not None and at != entry_id:
            entry = self._all[at]
            if entry.role == "user":
                ids.append(at)
            at = entry.parent
        return frozenset(ids)

    def unanswered(self, entry_id: str | None) -> bool:
        """Say whether an entry is on the path, and no answer of a model behind it."""
        at = self.head
        while at is not None and at != entry_id:
            if self._all[at].role == "assistant":
                return False
            at = self._all[at].parent
        return at is not None

    def all(self) -> tuple[Entry, ...]:
        """Return every entry of every branch, in the order they were appended."""
        return tuple(self._all.values())

    @property
    def by_id(self) -> Mapping[str, Entry]:
        """Every entry of every branch, by its id."""
        return self._all

    def get(self, entry_id: str) -> Entry | None:
        """Return the entry of that id from any branch, or ``None``."""
        return self._all.get(entry_id)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Entry]:
        for chunk in self.chunks:
            yield from chunk.entries

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | Sequence[Entry]:
        if isinstance(index, slice):
            return list(self)[index]
        position = index + self._length if index < 0 else index
        if not 0 <= position < self._length:
            raise IndexError(f"the timeline has {self._length} entries, asked for {index}")
        return self.chunks[position // CHUNK].entries[position % CHUNK]

    def __contains__(self, item: object) -> bool:
        return isinstance(item, Entry) and any(entry == item for entry in self)

    def __repr__(self) -> str:
        return f"<timeline of {self._length} entries, head {self.head}>"
