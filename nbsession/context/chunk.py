"""A run of neighbouring entries, and what they compile to: the piece that contexts share.

The timeline keeps the path to its head as chunks and replaces only the last one,
so that everything worked out for the others stays valid.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING, TypeAlias

from nbsession.content import Entry, Message, Text
from nbsession.context.messages import go_on, merged
from nbsession.context.part import Part, entry_part, kinds_of, sendable, tokens_of
from nbsession.usage import MESSAGE_OVERHEAD, estimate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Chunk:
    """A run of neighbouring entries of one path, and what they compile to.

    ``tokens`` is the estimated sum of the entries as they are sent.
    """

    __slots__ = ("_digests", "_holds", "_messages", "_parts", "_tail", "_turns", "entries", "path", "tokens")

    def __init__(
        self,
        entries: tuple[Entry, ...],
        path: str = "timeline",
        tokens: int | None = None,
    ) -> None:
        self.entries = entries
        self.path = path
        self.tokens = sum([entry_tokens(entry) for entry in entries]) if tokens is None else tokens
        self._holds: frozenset[str] | None = None
        self._parts: tuple[Part, ...] | None = None
        self._digests: bytes | None = None
        self._messages: tuple[Message, ...] | None = None
        self._tail: Chunk | None = None
        self._turns: tuple[int, ...] | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """One part an entry, in order."""
        if self._parts is None:
            self._parts = tuple([entry_part(entry, self.path) for entry in self.entries])
        return self._parts

    def digests(self) -> bytes:
        """The parts' digests, joined."""
        if self._digests is None:
            self._digests = "".join([part.digest for part in self.parts]).encode()
        return self._digests

    @property
    def messages(self) -> tuple[Message, ...]:
        """What a model reads of it, as if nothing stood before it or after."""
        if self._messages is None:
            self._messages = tuple(merged(self.parts))
        return self._messages

    @property
    def turns(self) -> tuple[int, ...]:
        """The places of the user's messages in it."""
        if self._turns is None:
            self._turns = tuple([place for place, entry in enumerate(self.entries) if entry.role == "user"])
        return self._turns

    def kept(self, stays: Sequence[int]) -> Sequence[FlowItem]:
        """Return those parts that stay (1, of 0 and 1): as one piece if they are the whole chunk, or the end of it."""
        count = sum(stays)
        if not count or count == len(stays):
            return (self,) if count else ()
        if any(stays[:-count]):
            return list(compress(self.parts, stays))
        if self._tail is None or self._tail.entries != self.entries[-count:]:
            self._tail = Chunk(self.entries[-count:], self.path)
            self._tail._parts = self.parts[-count:]
        return (self._tail,)

    def replaced(self, parts: Sequence[Part]) -> Chunk:
        """Return a chunk that sends other content under the same entries' ids: that of ``parts``, one an entry."""
        entries = [
            entry if part.blocks is entry.content else replace(entry, content=part.blocks)
            for entry, part in zip(self.entries, parts, strict=True)
        ]
        chunk = Chunk(tuple(entries), self.path)
        chunk._parts = tuple(parts)
        return chunk

    @property
    def holds(self) -> frozenset[str]:
        """The kinds of content in it that not every model takes; see ``context.kinds_of``."""
        if self._holds is None:
            self._holds = kinds_of(block for entry in self.entries for block in entry.content)
        return self._holds

    def append(self, entry: Entry) -> Chunk:
        """Return a chunk with one more entry, keeping all that is known of the others."""
        part = entry_part(entry, self.path) if self._parts is not None else None
        tokens = entry_tokens(entry) if part is None else part.tokens
        chunk = Chunk((*self.entries, entry), self.path, self.tokens + tokens)
        if self._holds is not None:
            kinds = kinds_of(entry.content)
            chunk._holds = self._holds if kinds <= self._holds else self._holds | kinds
        if part is not None and self._parts is not None:
            chunk._parts = (*self._parts, part)
            if self._digests is not None:
                chunk._digests = self._digests + part.digest.encode()
            if self._messages is not None:
                messages = list(self._messages)
                go_on(messages, merged([part]))
                chunk._messages = tuple(messages)
        return chunk


def entry_tokens(entry: Entry) -> int:
    """Estimate what an entry costs when it is sent."""
    if len(entry.content) == 1:
        # Most are one text, and a session that is loaded asks for each of them.
        block = entry.content[0]
        if isinstance(block, Text) and block.text and not block.text.isspace():
            return MESSAGE_OVERHEAD + estimate(block.text)
    return tokens_of(sendable(entry.content))


FlowItem: TypeAlias = Part | Chunk
"""What the flow of a context is made of."""


def flatten(flow: Iterable[FlowItem]) -> Iterator[Part]:
    """Give the parts of a flow, those of chunks one by one."""
    for item in flow:
        if isinstance(item, Part):
            yield item
        else:
            yield from item.parts
