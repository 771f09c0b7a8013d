"""A body with boxes, laid out flat: what of it may go, and which budgets it has to keep to."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from nbsession.context.box import Box, not_plain, unboxed
from nbsession.context.chunk import Chunk, FlowItem
from nbsession.context.part import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nbsession.context.box import BodyItem


class Scope(NamedTuple):
    """The atoms from ``start`` to ``end``, which have a budget; ``box`` is the ``Fit``, ``None`` for the whole body."""

    start: int
    end: int
    box: Box | None

    def holds(self, part: Part) -> bool:
        """Say by its path whether a part, which may be one of earlier, belongs there."""
        if self.box is None:
            return True
        return part.path == self.box.path or part.path.startswith(f"{self.box.path}/")


class Frame(NamedTuple):
    """A fit that is being laid out: its body from ``at`` on, what its priorities begin from, and where it began."""

    box: Box
    rank: float | None
    at: int
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
        for item in body:
            if isinstance(item, Box) and item.kind == "fit":
                self._lay_out_fit(item)
            elif isinstance(item, Box):
                self._append(unboxed((item,)))
            else:
                self._append((item,))

    def _lay_out_fit(self, outermost: Box) -> None:
        # A stack instead of recursion: one may stand in another without end.
        stack = [Frame(outermost, None, 0, len(self.atoms))]
        while stack:
            box, base, at, start = stack.pop()
            self._speaking = None
            for place in not_plain(box.body, at):
                self._plain(box, base, at, place)
                item, rank, at = box.body[place], _rank(box, base, place), place + 1
                if isinstance(item, Box) and item.kind == "fit":
                    stack.extend([Frame(box, base, at, start), Frame(item, rank, 0, len(self.atoms))])
                    break
                self._add(item, rank)
            else:
                self._plain(box, base, at, len(box.body))
                self.scopes.append(Scope(start, len(self.atoms), box))

    def _plain(self, box: Box, base: float | None, begin: int, end: int) -> None:
        """Add a run of plain parts, of which there may be thousands: those with a priority may go, each by itself."""
        if begin == end:
            return
        parts, ranks = box.body[begin:end], box.ranks[begin:end]
        if base is not None:
            ranks = tuple([base if rank is None else base + rank for rank in ranks])
        first = len(self.atoms)
        self.atoms.extend(parts)  # type: ignore[arg-type]  # boxes are not plain
        self.sizes.extend([part.tokens for part in parts])
        loose = [place for place, rank in enumerate(ranks, first) if rank is not None]
        self.begins.extend(loose)
        self.ends.extend([place + 1 for place in loose])
        self.ranks.extend([rank for rank in ranks if rank is not None])
        self._speaking = None

    def _add(self, item: BodyItem, rank: float | None) -> None:
        """Add what is no plain part: a message, entries of the timeline, or what goes or stays in one piece."""
        if isinstance(item, Chunk):
            self.chunks.append((len(self.atoms), item))
            self._speak_on(item, rank or 0)
            return
        if isinstance(item, Part) and item.key:
            self._speak(item, rank or 0)
            return
        self._speaking = None
        if isinstance(item, Part):
            if rank is None:
                self._append((item,))
            else:
                self._unit((item,), rank)
        elif item.kind == "cut":
            for text in unboxed(item.body):
                self.boxes[len(self.begins)] = item
                self._unit((text,), rank or 0)
        else:
            items = tuple(unboxed((item,)))
            if any(self._is_last(part) for part in items):
                self._append(items)
            else:
                self.boxes[len(self.begins)] = item
                self._unit(items, rank or 0)

    def _append(self, items: Iterable[FlowItem]) -> None:
        for item in items:
            self.atoms.append(item)
            self.sizes.append(self.size(item))

    def _unit(self, items: Iterable[FlowItem], rank: float) -> None:
        self.begins.append(len(self.atoms))
        self._append(items)
        self.ends.append(len(self.atoms))
        self.ranks.append(rank)

    def _speak_on(self, chunk: Chunk, rank: float) -> None:
        """Add the entries of a chunk; all at once where it only goes on and begins exchanges."""
        first, turns = len(self.atoms), chunk.turns
        follows = self._speaking == rank and bool(self.ends) and self.ends[-1] == first
        if (
            not turns
            or (turns[0] and not follows)
            or self._is_last(chunk)
            or self.size(chunk) != chunk.tokens
        ):
            for part in chunk.parts:
                self._speak(part, rank)
            return
        self.atoms.extend(chunk.parts)
        self.sizes.extend([part.tokens for part in chunk.parts])
        if turns[0]:
            self.ends[-1] += turns[0]
        self.spoken.update(range(len(self.begins), len(self.begins) + len(turns)))
        self.begins.extend([first + turn for turn in turns])
        self.ends.extend([first + turn for turn in turns[1:]])
        self.ends.append(len(self.atoms))
        self.ranks.extend([rank] * len(turns))
        self._speaking = rank

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


def _rank(box: Box, base: float | None, place: int) -> float | None:
    rank = box.ranks[place]
    return base if rank is None else rank + (base or 0)


def _last_entry(body: Sequence[BodyItem]) -> str:
    """Return the id of the entry that is said last in a body, ``""`` where there is none."""
    stack = [body[place] for place in not_plain(body)]
    while stack:
        item = stack.pop()
        if isinstance(item, Box):
            stack.extend([item.body[place] for place in not_plain(item.body)] if item.speaks else ())
        elif isinstance(item, Chunk):
            return item.entries[-1].id
        elif item.kind == "message" and item.key:
            return item.key
    return ""
