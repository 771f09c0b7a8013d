"""Boxes: runs of a body that a budget may leave out or shorten.

``Fit``, ``Priority``, ``First``, ``Whole`` and ``Cut`` compile to them. They stand
in a fragment's body like what they hold, and are gone once the context is compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from nbsession.context.chunk import Chunk, FlowItem
from nbsession.context.part import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BoxKind: TypeAlias = Literal["fit", "priority", "first", "whole", "cut"]
Keep: TypeAlias = Literal["head", "tail", "both"]


class Box:
    """A run of a body under one rule.

    ``number`` is what a priority adds, ``limit`` and ``reserve`` are a fit's (tokens), ``keep`` is
    a cut's; ``tools`` are the tools inside a fit. The ``body`` of a ``"first"`` is one
    ``"whole"`` box for each alternative. ``speaks`` says that a message is inside.
    """

    __slots__ = ("body", "keep", "kind", "limit", "number", "path", "reserve", "speaks", "tokens", "tools")

    def __init__(
        self,
        kind: BoxKind,
        path: str,
        body: tuple[BodyItem, ...],
        tokens: int,
        *,
        speaks: bool,
        number: float = 0,
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
        self.number = number
        self.limit = limit
        self.reserve = reserve
        self.keep: Keep = keep
        self.tools = tools

    def __repr__(self) -> str:
        return f"<Box {self.kind} {self.path} ≈{self.tokens} tokens>"


BodyItem: TypeAlias = Part | Chunk | Box
"""What the body of a fragment is made of."""


def is_message(item: BodyItem) -> bool:
    """Say whether something of a body is a message, or holds one."""
    if isinstance(item, Part):
        return item.kind == "message"
    return isinstance(item, Chunk) or item.speaks


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
