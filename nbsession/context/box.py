"""Boxes: runs of a body that a budget may leave out or shorten.

``Fit``, ``First``, ``Whole`` and ``Cut`` compile to them. They stand in a fragment's body
like what they hold, and are gone once the context is compiled. A ``Priority`` makes none: there may be
thousands, so it only ranks the items of the body that holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from nbsession.context.chunk import Chunk, FlowItem
from nbsession.context.part import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BoxKind: TypeAlias = Literal["fit", "first", "whole", "cut"]
Keep: TypeAlias = Literal["head", "tail", "both"]
Ranks: TypeAlias = tuple[float | None, ...]
"""The priority of each item of a body, ``None`` for what has none."""


class Box:
    """A run of a body under one rule.

    ``limit`` and ``reserve`` (tokens), the ``ranks`` of its body and the ``tools`` inside are a
    fit's, ``keep`` is a cut's. The ``body`` of a ``"first"`` is one ``"whole"`` box for each
    alternative. ``speaks`` says that a message is inside.
    """

    __slots__ = ("body", "keep", "kind", "limit", "path", "ranks", "reserve", "speaks", "tokens", "tools")

    def __init__(
        self,
        kind: BoxKind,
        path: str,
        body: tuple[BodyItem, ...],
        tokens: int,
        *,
        speaks: bool,
        ranks: Ranks = (),
        limit: int | None = None,
        reserve: int = 0,
        keep: Keep = "head",
        tools: Sequence[Any] = (),
    ) -> None:
        self.kind: BoxKind = kind
        self.path = path
        self.body = body
        self.tokens = tokens
        self.speaks = speaks
        self.ranks = ranks
        self.limit = limit
        self.reserve = reserve
        self.keep: Keep = keep
        self.tools = tools

    def holding(self, body: tuple[BodyItem, ...]) -> Box:
        """Return the same box around another body, of as many items."""
        tokens = sum([item.tokens for item in (body[:1] if self.kind == "first" else body)])
        return Box(
            self.kind,
            self.path,
            body,
            tokens,
            speaks=self.speaks,
            ranks=self.ranks,
            limit=self.limit,
            reserve=self.reserve,
            keep=self.keep,
            tools=self.tools,
        )

    def __repr__(self) -> str:
        return f"<Box {self.kind} {self.path} ≈{self.tokens} tokens>"


BodyItem: TypeAlias = Part | Chunk | Box
"""What the body of a fragment is made of."""


def is_message(item: BodyItem) -> bool:
    """Say whether something of a body is a message, or holds one."""
    if isinstance(item, Part):
        return item.kind == "message"
    return isinstance(item, Chunk) or item.speaks


def not_plain(body: Sequence[BodyItem], at: int = 0) -> list[int]:
    """Return the places, from ``at`` on, of what is no part outside the messages; made for thousands of those."""
    return [
        place
        for place, item in enumerate(body[at:] if at else body, at)
        if type(item) is not Part or item.kind == "message"
    ]


def unboxed(body: Sequence[BodyItem]) -> Iterator[FlowItem]:
    """Give what a body holds where nothing is left out; of alternatives the first."""
    stack = [iter(body)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif isinstance(item, Box):
            stack.append(iter(item.body[:1] if item.kind == "first" else item.body))
        else:
            yield item
