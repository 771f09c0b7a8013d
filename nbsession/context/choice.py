"""What of a layout stays and what goes: made once under its budgets, or from what was decided before."""

from __future__ import annotations

from bisect import bisect_right
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from nbsession.context.box import unboxed
from nbsession.context.chunk import Chunk, FlowItem, flatten
from nbsession.context.part import Part, place_of
from nbsession.context.sent import Sent, superseded
from nbsession.context.shorten import Shortened, shorten, shortened_to
from nbsession.context.withheld import BUDGET, OUTDATED, Withheld
from nbsession.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nbsession.context.compiled import CompiledContext
    from nbsession.context.layout import Layout, Scope

SPARE = 8
"""The share of a budget, an eighth, that is kept free where a conversation has to give something up."""

LARGEST = 3
"""Parts that are named where what has to stay is too much."""

Decisions: TypeAlias = "Mapping[str, Any]"
"""What was left out (its priority), or made smaller (``{"way": n}``, ``{"lines": n}``), by address."""


class Cap(NamedTuple):
    """The budget of a scope, in estimated tokens, and what is ``spent`` of it beside the body."""

    scope: Scope
    tokens: int
    spent: int

    @property
    def spare(self) -> int:
        return self.tokens // SPARE


class Choice:
    """What stays and what goes of one layout.

    ``sizes`` are the units' tokens as they are now, 0 for those that are ``gone``; ``gaps`` are atoms that
    are missing in the middle of an exchange; ``ways`` says which alternative stands for a unit, ``cuts`` how it
    was shortened. ``sent`` is the trailing context of earlier ticks; in the ``full`` scopes nothing of it
    stands any longer but what is still said.
    """

    def __init__(self, layout: Layout, sent: Sequence[Sent] = ()) -> None:
        self.layout = layout
        self.sent = sent
        self.full: list[Scope] = []
        self.gone: set[int] = set()
        self.gaps: set[int] = set()
        self.ways: dict[int, int] = {}
        self.cuts: dict[int, Shortened] = {}
        sums = layout.sums
        self._whole = [sums[end] - sums[begin] for begin, end in zip(layout.begins, layout.ends, strict=True)]
        self.sizes = self._whole.copy()

    # What was decided before

    def recall(self, left: Decisions) -> bool:
        """Leave out and shorten what was before, as far as it is there; say whether anything was."""
        if not left:
            return False
        for unit in range(len(self.sizes)):
            if unit in self.layout.spoken:
                self._recall_exchange(unit, left)
            else:
                self._recall_unit(unit, left.get(self._address(self.layout.begins[unit])))
        return bool(self.gone or self.gaps or self.ways or self.cuts)

    def _recall_unit(self, unit: int, decided: Any) -> None:
        if decided is None:
            return
        box = self.layout.boxes.get(unit)
        if not isinstance(decided, dict):
            if decided == self.layout.ranks[unit]:
                self._leave_out((unit,))
        elif box is not None and box.kind == "first" and decided.get("way", 0) in range(1, len(box.body)):
            self._replace(unit, decided["way"])
        elif box is not None and box.kind == "cut":
            self._cut(unit, shortened_to(self._part(unit), decided.get("lines", 0), box.keep))

    def _recall_exchange(self, unit: int, left: Decisions) -> None:
        begin, end = self.layout.begins[unit], self.layout.ends[unit]
        rank = self.layout.ranks[unit]
        if left.get(self._address(begin)) == rank:
            self._leave_out((unit,))
            return
        for start, stop in self.layout.steps(begin, end)[1:]:
            if left.get(self._address(start)) == rank:
                self.gaps.update(range(start, stop))
                self.sizes[unit] -= self.layout.sums[stop] - self.layout.sums[start]

    # Keeping to a budget

    def total(self, cap: Cap) -> int:
        """Return the tokens that a scope takes as it is now, what still stands of earlier ticks included."""
        old = self._superseded() if self.sent else ()
        standing = [
            earlier for earlier in old if cap.scope.holds(earlier.part) and not self._is_let_go(earlier)
        ]
        return self.content(cap) + sum([earlier.part.tokens for earlier in standing])

    def content(self, cap: Cap) -> int:
        """Return the tokens of what a scope says now."""
        units = self.layout.units_of(cap.scope)
        return self._fixed(cap) + sum(self.sizes[units.start : units.stop])

    def keep_to(self, cap: Cap, cached: frozenset[int]) -> None:
        """Leave out what a scope has no room for; ``CompileError`` where what has to stay is too much."""
        if self.total(cap) <= cap.tokens:
            return
        self.full.append(cap.scope)
        if self.content(cap) <= cap.tokens:
            return
        units = list(self.layout.units_of(cap.scope))
        if self.gone:
            units = [unit for unit in units if unit not in self.gone]
        if cached:
            units.sort(key=cached.__contains__)
        units.sort(key=self.layout.ranks.__getitem__)
        room = cap.tokens - self._fixed(cap)
        going, room = self._admit(units, room, cap.spare, cached)
        self._leave_out(units[:going])
        if room < 0:
            raise self._too_much(cap)
        if not (self.layout.spoken.isdisjoint(units[:going]) and cached.isdisjoint(units[:going])):
            self._make_room(units, going, cap.spare - room)

    def _admit(self, units: Sequence[int], room: int, spare: int, cached: frozenset[int]) -> tuple[int, int]:
        """Give room to units, the last first; return how many at the front get none, and the room that is left."""
        waiting = len(units)
        while waiting:
            unit = units[waiting - 1]
            cut = False
            if self.sizes[unit] > room:
                if not self._shrink(unit, room, spare if unit in cached else 0):
                    break
                cut = unit in self.cuts
            room -= self.sizes[unit]
            waiting -= 1
            if cut:  # it took what there was
                break
        return waiting, room

    def _make_room(self, units: Sequence[int], going: int, wanted: int) -> None:
        """Leave out more of the same priority, so that the next messages do not break the prefix again."""
        rank = self.layout.ranks[units[going - 1]]
        for unit in units[going:]:
            if wanted <= 0 or self.layout.ranks[unit] != rank or unit in self.layout.boxes:
                return
            wanted -= self.sizes[unit]
            self._leave_out((unit,))

    def _shrink(self, unit: int, room: int, spare: int) -> bool:
        """Make a unit as small as the room that it gets, by its next alternative or at a line's end."""
        box = self.layout.boxes.get(unit)
        if box is None:
            return False
        if box.kind == "first":
            for way in range(self.ways.get(unit, 0) + 1, len(box.body)):
                if self._way_tokens(unit, way) <= room:
                    self._replace(unit, way)
                    return True
            return False
        if box.kind == "cut":
            part = self._part(unit)
            cut = shorten(part, room - spare, box.keep) or shorten(part, room, box.keep)
            self._cut(unit, cut)
            return cut is not None
        return False

    def _leave_out(self, units: Sequence[int]) -> None:
        self.gone.update(units)
        for unit in units:
            self.sizes[unit] = 0
        for made in (self.ways, self.cuts):
            for unit in made.keys() & self.gone:
                del made[unit]

    def _replace(self, unit: int, way: int) -> None:
        self.ways[unit] = way
        self.sizes[unit] = self._way_tokens(unit, way)

    def _cut(self, unit: int, cut: Shortened | None) -> None:
        if cut is not None:
            self.cuts[unit] = cut
            self.sizes[unit] = cut.part.tokens

    def _way_tokens(self, unit: int, way: int) -> int:
        return sum([self.layout.size(item) for item in unboxed((self.layout.boxes[unit].body[way],))])

    def _fixed(self, cap: Cap) -> int:
        """Return the tokens of what has to stay in a scope."""
        layout, (start, end, _) = self.layout, cap.scope
        units = layout.units_of(cap.scope)
        return layout.sums[end] - layout.sums[start] - sum(self._whole[units.start : units.stop]) + cap.spent

    def _too_much(self, cap: Cap) -> CompileError:
        layout, (start, end, box) = self.layout, cap.scope
        loose = {
            atom
            for unit in layout.units_of(cap.scope)
            for atom in range(layout.begins[unit], layout.ends[unit])
        }
        stays = sorted(
            [(layout.sizes[atom], atom) for atom in range(start, end) if atom not in loose], reverse=True
        )
        named = [f"{_label(layout.atoms[atom])} (≈{tokens:,} tokens)" for tokens, atom in stays[:LARGEST]]
        if cap.spent:
            named.append(f"tools (≈{cap.spent:,} tokens)")
        where = "the model's window" if box is None else f"the Fit at {box.path}"
        return CompileError(
            f"{where} has room for ≈{cap.tokens:,} tokens, and what has to stay there takes ≈{self._fixed(cap):,}: "
            f"{', '.join(named)}; put what may go into Priority(...), shorten it with Cut(...), or give it more room",
            path="" if box is None else box.path,
        )

    # What came of it

    def standing(self) -> list[Sent]:
        """Return what stays where it was sent."""
        gone = {id(earlier) for earlier in self._let_go()}
        return [earlier for earlier in self.sent if id(earlier) not in gone]

    def leaves_out_of(self, scope: Scope) -> bool:
        """Say whether anything of a scope is missing."""
        units = self.layout.units_of(scope)
        missing = any(unit in units for group in (self.gone, self.ways, self.cuts) for unit in group)
        return missing or any(scope.start <= atom < scope.end for atom in self.gaps)

    def items(self) -> Iterator[tuple[int, Sequence[FlowItem]]]:
        """Give what stands for each unit and each atom that stays, with the place of its first atom."""
        begins = {self.layout.begins[unit]: unit for unit in (*self.gone, *self.ways, *self.cuts)}
        atom, end = 0, len(self.layout.atoms)
        while atom < end:
            unit = begins.get(atom)
            if unit is None:
                if atom not in self.gaps:
                    yield atom, self.layout.atoms[atom : atom + 1]
                atom += 1
                continue
            if unit not in self.gone:
                yield atom, self._written(unit)
            atom = self.layout.ends[unit]

    def body(self) -> list[FlowItem]:
        """Return what stays, in order."""
        layout = self.layout
        stays = bytearray(b"\1") * len(layout.atoms)
        for unit in (*self.gone, *self.ways, *self.cuts):
            begin, end = layout.begins[unit], layout.ends[unit]
            stays[begin:end] = bytes(end - begin)
        for atom in self.gaps:
            stays[atom] = 0
        written = {layout.begins[unit]: self._written(unit) for unit in (*self.ways, *self.cuts)}
        opened = dict(layout.chunks)
        body: list[FlowItem] = []
        done = 0
        for begin in sorted([*written, *opened]):
            body.extend(compress(layout.atoms[done:begin], stays[done:begin]))
            if begin in written:
                body.extend(written[begin])
                done = begin
            else:
                done = begin + len(opened[begin].entries)
                body.extend(opened[begin].kept(stays[begin:done]))
        body.extend(compress(layout.atoms[done:], stays[done:]))
        return body

    def withheld(self, caps: Sequence[Cap]) -> list[Withheld]:
        """List what is missing, with its priority and what it would cost."""
        layout = self.layout
        too_large = self._too_large(caps)
        notes = [
            self._note(unit)._replace(behind=too_large.get(unit, ""))
            for unit in sorted({*self.gone, *self.ways, *self.cuts} - layout.spoken)
        ]
        silent: dict[tuple[str, float], list[int]] = {}
        for unit in sorted(self.gone & layout.spoken):
            silent.setdefault((layout.atoms[layout.begins[unit]].path, layout.ranks[unit]), []).extend(
                range(layout.begins[unit], layout.ends[unit])
            )
        for atom in sorted(self.gaps):
            silent.setdefault((layout.atoms[atom].path, self._rank_at(atom)), []).append(atom)
        for (path, rank), atoms in silent.items():
            first, last = layout.atoms[min(atoms)], layout.atoms[max(atoms)]
            count = "1 entry" if len(atoms) == 1 else f"{len(atoms)} entries"
            span = _key(first) if len(atoms) == 1 else f"{_key(first)} to {_key(last)}"
            tokens = sum([layout.sizes[atom] for atom in atoms])
            notes.append(Withheld(path, BUDGET, f"{count}, {span}", tokens, rank))
        return [*notes, *self._outdated()]

    def decisions(self) -> dict[str, Any]:
        """Return by address what a later compile is to decide in the same way."""
        layout = self.layout
        decided: dict[str, Any] = {
            self._address(layout.begins[unit]): layout.ranks[unit] for unit in self.gone
        }
        for unit, way in self.ways.items():
            decided[self._address(layout.begins[unit])] = {"way": way}
        for unit, cut in self.cuts.items():
            decided[self._address(layout.begins[unit])] = {"lines": cut.lines}
        for atom in self.gaps:
            if (entry := layout.entry(atom)) is not None and entry.role != "tool":
                decided[self._address(atom)] = self._rank_at(atom)
        return decided

    def _let_go(self) -> list[Sent]:
        return [earlier for earlier in self._superseded() if self._is_let_go(earlier)] if self.full else []

    def _too_large(self, caps: Sequence[Cap]) -> dict[int, str]:
        """Return for what went and would have room the path of what took it along."""
        found: dict[int, str] = {}
        for cap in caps:
            room = cap.tokens - self.total(cap)
            gone = self.gone.intersection(self.layout.units_of(cap.scope))
            large = [unit for unit in gone if self._whole[unit] > room]
            if not large:
                continue
            first = max(large, key=self.layout.ranks.__getitem__)
            place = self._note(first).path
            for unit in gone - found.keys():
                if self._whole[unit] <= room and self.layout.ranks[unit] < self.layout.ranks[first]:
                    found[unit] = place
        return found

    def _outdated(self) -> list[Withheld]:
        """List what was let go and is not said any more; of the rest the notes of the units tell."""
        let_go = [earlier.part for earlier in self._let_go()]
        said = {item.digest for item in self.layout.atoms if isinstance(item, Part)} if let_go else ()
        return [
            Withheld(place_of(part), OUTDATED, str(part), part.tokens)
            for part in let_go
            if part.digest not in said
        ]

    def _is_let_go(self, earlier: Sent) -> bool:
        return any(scope.holds(earlier.part) for scope in self.full)

    def _superseded(self) -> list[Sent]:
        return superseded(self.sent, self._trailing()) if self.sent else []

    def _trailing(self) -> list[Part]:
        """Return what stands behind the last message, the last first."""
        layout = self.layout
        units = {layout.ends[unit]: unit for unit in (*self.gone, *self.ways, *self.cuts)}
        trailing: list[Part] = []
        end = len(layout.atoms)
        while end:
            unit = units.get(end)
            begin = end - 1 if unit is None else layout.begins[unit]
            if unit is not None:
                items = [] if unit in self.gone else self._written(unit)
            else:
                items = [] if begin in self.gaps else layout.atoms[begin:end]
            for item in reversed(items):
                if isinstance(item, Chunk) or item.kind == "message":
                    return trailing
                trailing.append(item)
            end = begin
        return []

    def _note(self, unit: int) -> Withheld:
        layout, box = self.layout, self.layout.boxes.get(unit)
        begin, end, rank = layout.begins[unit], layout.ends[unit], layout.ranks[unit]
        tokens = self._whole[unit] - self.sizes[unit]
        if unit in self.cuts:
            return Withheld(_place(layout.atoms[begin]), BUDGET, self.cuts[unit].missing, tokens, rank)
        items = layout.atoms[begin:end]
        if box is None or box.kind == "cut":
            return Withheld(_place(items[0]), BUDGET, str(items[0]), tokens, rank)
        return Withheld(box.path, BUDGET, "\n\n".join(map(str, flatten(items))), tokens, rank)

    def _written(self, unit: int) -> list[FlowItem]:
        if unit in self.cuts:
            return [self.cuts[unit].part]
        return list(unboxed((self.layout.boxes[unit].body[self.ways[unit]],)))

    def _part(self, unit: int) -> Part:
        part = self.layout.atoms[self.layout.begins[unit]]
        assert isinstance(part, Part)  # a cut holds nothing else
        return part

    def _rank_at(self, atom: int) -> float:
        return self.layout.ranks[bisect_right(self.layout.begins, atom) - 1]

    def _address(self, atom: int) -> str:
        item = self.layout.atoms[atom]
        return f"{item.path}#{_key(item)}"


def cached_units(choice: Choice, tools: Sequence[Part], before: CompiledContext | None) -> frozenset[int]:
    """Return the units that stood at the front of the context sent last, up to where it will differ now.

    ``choice`` is what would be sent if nothing else went. A conversation counts as one: its oldest part decides.
    """
    layout = choice.layout
    if before is None or [part.digest for part in tools] != [part.digest for part in before._tools]:
        return frozenset()
    older = iter([*before._system, *flatten(before._flow)])
    until = len(layout.atoms)
    for atom, items in choice.items():
        if any(
            part is not (old := next(older, None)) and (old is None or part.digest != old.digest)
            for part in flatten(items)
        ):
            until = atom
            break
    cached = {unit for unit, begin in enumerate(layout.begins) if begin < until} - choice.gone
    if layout.spoken:
        cached = (
            cached | layout.spoken if layout.begins[min(layout.spoken)] < until else cached - layout.spoken
        )
    return frozenset(cached)


def _key(item: FlowItem) -> str:
    return item.key if isinstance(item, Part) else item.entries[0].id


def _place(item: FlowItem) -> str:
    return place_of(item) if isinstance(item, Part) else item.path


def _label(item: FlowItem) -> str:
    if isinstance(item, Chunk):
        return f"{len(item.entries)} messages · {item.path}"
    return f"{item.title or item.role or item.kind} · {item.path}"
