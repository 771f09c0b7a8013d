"""Rendering: run the bodies of dirty components and match what they return with what is mounted.

One work stack, no recursion: a chain of components may be deeper than Python's
own stack. Children are matched by slot first, then by key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.tree.boundary import failures_of, nearest_boundary
from nbsession.tree.effects import Effects
from nbsession.tree.element import FRAGMENT, Component, Element, Node
from nbsession.tree.equality import same_items, same_props
from nbsession.tree.fiber import (
    CLEAN,
    DEAD,
    DIRTY,
    VOLATILE,
    Cell,
    Fiber,
    commit,
    depth_of,
    segment_of,
    set_text,
)
from nbsession.tree.node import duplicate_keys, refused
from nbsession.tree.rendering import frames
from nbsession.tree.run import explain, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nbsession.tree.trace import Trace


class Tree:
    """A tree that renders: what the live ``Root`` and a preview have in common."""

    previewing = False

    def __init__(self, leaves: Iterable[type], environment: Any) -> None:
        self.leaves = tuple(leaves)
        self.environment = environment
        self.effects = Effects()
        self.kinds: dict[str, dict[Fiber, None]] = {}
        self.changes: dict[Cell, Fiber] | None = None
        self.check: Callable[[str, Any], object] | None = None
        self.restore: dict[str, Any] = {}
        self.trace: Trace | None = None
        self.types: set[Component] = set()
        self.redefined: dict[str, Component] = {}
        self.failed: dict[Fiber, Fiber] = {}
        self.removed: list[Fiber] = []
        self.left_out: frozenset[str] = frozenset()
        self._reached: list[Fiber] = []

    def admits(self, call: Callable[..., None], *arguments: Any) -> bool:
        """Say whether a change may be applied now; if not, the tree has taken care of it."""
        raise NotImplementedError

    def mark(self, fiber: Fiber) -> None:
        """Mark a fiber dirty."""
        raise NotImplementedError

    def enqueue(self, fiber: Fiber) -> None:
        """Queue a clean fiber for the next round."""
        raise NotImplementedError

    def note_change(self, cell: Cell, fiber: Fiber) -> None:
        """Remember that a cell's kept value was set; a tree that is thrown away need not."""

    def note(self, text: str) -> None:
        """Keep a note of something odd that is no error."""
        raise NotImplementedError

    def restored(self, fiber: Fiber, at: int, initial: Any, kind: str = "state") -> Any:
        """Return the kept value of a hook of that kind that mounts, or ``initial``."""
        raise NotImplementedError

    def release(self, fiber: Fiber, cells: Iterable[Cell], start: int) -> None:
        """Unmount cells that their mounted fiber has no use for any more."""
        raise NotImplementedError

    def owned(self, fiber: Fiber, parent: Fiber) -> Fiber:
        """Return the fiber to write to in place of ``fiber``, below ``parent``: itself, except in previews."""
        return fiber

    def reach(self, fibers: Iterable[Fiber]) -> None:
        """Let fibers render in this very round: something that they read has changed."""
        for fiber in tuple(fibers):
            if fiber.status == CLEAN:
                fiber.status = DIRTY
                self._reached.append(fiber)

    def sweep(self, batch: list[Fiber]) -> None:
        """Render the dirty fibers of a batch and all that their output touches, parents first.

        What an error leaves undone stays in ``batch``.
        """
        stack: list[Fiber] = []
        if len(batch) > 1:
            # Taken from the end: of equal depth, the first marked comes first.
            batch.reverse()
            batch.sort(key=depth_of, reverse=True)
        try:
            while batch:
                fiber = batch.pop()
                if fiber.status != DIRTY:
                    continue
                if fiber.type.__class__ is not Component and fiber.parent is not None:
                    # A marked host: what it stands for has changed.
                    fiber.invalidate()
                stack.append(fiber)
                self._work(stack)
                if self._reached:
                    batch += self._reached
                    self._reached.clear()
                    batch.sort(key=depth_of, reverse=True)
        except BaseException:
            batch += stack
            batch += self._reached
            self._reached.clear()
            raise

    def _work(self, stack: list[Fiber]) -> None:
        """Render until the stack is empty."""
        frame = frames.frame
        outer = frame.fiber
        fiber = stack[-1]
        nodes: Sequence[Node] | None
        try:
            while stack:
                fiber = stack.pop()
                if fiber.status != DIRTY:
                    continue
                fiber.status = CLEAN
                try:
                    kind = fiber.type
                    if kind.__class__ is Component:
                        node = run(fiber, frame)
                        if node.__class__ is list or node.__class__ is tuple:
                            nodes = node
                            if len(nodes) == 1:
                                node = nodes[0]
                        else:
                            nodes = (node,)
                        if node.__class__ is str and len(fiber.slots) < 2 and set_text(fiber, node):
                            nodes = None
                    else:
                        frame.fiber = None
                        nodes = kind.nodes(fiber)
                    if nodes is not None:
                        self._reconcile(fiber, nodes, stack)
                except Exception as error:  # noqa: BLE001 - told with its path, or for a boundary to show
                    self._fail(fiber, error, stack)
                else:
                    if self.failed and fiber in self.failed:
                        self._recover(fiber)
        except BaseException:
            if fiber.status == CLEAN:
                fiber.status = DIRTY
                stack.append(fiber)
            raise
        finally:
            frame.fiber = outer

    def _fail(self, fiber: Fiber, error: Exception, stack: list[Fiber]) -> None:
        """Hand an error to the nearest boundary, or raise it with the path."""
        boundary = nearest_boundary(fiber)
        if boundary is None:
            told = explain(fiber, error)
            if told is error:
                raise error
            raise told from error
        failures_of(boundary).errors[fiber] = error
        self.failed[fiber] = boundary
        boundary.status = DIRTY
        stack.append(boundary)

    def _recover(self, fiber: Fiber) -> None:
        """Show a boundary's children again, once none of them fails."""
        boundary = self.failed.pop(fiber)
        errors = failures_of(boundary).errors
        errors.pop(fiber, None)
        if not errors:
            self.reach([boundary])

    def _reconcile(self, fiber: Fiber, nodes: Sequence[Node], stack: list[Fiber]) -> None:
        """Match ``nodes`` with the fiber's slots; what is to be rendered below goes on the stack."""
        old = fiber.slots
        work: list[Fiber] = []
        if self.left_out:
            nodes = self._remaining(fiber, nodes)
        try:
            slots = self._match(fiber, old, nodes, work) if old else self._fill(fiber, nodes, work)
        except BaseException:
            self._abandon(fiber, work)
            raise
        if work:
            work.reverse()
            stack += work
        if slots is not None:
            commit(fiber, tuple(slots))

    def _remaining(self, fiber: Fiber, nodes: Sequence[Node]) -> list[Node]:
        """Return the nodes with a hole in the place of each that is left out: the others stay where they are."""
        topmost = fiber.parent is None
        lead = "" if topmost else f"{fiber.path}/"
        return [
            None
            if isinstance(node, Element) and lead + segment_of(node, at, topmost=topmost) in self.left_out
            else node
            for at, node in enumerate(nodes)
        ]

    def _fill(self, fiber: Fiber, nodes: Sequence[Node], work: list[Fiber]) -> list[Any]:
        """Mount children where there were none."""
        slots: list[Any] = []
        append = slots.append
        keyed = False
        for at, node in enumerate(nodes):
            kind = node.__class__
            if kind is Element:
                entry: Any = Fiber(node.type, node, fiber, at)
                if node.key is not None:
                    keyed = True
                if self.redefined:
                    self._modernize(entry)
                work.append(entry)
            elif kind is str:
                entry = node or None
            else:
                entry = self._other(node, None, fiber, at, work)
            append(entry)
        if keyed:
            duplicate_keys(fiber, slots, nodes)
        return slots

    # One loop on purpose: it runs for every child of every component that renders.
    def _match(  # noqa: C901 - see above
        self, fiber: Fiber, old: tuple[Any, ...], nodes: Sequence[Node], work: list[Fiber]
    ) -> list[Any] | None:
        """Match nodes with mounted children: by slot, then by key. ``None``: all stay in their slots."""
        slots: list[Any] = []
        append = slots.append
        size = len(old)
        changed = len(nodes) != size
        replaced = len(nodes) < size
        by_key: dict[str | None, Fiber] | None = None
        at = 0
        for node in nodes:
            kind = node.__class__
            before = old[at] if at < size else None
            if kind is Element:
                if before.__class__ is Fiber and before.key == node.key:
                    if before.element is node:
                        append(before)
                        at += 1
                        continue
                    match: Fiber | None = before
                elif node.key is not None:
                    if by_key is None:
                        by_key = {entry.key: entry for entry in old if entry.__class__ is Fiber}
                    match = by_key.get(node.key)
                else:
                    match = None
                if match is not None and (match.type is node.type or self._kin(match, node)):
                    entry: Any = match
                    element = match.element
                    if element is not node:
                        children = node.children
                        if (
                            # Mostly there are none on both sides.
                            (children is element.children and not children)
                            or same_items(element.children, children)
                        ) and same_props(element.props, node.props):
                            if match.root is self:
                                match.element = node
                        else:
                            entry = self._renew(match, node, fiber)
                            work.append(entry)
                    if entry.index != at:
                        entry = self._move(entry, fiber, at)
                else:
                    entry = Fiber(node.type, node, fiber, at)
                    if self.redefined:
                        self._modernize(entry)
                    work.append(entry)
            elif kind is str:
                entry = before if before.__class__ is str and before == node else node or None
            else:
                entry = self._other(node, before, fiber, at, work)
            if entry is not before:
                changed = True
                if type(before) is Fiber:
                    replaced = True
            append(entry)
            at += 1
        if by_key is not None:
            duplicate_keys(fiber, slots, nodes)
        if replaced:
            self._drop(old, slots)
        return slots if changed else None

    def _modernize(self, fiber: Fiber) -> None:
        """Let a new fiber have its component's newest definition."""
        if isinstance(fiber.type, Component) and fiber.type.identity is not None:
            fiber.type = self.redefined.get(fiber.type.identity, fiber.type)

    def _renew(self, fiber: Fiber, element: Element, parent: Fiber) -> Fiber:
        """Give a mounted fiber another element; return the fiber, which is now dirty."""
        if fiber.root is not self:
            fiber = self.owned(fiber, parent)
        if type(fiber.type) is not Component:
            fiber.type.renewed(fiber, element)
        elif self.trace is not None:
            self.trace.elements.setdefault(fiber, fiber.element)
        fiber.element = element
        fiber.status = DIRTY
        return fiber

    def _kin(self, fiber: Fiber, element: Element) -> bool:
        """Say whether an element's component is the fiber's, defined anew; if so, swap it in place."""
        old, new = fiber.type, element.type
        if not isinstance(old, Component) or not isinstance(new, Component):
            return False
        if new.identity is None or old.identity != new.identity:
            return False
        latest = self.redefined.get(new.identity, new)
        if latest is not old:
            self.swap(fiber, latest)
        return True

    def swap(self, fiber: Fiber, latest: Component) -> None:
        """Give a fiber the newer definition of its component."""
        raise NotImplementedError

    def _move(self, fiber: Fiber, parent: Fiber, at: int) -> Fiber:
        fiber.index = at
        return fiber

    def _other(self, node: Node, before: Any, parent: Fiber, at: int, work: list[Fiber]) -> Any:
        """Return the slot's entry for a node that is neither element nor text."""
        if node is None or node is True or node is False:
            return None
        if isinstance(node, self.leaves):
            return node
        if isinstance(node, (list, tuple)):
            return self._fragment(node, before, parent, at, work)
        if isinstance(node, (str, int, float)):
            text = str(node)
            return (before if before.__class__ is str and before == text else text) or None
        raise refused(node, parent)

    def _fragment(
        self, nodes: Sequence[Node], before: Any, parent: Fiber, at: int, work: list[Fiber]
    ) -> Fiber:
        """Return the fiber of a nested list, a slot of its own in its parent."""
        if parent.type is FRAGMENT:
            parent.cursor = VOLATILE
        if before.__class__ is Fiber and before.type is FRAGMENT:
            # A tuple cannot have changed, unless there are lists in it.
            if before.element.children is nodes and before.cursor != VOLATILE:
                return before
            fiber = self.owned(before, parent)
            fiber.element = Element(FRAGMENT, tuple(nodes), {}, None)
            fiber.status = DIRTY
        else:
            fiber = Fiber(FRAGMENT, Element(FRAGMENT, tuple(nodes), {}, None), parent, at)
        work.append(fiber)
        return fiber

    def _drop(self, old: Iterable[Any], slots: Iterable[Any]) -> None:
        """Unmount the old fibers that have no slot any more."""
        kept = set(map(id, slots))
        for entry in old:
            if entry.__class__ is Fiber and id(entry) not in kept and entry.root is self:
                self.detach(entry)

    def _abandon(self, fiber: Fiber, work: Iterable[Fiber]) -> None:
        """Clear up after children that could not be matched: new ones go, old ones render later."""
        old = {id(entry) for entry in fiber.slots}
        for child in work:
            if id(child) in old:
                self._reached.append(child)
            else:
                child.status = DEAD

    def detach(self, fiber: Fiber) -> None:
        """Unmount a subtree; its clean-ups, children first, wait for the end of the round."""
        order: list[Fiber] = []
        stack = [fiber]
        while stack:
            gone = stack.pop()
            gone.status = DEAD
            if gone.hooks is not None:
                order.append(gone)
            if self.failed and gone in self.failed:
                self._recover(gone)
            stack.extend(child for child in gone.slots if child.__class__ is Fiber and child.root is self)
        order.reverse()
        self.removed += order
