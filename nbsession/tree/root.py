"""``Root``: a mounted tree, its queue of dirty fibers, its effects and its kept state."""

from __future__ import annotations

import sys
from collections import deque
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

from nbsession.errors import RenderError
from nbsession.tree.effects import Effect
from nbsession.tree.element import TOP, Component, Element, Node
from nbsession.tree.fiber import CLEAN, DEAD, DIRTY, REDEFINED, Cell, Fiber, post_order
from nbsession.tree.node import describe
from nbsession.tree.preview import More, Preview
from nbsession.tree.reconcile import Tree
from nbsession.tree.rendering import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

ROUNDS = 25
NOTES = 100


class _Gone:
    """The type of ``GONE``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "GONE"


GONE = _Gone()
"""What ``drain_changes`` gives as the value of an address whose hook was unmounted."""


def _as_kept(raw: Any, _initial: Any) -> Any:
    return raw


def _takes_all(_address: str, _kind: str, _initial: type) -> None:
    """Let every kept value mount anywhere."""


class Root(Tree):
    """A tree of components, mounted at the first ``flush``.

    ``leaves`` are the types of opaque values that may stand in the tree and are
    compared by identity. ``environment`` is for hooks defined elsewhere. With an
    ``owner`` (a thread's ident) changes from other threads are handed over by
    ``carry(fn)``, in order; without ``carry`` they wait for the next flush.
    ``restore`` maps addresses to kept values, which ``revive(raw, initial)`` makes
    the state of hooks that mount there; ``fits(address, kind, initial's type)`` raises
    a ``ValueError`` where that is no place for it. ``check(address, value)`` raises for a value
    that cannot be kept, where it is set. ``on_dirty`` is called when the tree, at
    rest, becomes dirty, ``on_change`` when kept state is set for the first time since
    ``drain_changes``, other than while rendering.
    """

    def __init__(
        self,
        node: Node,
        *,
        leaves: Iterable[type] = (),
        environment: Any = None,
        carry: Callable[[Callable[[], None]], object] | None = None,
        restore: Mapping[str, Any] | None = None,
        revive: Callable[[Any, Any], Any] | None = None,
        fits: Callable[[str, str, type], object] | None = None,
        check: Callable[[str, Any], object] | None = None,
        on_dirty: Callable[[], object] | None = None,
        on_change: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(leaves, environment)
        self.owner: int | None = None
        self.notes: list[str] = []
        self.restore = dict(restore or {})
        self.check = check
        self.fiber = Fiber.top(Element(TOP, (node,), {}, None), self)
        self._carry = carry
        self._revive = revive or _as_kept
        self._fits = fits or _takes_all
        self.drained: dict[str, Cell] = {}
        self._on_dirty = on_dirty
        self._on_change = on_change
        self._queue: list[Fiber] = [self.fiber]
        self._inbox: deque[Callable[[], None]] = deque()
        self._taken: set[str] = set()
        self._gone: list[str] = []
        self._flushing = False
        self._previewing = False
        self._unmounted = False

    @property
    def dirty(self) -> bool:
        """Whether something waits to be rendered."""
        return bool(self._queue or self._inbox)

    def flush(self) -> None:
        """Render until nothing is dirty, then run effects, and again if those changed something.

        The first call mounts the tree. After 25 rounds a ``RenderError`` names the
        components that keep changing. A component that raises, with no
        ``ErrorBoundary`` above it, is a ``RenderError`` with its path; it stays
        dirty, what it rendered before stays, and the next flush tries again.
        """
        self._settle(with_effects=True)

    def render(self) -> None:
        """Render until nothing is dirty; effects wait for the next ``flush``."""
        self._settle(with_effects=False)

    def update(self, node: Node) -> None:
        """Replace the root's node; rendered at the next flush."""
        self.fiber.element = Element(TOP, (node,), {}, None)
        self.mark(self.fiber)

    def unmount(self) -> None:
        """Take the tree down: effects' clean-ups and the cells' ``unmount``, children first.

        Kept state does not count as gone. An error in a clean-up is raised once all
        have run.
        """
        if self._unmounted:
            return
        self._finish_removed()
        self.detach(self.fiber)
        self._unmounted = True
        self.effects.clear()
        self._queue.clear()
        self._reached.clear()
        self._finish_removed()
        self.effects.run()
        self.effects.raise_first()

    def refresh(self) -> None:
        """Look whether mounted components were defined anew in their modules, and swap those that were.

        They are marked dirty and render with the new function; their state stays
        where the order and kinds of hooks fit, else it starts anew and ``notes`` says so.
        """
        newer = {old: new for old in self.types if (new := _defined_now(old)) is not old}
        if not newer:
            return
        for old, new in newer.items():
            self.types.discard(old)
            self.types.add(new)
            if new.identity is not None:
                self.redefined[new.identity] = new
        for fiber in self._walk():
            kind = fiber.type
            if isinstance(kind, Component) and kind in newer:
                self._define(fiber, newer[kind])
                self.mark(fiber)

    def swap(self, fiber: Fiber, latest: Component) -> None:
        self._define(fiber, latest)
        self.reach([fiber])

    def _define(self, fiber: Fiber, latest: Component) -> None:
        fiber.type = latest
        _forget_definition(fiber)
        if self.trace is not None:
            self.trace.redefined[fiber] = None

    def preview(
        self,
        environment: Any,
        stale: Iterable[Fiber] = (),
        node: Node = ...,
        *,
        more: More | None = None,
        without: Iterable[Fiber] = (),
    ) -> Fiber:
        """Render ``stale`` fibers in another environment, and leave this tree exactly as it is.

        Returns the root fiber of a tree to be thrown away, which shares the fibers
        that are not touched. ``node`` replaces the root's node in it; the fibers in
        ``without``, none of them below another, are left out of it. ``more`` is
        called when it is rendered, with the fibers (of either tree) that have no place
        in it any more; what it returns renders again, until it returns nothing.
        Effects are not run, setters do nothing. Raises ``RenderError`` where a component does,
        and where this tree is dirty.
        """
        if self.dirty or self._flushing:
            raise RenderError("the tree has changes that are not rendered yet; call flush() before preview()")
        self._previewing = True
        try:
            return Preview(self, environment).render(stale, node, more, without)
        finally:
            self._previewing = False

    def cells(self, kind: str) -> list[Any]:
        """Return the mounted cells of a kind that ``use_cell`` made, children first, siblings in tree order.

        Those below an ``ErrorBoundary`` that shows its fallback are left out.
        """
        fibers = self.kinds.get(kind)
        if not fibers:
            return []
        return [cell for fiber in post_order(fibers) for cell in fiber.hooks or () if cell.kind == kind]

    def state(self) -> dict[str, Any]:
        """Return the kept state: the values of ``use_state`` and ``use_reducer`` by address, ``path#hook``."""
        return {address: cell.value for address, cell in self._keeping().items()}

    def _keeping(self) -> dict[str, Any]:
        """Return the cells that are kept, by address."""
        kept: dict[str, Any] = {}
        stack = [(self.fiber, "")]
        while stack:
            fiber, path = stack.pop()
            for at, cell in enumerate(fiber.hooks or ()):
                if cell.persist:
                    kept[f"{path}#{at}"] = cell
            below = path + "/" if path else ""
            fibers = [child for child in fiber.slots if child.__class__ is Fiber]
            stack.extend((child, below + child.segment) for child in reversed(fibers))
        return kept

    def drain_changes(self) -> list[tuple[str, Any]]:
        """Return what changed in the kept state since the last call: addresses with values, or ``GONE``.

        The first call gives all of it. Later ones cost as much as the changes. ``drained``
        has the cells of the values.
        """
        if self.changes is None:
            self.changes = {}
            self.drained = self._keeping()
            gone = [(address, GONE) for address in self._taken if address not in self.drained]
            self._taken.clear()
            return [*gone, *((address, cell.value) for address, cell in self.drained.items())]
        self.drained = {}
        if not self.changes and not self._gone:
            return []
        changes, self.changes = self.changes, {}
        drained: dict[str, Any] = dict.fromkeys(self._gone, GONE)
        self._gone.clear()
        alive: dict[str, Any] = {}
        for cell, fiber in changes.items():
            hooks = fiber.hooks or []
            if cell in hooks:
                address = f"{fiber.path}#{hooks.index(cell)}"
                if fiber.status == DEAD and not self._unmounted:
                    drained[address] = GONE
                else:
                    alive[address] = cell.value
                    self.drained[address] = cell
        # Another component may have mounted where one is gone.
        drained.update(alive)
        return list(drained.items())

    def note_change(self, cell: Cell, fiber: Fiber) -> None:
        """Remember that a cell's kept value was set."""
        if self.changes is None:
            return
        first = not self.changes
        self.changes[cell] = fiber
        if first and self._on_change is not None and not self._flushing:
            self._on_change()

    @property
    def unrestored(self) -> list[str]:
        """Addresses in ``restore`` whose hook has not mounted so far."""
        return list(self.restore)

    def admits(self, call: Callable[..., None], *arguments: Any) -> bool:
        """Say whether a change may be applied now.

        If not, it is handed over to the thread that owns the tree, or dropped: a
        preview's bodies may change nothing here.
        """
        if self.owner is not None and self.owner != get_ident():
            self._inbox.append(partial(call, *arguments))
            if self._carry is not None:
                self._carry(self.admit)
            return False
        if self._previewing:
            rendering = frames.frame.fiber
            return rendering is None or not rendering.previewing
        if self._inbox:
            self.admit()
        return True

    def admit(self) -> None:
        """Apply the changes that other threads have handed over, in order."""
        while self._inbox:
            self._inbox.popleft()()

    def mark(self, fiber: Fiber) -> None:
        """Mark a fiber dirty; from another thread than the owner's it is handed over."""
        if self.admits(self._mark, fiber):
            self._mark(fiber)

    def _mark(self, fiber: Fiber) -> None:
        if fiber.status == CLEAN:
            self.enqueue(fiber)

    def enqueue(self, fiber: Fiber) -> None:
        """Queue a clean fiber for the next round."""
        fiber.status = DIRTY
        self._queue.append(fiber)
        if self._on_dirty is not None and len(self._queue) == 1 and not self._flushing:
            self._on_dirty()

    def note(self, text: str) -> None:
        """Add to ``notes``, once; the oldest of more than 100 go."""
        if text not in self.notes:
            self.notes.append(text)
            del self.notes[:-NOTES]

    def restored(self, fiber: Fiber, at: int, initial: Any, kind: str = "state") -> Any:
        """Return the value that ``restore`` has for a hook that mounts, or ``initial``.

        A value that does not fit (``fits`` or ``revive`` raises a ``ValueError``) is let go with a note.
        """
        address = f"{fiber.path}#{at}"
        if address not in self.restore:
            return initial
        value = self.kept(fiber, at, initial, kind)
        del self.restore[address]
        self._taken.add(address)
        return value

    def kept(self, fiber: Fiber, at: int, initial: Any, kind: str = "state") -> Any:
        """Return the same as ``restored``, and leave it for the hook that mounts in earnest."""
        address = f"{fiber.path}#{at}"
        if address not in self.restore:
            return initial
        kept = self.restore[address]
        try:
            self._fits(address, kind, initial.__class__)
            return self._revive(kept, initial)
        except ValueError as error:
            reason = " ".join(str(error).split())
            self.note(
                f"kept state at {address} does not fit its hook any more and starts anew: it was {kept!r}; {reason}"
            )
            return initial

    def release(self, fiber: Fiber, cells: Iterable[Cell], start: int) -> None:
        """Unmount cells, the first at position ``start``, that their mounted fiber has no use for any more."""
        for at, cell in enumerate(cells, start):
            if self.changes is not None and cell.persist:
                self._gone.append(f"{fiber.path}#{at}")
            self._let_go(fiber, cell)

    def _settle(self, *, with_effects: bool) -> None:
        if self._flushing:
            raise RenderError(
                "flush() was called while this very tree renders or runs effects; set state instead, it is rendered next"
            )
        if self._unmounted:
            return
        self._flushing = True
        try:
            for _ in range(ROUNDS):
                if self._inbox:
                    self.admit()
                if self._queue:
                    self._render_queue()
                if with_effects and self.effects:
                    self.effects.run()
                if self.effects.errors:
                    self.effects.raise_first()
                if not self._queue and not self._inbox:
                    return
        finally:
            self._flushing = False
        raise RenderError(
            f"the tree did not settle in {ROUNDS} rounds: state is set again and again by {describe(self._queue)}; "
            "set it in a tool or an effect and not while rendering, only when it differs, and give an effect its dependencies"
        )

    def _render_queue(self) -> None:
        batch, self._queue = self._queue, []
        try:
            self.sweep(batch)
        finally:
            # Left over only after an error.
            if batch:
                self._queue = [fiber for fiber in batch if fiber.status == DIRTY] + self._queue
            if self.removed:
                self._finish_removed()

    def _finish_removed(self) -> None:
        """Unmount the cells of fibers that went in this round; effects' clean-ups wait for the effects."""
        removed, self.removed = self.removed, []
        for fiber in removed:
            for cell in fiber.hooks or ():
                if cell.persist and self.changes is not None:
                    self.changes[cell] = fiber
                self._let_go(fiber, cell)

    def _let_go(self, fiber: Fiber, cell: Cell) -> None:
        if (fibers := self.kinds.get(cell.kind)) is not None:
            fibers.pop(fiber, None)
        if isinstance(cell, Effect):
            self.effects.leave(fiber, cell)
            return
        try:
            cell.unmount()
        except Exception as error:  # noqa: BLE001 - raised once all are unmounted
            self.effects.fail(fiber, f"use_{cell.kind}, unmounting,", error)

    def _walk(self) -> Iterator[Fiber]:
        """Go through every mounted fiber, parents first."""
        stack = [self.fiber]
        while stack:
            fiber = stack.pop()
            yield fiber
            stack.extend(child for child in reversed(fiber.slots) if child.__class__ is Fiber)


def _forget_definition(fiber: Fiber) -> None:
    if fiber.cursor >= 0:
        fiber.cursor = REDEFINED


def _defined_now(old: Component) -> Component:
    """Return the component that stands in the module under the same qualified name now."""
    found: Any = sys.modules.get(old.function.__module__)
    for name in old.__qualname__.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, Component) and found.identity == old.identity else old
