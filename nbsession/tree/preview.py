"""A preview: what would be rendered in another environment, over copies of what is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from nbsession.errors import RenderError
from nbsession.tree.boundary import failures_of
from nbsession.tree.element import TOP, Component, Element, Node
from nbsession.tree.fiber import DEAD, Cell, Fiber, depth_of
from nbsession.tree.node import describe
from nbsession.tree.reconcile import Tree

More = Callable[[list[Fiber]], Iterable[Fiber]]
ROUNDS = 25


class Live(Protocol):
    """The live tree beside which a preview stands."""

    leaves: tuple[type, ...]
    restore: dict[str, Any]
    redefined: dict[str, Component]
    failed: dict[Fiber, Fiber]
    left_out: frozenset[str]
    fiber: Fiber

    def kept(self, fiber: Fiber, at: int, initial: Any, kind: str = "state") -> Any:
        """Return the kept value of a hook, or ``initial``."""


class Preview(Tree):
    """A throw-away tree beside a live one.

    A fiber is copied, with its cells, before it is written to, and so are those
    above it; all others are the live tree's own.
    """

    previewing = True

    def __init__(self, live: Live, environment: Any) -> None:
        super().__init__(live.leaves, environment)
        self.restore = live.restore
        self.redefined = live.redefined
        self.left_out = live.left_out
        self._live = live
        self._copies: dict[Fiber, Fiber] = {}
        self._dropped: list[Fiber] = []

    def render(
        self, stale: Iterable[Fiber], node: Node, more: More | None, without: Iterable[Fiber] = ()
    ) -> Fiber:
        """Render and return the preview's root fiber; ``node``, unless ``...``, replaces the root's.

        The fibers in ``without`` are left out, with all below them.

        ``more`` gets the fibers that each round left out and returns those to render again.
        """
        top = self._live.fiber.copy(self, None)
        self._copies[self._live.fiber] = top
        for fiber in without:
            self._leave_out(fiber)
        self.reach(stale)
        if node is not ...:
            top.element = Element(TOP, (node,), {}, None)
            self.reach([top])
        again: list[Fiber] = []
        for _ in range(ROUNDS):
            batch = list(self._reached)
            self._reached.clear()
            self.sweep(batch)
            again = list(more(self._gone())) if more is not None else []
            if not again:
                return top
            self.reach(again)
        raise RenderError(
            f"the preview did not settle in {ROUNDS} rounds: state is set again and again by {describe(again)}"
        )

    def _leave_out(self, fiber: Fiber) -> None:
        """Leave a hole where a live fiber stands, and let it stay one when what is above renders again."""
        assert fiber.parent is not None
        self.left_out |= {fiber.path}
        self._copy_paths([fiber.parent])
        parent = self._copies[fiber.parent]
        parent.slots = tuple([None if entry is fiber else entry for entry in parent.slots])
        parent.children = tuple([entry for entry in parent.children if entry is not fiber])
        parent.invalidate()
        self._dropped.append(fiber)

    def reach(self, fibers: Iterable[Fiber]) -> None:
        """Let fibers, or their copies, render in this preview."""
        wanted = [fiber for fiber in fibers if fiber.status != DEAD]
        self._copy_paths(fiber for fiber in wanted if fiber.root is not self)
        super().reach(fiber if fiber.root is self else self._copies[fiber] for fiber in wanted)

    def _copy_paths(self, fibers: Iterable[Fiber]) -> None:
        """Copy live fibers and those above them, and put the copies in their parents' slots."""
        missing: dict[Fiber, None] = {}
        for fiber in fibers:
            above: Fiber | None = fiber
            while above is not None and above not in self._copies and above not in missing:
                missing[above] = None
                above = above.parent
        parents: dict[Fiber, None] = {}
        for fiber in sorted(missing, key=depth_of):
            assert fiber.parent is not None
            parent = self._copies[fiber.parent]
            self._copy(fiber, parent)
            parents[parent] = None
        for parent in parents:
            whole = parent.slots is parent.children
            parent.slots = self._replaced(parent.slots)
            parent.children = parent.slots if whole else self._replaced(parent.children)

    def _drop(self, old: Iterable[Any], slots: Iterable[Any]) -> None:
        # Fibers only: a copy's original left the slots, but not the tree.
        old = [entry for entry in old if entry.__class__ is Fiber and entry not in self._copies]
        kept = set(map(id, slots))
        self._dropped += [entry for entry in old if id(entry) not in kept]
        super()._drop(old, slots)

    def _gone(self) -> list[Fiber]:
        """Return the fibers that this tree has no place for since the last call, with all below them."""
        gone: list[Fiber] = []
        stack, self._dropped = self._dropped, []
        while stack:
            fiber = stack.pop()
            gone.append(fiber)
            stack.extend(child for child in fiber.slots if child.__class__ is Fiber)
        return gone

    def _replaced(self, entries: tuple[Any, ...]) -> tuple[Any, ...]:
        copies = self._copies
        return tuple([copies.get(entry, entry) if entry.__class__ is Fiber else entry for entry in entries])

    def _copy(self, fiber: Fiber, parent: Fiber) -> Fiber:
        copy = self._copies[fiber] = fiber.copy(self, parent)
        boundary = self._live.failed.get(fiber)
        if boundary is not None:
            owner = self._copies[boundary]
            errors = failures_of(owner).errors
            errors[copy] = errors.pop(fiber)
            self.failed[copy] = owner
        return copy

    def owned(self, fiber: Fiber, parent: Fiber) -> Fiber:
        return fiber if fiber.root is self else self._copy(fiber, parent)

    def _move(self, fiber: Fiber, parent: Fiber, at: int) -> Fiber:
        fiber = self.owned(fiber, parent)
        fiber.index = at
        return fiber

    def swap(self, fiber: Fiber, latest: Component) -> None:
        """Nothing: a new definition is for the live tree's next flush."""

    def admits(self, call: Callable[..., None], *arguments: Any) -> bool:
        return False

    def mark(self, fiber: Fiber) -> None:
        """Nothing: what renders again, ``more`` says."""

    def enqueue(self, fiber: Fiber) -> None:
        """Nothing: what renders again, ``more`` says."""

    def note(self, text: str) -> None:
        """Nothing: the live tree says it when it happens there."""

    def restored(self, fiber: Fiber, at: int, initial: Any, kind: str = "state") -> Any:
        return self._live.kept(fiber, at, initial, kind)

    def release(self, fiber: Fiber, cells: Iterable[Cell], start: int) -> None:
        """Nothing: copies of cells hold nothing."""
