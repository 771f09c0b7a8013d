"""A body with boxes, laid out flat: what of it may go, and which budgets it has to keep to."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from nbsession.context.box import Box, unboxed
from nbsession.context.chunk import Chunk, FlowItem
from nbsession.context.part import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nbsession.context.box import BodyItem


class Scope(NamedTuple):
    """The atoms from ``start`` to ``end``, which have a budget; ``box`` is the ``Fit``, ``None`` for the whole body."""

    start: int
    end: int
    box: Box | None


class Frame(NamedTuple):
    """A box that is being laid out: what is left of it, its priority (``None``: it stays), and where a fit began."""

    items: Iterator[BodyItem]
    rank: float | None
    box: Box | None
    start: int


class Layout:
    """What a body holds, in order, and what of it may go.

    ``atoms`` are its parts and ``sizes`` their tokens (``sums`` those before each); ``chunks`` are those that were opened, with the
    place of their first part (outside any ``Fit`` a chunk is one atom). A *unit* goes or stays as one: a
    part with a priority, all that is in a ``Whole``, an exchange of the timeline. Units stand in
    parallel lists, in order: the atoms from ``begins`` to ``ends``, and their ``ranks``, the priorities.
    ``spoken`` are those of a timeline, ``boxes`` has the ``Whole``, ``First`` or ``Cut`` that made one.
    ``scopes`` are in the order of their ends, so that an inner one comes before those around it.
    """

    def __init__(self, body: Sequence[BodyItem], size: Callable[[FlowItem], int]) -> None:
        self.atoms: list[FlowItem] = []
        self.sizes: list[int] = []
        self.chunks: list[tuple[int, Chunk]] = []
        self.begins: list[int] = []
        self.ends: list[int] = []
        self.ranks: list[float] = []
        self.spoken: set[int] = set()
        self.boxes: dict[int, Box] = {}
        self.scopes: list[Scope] = []
        self.size = size
        self._last = _last_entry(body)
        self._fits = 0
        self._speaking: float | None = None
        self._lay_out(body)
        self.sums = list(accumulate(self.sizes, initial=0))
        self.scopes.append(Scope(0, len(self.atoms), None))

    def entry(self, atom: int) -> Part | None:
        """Return the entry of a timeline that an atom is, ``None`` for anything else."""
        item = self.atoms[atom]
        return item if isinstance(item, Part) and item.kind == "message" and item.key else None

    def steps(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Part a run of entries into those that go together: a message, or a call with its results."""
        starts = [atom for atom in range(begin, end) if atom == begin or self._role(atom) != "tool"]
        return list(zip(starts, [*starts[1:], end], strict=True))

    def units_of(self, scope: Scope) -> range:
        """Return the units that stand in a scope."""
        return range(bisect_left(self.begins, scope.start), bisect_left(self.begins, scope.end))

    def _lay_out(self, body: Sequence[BodyItem]) -> None:
        # A stack instead of recursion: boxes may stand in boxes without end.
        stack = [Frame(iter(body), None, None, 0)]
        while stack:
            frame = stack[-1]
            for item in frame.items:
                if not isinstance(item, Box):
                    self._add(item, frame.rank)
                    continue
                opened = self._open(item, frame.rank)
                if opened is not None:
                    stack.append(opened)
                    break
            else:
                stack.pop()
                if frame.box is not None:
                    self._fits -= 1
                    self._speaking = None
                    self.scopes.append(Scope(frame.start, len(self.atoms), frame.box))

    def _open(self, box: Box, rank: float | None) -> Frame | None:
        """Go into a box, or add what goes or stays in one piece."""
        if box.kind == "fit":
            self._fits += 1
            self._speaking = None
            return Frame(iter(box.body), rank, box, len(self.atoms))
        if box.kind == "priority":
            return Frame(iter(box.body), (rank or 0) + box.number, None, 0)
        if not self._fits:
            self._append(unboxed((box,)))
        elif box.kind == "cut":
            for item in unboxed(box.body):
                self.boxes[len(self.begins)] = box
                self._unit((item,), rank or 0)
        else:
            items = tuple(unboxed((box,)))
            if any(self._is_last(item) for item in items):
                self._append(items)
            else:
                self.boxes[len(self.begins)] = box
                self._unit(items, rank or 0)
        self._speaking = None
        return None

    def _add(self, item: FlowItem, rank: float | None) -> None:
        if not self._fits:
            self._append((item,))
        elif type(item) is Chunk:
            self.chunks.append((len(self.atoms), item))
            for part in item.parts:
                self._speak(part, rank or 0)
        elif item.kind == "message" and item.key:  # type: ignore[union-attr]  # chunks were before
            self._speak(item, rank or 0)  # type: ignore[arg-type]  # as above
        else:
            self._speaking = None
            if rank is None:
                self._append((item,))
            else:
                self._unit((item,), rank)

    def _append(self, items: Iterable[FlowItem]) -> None:
        for item in items:
            self.atoms.append(item)
            self.sizes.append(self.size(item))

    def _unit(self, items: Iterable[FlowItem], rank: float) -> None:
        self.begins.append(len(self.atoms))
        self._append(items)
        self.ends.append(len(self.atoms))
        self.ranks.append(rank)

    def _speak(self, part: Part, rank: float) -> None:
        """Add an entry: to the exchange that it continues, or as the begin of one."""
        follows = self._speaking is not None and self.ends[-1] == len(self.atoms)
        if follows and (part.role == "tool" or (part.role != "user" and self._speaking == rank)):
            self._append((part,))
            self.ends[-1] = len(self.atoms)
        elif part.role == "tool":  # its call stays
            self._append((part,))
        else:
            self.spoken.add(len(self.begins))
            self._unit((part,), rank)
        self._speaking = rank
        if part.key == self._last:
            self._end_of_conversation()

    def _end_of_conversation(self) -> None:
        """Let the last message stay, and what it answers; of the steps between, each may go by itself."""
        if not self.ends or self.ends[-1] != len(self.atoms):
            return
        steps = self.steps(self.begins.pop(), self.ends.pop())
        rank = self.ranks.pop()
        self.spoken.discard(len(self.begins))
        for begin, end in steps[self._role(steps[0][0]) == "user" : -1]:
            self.spoken.add(len(self.begins))
            self.begins.append(begin)
            self.ends.append(end)
            self.ranks.append(rank)

    def _role(self, atom: int) -> str:
        item = self.atoms[atom]
        return item.role if isinstance(item, Part) else ""

    def _is_last(self, item: FlowItem) -> bool:
        if isinstance(item, Chunk):
            return item.entries[-1].id == self._last
        return item.kind == "message" and bool(item.key) and item.key == self._last


def _last_entry(body: Sequence[BodyItem]) -> str:
    """Return the id of the entry that is said last in a body, ``""`` where there is none."""
    stack = list(body)
    while stack:
        item = stack.pop()
        if isinstance(item, Box):
            if item.speaks:
                stack.extend(item.body[:1] if item.kind == "first" else item.body)
        elif isinstance(item, Chunk):
            return item.entries[-1].id
        elif item.kind == "message" and item.key:
            return item.key
    return ""
