"""Fibers: the mounted tree, as those who read it see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from nbsession.tree.element import FRAGMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nbsession.tree.element import Element
    from nbsession.tree.trace import Trace

CLEAN = 0
DIRTY = 1
DEAD = 2

UNRENDERED = -1
REDEFINED = -2
VOLATILE = -3

_ESCAPES = str.maketrans({"%": "%25", "/": "%2F", "]": "%5D"})


class Cell:
    """What a hook keeps on its fiber between renders; base class for hooks defined elsewhere.

    ``kind`` names the hook; ``use_cell`` sets it. A cell with ``persist`` true has
    its ``value`` among the root's kept state.
    """

    __slots__ = ("kind",)

    kind: str
    persist: bool = False
    value: Any = None

    def unmount(self) -> None:
        """Let go of what the cell holds; called once, after its fiber was unmounted."""

    def clone(self, fiber: Fiber) -> Cell:
        """Return a cell for ``fiber`` of a preview, which may be written to without any effect on this one."""
        raise NotImplementedError(f"{type(self).__name__} has no clone(), so a preview cannot render it")


class Tree(Protocol):
    """The tree that a fiber is mounted in, as its fibers and hooks know it."""

    previewing: bool
    leaves: tuple[type, ...]
    environment: Any
    effects: Any
    kinds: dict[str, dict[Fiber, None]]
    changes: dict[Cell, Fiber] | None
    check: Callable[[str, Any], object] | None
    restore: dict[str, Any]
    trace: Trace | None
    types: set[Any]

    def admits(self, call: Callable[..., None], *arguments: Any) -> bool:
        """Say whether a change may be applied now; if not, the tree has taken care of it."""

    def mark(self, fiber: Fiber) -> None:
        """Mark a fiber dirty."""

    def enqueue(self, fiber: Fiber) -> None:
        """Queue a clean fiber for the next round."""

    def note(self, text: str) -> None:
        """Keep a note of something odd that is no error."""

    def note_change(self, cell: Cell, fiber: Fiber) -> None:
        """Remember that a cell's kept value was set."""

    def reach(self, fibers: Iterable[Fiber]) -> None:
        """Let fibers render in this very round."""

    def release(self, fiber: Fiber, cells: Iterable[Cell], start: int) -> None:
        """Unmount cells that their mounted fiber has no use for any more."""

    def restored(self, fiber: Fiber, at: int, initial: Any, kind: str = "state") -> Any:
        """Return the kept value of a hook of that kind that mounts, or ``initial``."""


class Fiber:
    """One mounted element.

    ``children`` are the strings, fibers and leaves below it, holes (``None``,
    bools and empty strings) removed; that is what readers walk. ``output`` belongs
    to the reader: the fiber sets it to ``None`` when something below changed, and
    so upwards until a fiber whose output is ``None`` already. So whoever fills it
    fills it on every fiber below as well.
    ``hooks`` are the component's cells in order, or ``None``.
    """

    __slots__ = (
        "children",
        "cursor",
        "depth",
        "element",
        "hooks",
        "index",
        "key",
        "output",
        "parent",
        "root",
        "scope",
        "slots",
        "status",
        "type",
    )

    # Read by whoever renders: `slots` are the children with their holes, `index`
    # the place among the siblings' slots, `scope` the context values in reach,
    # `cursor` the next hook while rendering and the number of hooks after it.
    type: Any
    element: Element
    key: str | None
    parent: Fiber | None
    root: Tree
    depth: int
    index: int
    children: tuple[Any, ...]
    slots: tuple[Any, ...]
    hooks: list[Cell] | None
    output: Any
    scope: dict[Any, Any]

    def __init__(self, type: Any, element: Element, parent: Fiber, index: int) -> None:
        self.type = type
        self.element = element
        self.key = element.key
        self.parent = parent
        self.root = parent.root
        self.depth = parent.depth + 1
        self.scope = parent.scope
        self.index = index
        self.slots = ()
        self.children = ()
        self.hooks = None
        self.cursor = UNRENDERED
        self.status = DIRTY
        self.output = None

    @classmethod
    def top(cls, element: Element, root: Tree) -> Fiber:
        """Return the fiber above a root's node."""
        fiber = cls.__new__(cls)
        fiber.parent = None
        fiber.root = root
        fiber.depth = 0
        fiber.scope = {}
        fiber.type, fiber.element, fiber.key = element.type, element, None
        fiber.index = 0
        fiber.slots = fiber.children = ()
        fiber.hooks = None
        fiber.cursor = UNRENDERED
        fiber.status = DIRTY
        fiber.output = None
        return fiber

    def copy(self, root: Tree, parent: Fiber | None) -> Fiber:
        """Return a copy in another tree, with cloned cells."""
        fiber = Fiber.__new__(Fiber)
        fiber.parent = parent
        fiber.root = root
        fiber.scope = {} if parent is None else parent.scope
        fiber.type, fiber.element, fiber.key = self.type, self.element, self.key
        fiber.depth, fiber.index = self.depth, self.index
        fiber.slots, fiber.children = self.slots, self.children
        fiber.cursor = self.cursor
        fiber.status = CLEAN
        fiber.output = self.output
        fiber.hooks = None
        if self.hooks is not None:
            fiber.hooks = [_cloned(cell, fiber) for cell in self.hooks]
        return fiber

    @property
    def path(self) -> str:
        """The place in the tree: segments from the root, joined by ``/``.

        A segment is ``Name[key]`` where there is a key, else ``Name.position`` with
        the slot among its siblings, and only the position for a nested list; the
        root's own node is just ``Name``. In keys, ``%``, ``/`` and ``]`` are
        percent-encoded. A path is unique and stays the same as long as the fiber
        is mounted.
        """
        segments = []
        fiber = self
        while fiber.parent is not None:
            segments.append(fiber.segment)
            fiber = fiber.parent
        return "/".join(reversed(segments))

    @property
    def segment(self) -> str:
        """The last segment of the path."""
        if self.type is FRAGMENT:
            return str(self.index)
        topmost = self.parent is None or self.parent.parent is None
        return segment_of(self.element, self.index, topmost=topmost)

    @property
    def previewing(self) -> bool:
        """Whether the fiber belongs to a preview, which is thrown away."""
        return self.root.previewing

    def mark(self) -> None:
        """Mark the fiber dirty: it renders at the next flush. May be called from any thread."""
        self.root.mark(self)

    def invalidate(self) -> None:
        """Drop the reader's output of this fiber and of those above it."""
        fiber: Fiber | None = self
        while fiber is not None and fiber.output is not None:
            fiber.output = None
            fiber = fiber.parent

    def __repr__(self) -> str:
        return f"<fiber {shorten(self.path)}>"


def _cloned(cell: Cell, fiber: Fiber) -> Cell:
    clone = cell.clone(fiber)
    if getattr(clone, "kind", None) != cell.kind:
        clone.kind = cell.kind
    return clone


def segment_of(element: Element, index: int, *, topmost: bool = False) -> str:
    """Return the segment of the path that an element has at a slot; ``topmost`` for the root's own node."""
    name, key = element.type.name, element.key
    if key is not None:
        return f"{name}[{key if key.isalnum() else key.translate(_ESCAPES)}]"
    return str(name) if topmost else f"{name}.{index}"


def shorten(path: str) -> str:
    """Return a path as an error message shows it: a long one without its middle."""
    return path if len(path) <= 200 else f"{path[:80]}/…/{path[-110:].partition('/')[2]}"


def post_order(fibers: Iterable[Fiber]) -> list[Fiber]:
    """Return those of ``fibers`` that stand in the visible tree, children first, then siblings in order.

    Costs as much as the given fibers and their ancestors; the rest of the tree is
    not walked.
    """
    wanted = set(fibers)
    below: dict[Fiber, list[Fiber]] = {}
    linked: set[Fiber] = set()
    tops: list[Fiber] = []
    for fiber in wanted:
        while fiber not in linked:
            linked.add(fiber)
            parent = fiber.parent
            if parent is None:
                tops.append(fiber)
                break
            below.setdefault(parent, []).append(fiber)
            fiber = parent
    order: list[Fiber] = []
    # Last child first, so that the reverse is children first and first child first.
    stack = tops
    while stack:
        fiber = stack.pop()
        if fiber in wanted:
            order.append(fiber)
        if children := below.get(fiber):
            if fiber.type.hides:
                children = [child for child in children if child in fiber.children]
            children.sort(key=_index)
            stack.extend(children)
    order.reverse()
    return order


def _index(fiber: Fiber) -> int:
    return fiber.index


def depth_of(fiber: Fiber) -> int:
    """Return a fiber's depth, to sort by."""
    return fiber.depth


def set_text(fiber: Fiber, text: str) -> bool:
    """Give a fiber a text as its only child, where it had none or a text; a shortcut for the leaves of the tree."""
    if fiber.slots:
        before = fiber.slots[0]
        if before.__class__ is not str:
            return False
        if before == text:
            return True
    if not text:
        return False
    fiber.slots = fiber.children = (text,)
    if fiber.output is not None:
        fiber.invalidate()
    return True


def commit(fiber: Fiber, slots: tuple[Any, ...]) -> None:
    """Give a fiber its new slots; drop the reader's output if the children differ."""
    children = tuple([entry for entry in slots if entry is not None])
    if len(children) == len(slots):
        children = slots
    if fiber.type.hides:
        # A boundary's fallback, where there is one, is shown instead of its children.
        children = children[-1:]
    before = fiber.children
    fiber.slots = slots
    fiber.children = children
    if fiber.output is None:
        return
    if len(before) == len(children):
        for old, new in zip(before, children, strict=True):
            if old is not new and not (old.__class__ is str and new.__class__ is str and old == new):
                break
        else:
            return
    fiber.invalidate()
