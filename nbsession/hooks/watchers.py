"""What reads something outside the tree, to be marked when that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbsession.tree import Fiber


class Watchers:
    """The fibers that read something outside the tree, to be marked when it changes."""

    __slots__ = ("_fibers", "marked")

    def __init__(self) -> None:
        self._fibers: dict[Fiber, None] = {}
        self.marked = False

    def add(self, fiber: Fiber) -> None:
        """Mark ``fiber`` from now on."""
        self._fibers[fiber] = None

    def discard(self, fiber: Fiber) -> None:
        """Mark it no longer."""
        self._fibers.pop(fiber, None)

    def mark(self) -> None:
        """Mark every fiber that watches, and remember that."""
        self.marked = True
        for fiber in tuple(self._fibers):
            fiber.mark()

    def __iter__(self) -> Iterator[Fiber]:
        return iter(tuple(self._fibers))
