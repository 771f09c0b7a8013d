"""What differs in the contexts of a sweep, against those of its first row."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.context import ContextDiff
from nbsession.notebook.panels.tables import shortened
from nbsession.notebook.view import templates
from nbsession.notebook.view.cards import Row, changes
from nbsession.notebook.view.difference import cut
from nbsession.tree import unchanged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nbsession.context import CompiledContext
    from nbsession.session import Sweep

MOST_DIFFERENCES = 20
"""Differences of contexts that are shown; of the others it says how many there are."""


@dataclass(frozen=True, slots=True)
class Differences:
    """What differs in the contexts, against the first row's: parts and settings, each with where it holds."""

    first: str
    rows: tuple[Row, ...]
    left: int


def differences(sweep: Sweep) -> Differences:
    """Gather what differs from the first row's context: each difference once, with the knob values it comes with.

    Of a part that changes by one knob already, what several knobs together make of it
    is only counted.
    """
    first = sweep.rows[0]
    found = gathered([row.context for row in sweep.rows])
    kept: list[Difference] = []
    for variants in sorted(found.values(), key=len):
        simple = [each for each in variants.values() if any(_steps(sweep, n) == 1 for n in each.numbers)]
        kept += simple or variants.values()
    rows = [
        replace(row, note=_where(sweep, each.numbers))
        for n, each in enumerate(kept[:MOST_DIFFERENCES])
        for row in rows_of(each.diff, f"d{n}")
    ]
    values = ", ".join(f"{name} = {written(first.knobs[name])}" for name in sweep.varied)
    return Differences(values, tuple(rows), sum(map(len, found.values())) - len(rows))


class Difference(NamedTuple):
    """One difference, and the numbers of the contexts that have it."""

    diff: ContextDiff
    numbers: list[int]


def gathered(contexts: Sequence[CompiledContext]) -> dict[Any, dict[Any, Difference]]:
    """Gather what differs from the first context, by its place, and each difference there once."""
    same: dict[str, list[int]] = {}
    for number, context in enumerate(contexts):
        same.setdefault(context.hash, []).append(number)
    found: dict[Any, dict[Any, Difference]] = {}
    for numbers in same.values():
        if numbers[0]:
            for place, kind, single in _singles(contexts[numbers[0]].diff(contexts[0])):
                known = found.setdefault(place, {}).setdefault(kind, Difference(single, []))
                known.numbers.extend(numbers)
    return found


def _singles(diff: ContextDiff) -> Iterator[tuple[Any, Any, ContextDiff]]:
    """Take a difference apart; each with its place and a name that the same one has in another row."""
    for change in diff.changed:
        yield change.new.identity, ("changed", change.new.digest), ContextDiff(changed=[change])
    for part in diff.added:
        yield part.identity, ("added", part.digest), ContextDiff(added=[part])
    for part in diff.removed:
        yield part.identity, "removed", ContextDiff(removed=[part])
    for part in diff.moved:
        yield part.identity, "moved", ContextDiff(moved=[part])
    for name, pair in diff.settings.items():
        yield name, ("setting", json.dumps(pair[1], default=str)), ContextDiff(settings={name: pair})


def _steps(sweep: Sweep, number: int) -> int:
    """Count the knobs in which a row differs from the first."""
    row, first = sweep.rows[number], sweep.rows[0]
    return sum(not unchanged(row.knobs[name], first.knobs[name]) for name in sweep.varied)


def rows_of(diff: ContextDiff, key: str) -> Iterator[Row]:
    """Lay out what differs, parts and settings, cut to what can be read."""
    for row in changes(diff, key=key):
        yield replace(row, text=row.text and cut(row.text))
    for n, (name, (old, new)) in enumerate(diff.settings.items()):
        yield Row(f"{key}.s{n}", name, "settings", 0, text=f"{old!r} → {new!r}", change="changed")


def _where(sweep: Sweep, numbers: Sequence[int]) -> str:
    """Say in which rows something holds: by the knob values that they have, and that neither all nor the first row has."""
    words = []
    for name in sweep.varied:
        values = list(dict.fromkeys(written(sweep.rows[number].knobs[name]) for number in numbers))
        if len(values) < len(sweep.values[name]) and values != [written(sweep.rows[0].knobs[name])]:
            more = ["…"] if len(values) > 3 else []
            words.append(f"{name} = {' or '.join([*values[:3], *more])}")
    if words:
        return ", ".join(words)
    return f"row {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} rows"


def as_text(rows: Iterable[Row]) -> Iterator[str]:
    """Write differences as lines of text."""
    for row in rows:
        size = templates.signed(row.delta) if row.change == "changed" else f"≈{row.tokens:,}"
        inline = f": {row.text}" if row.inline else ""
        place = f" · {row.path}" if row.path else ""
        yield f"{row.mark} {row.title}{place} ({row.note}) {size}{inline}"
        yield from (f"  {each.sign} {each.text}".rstrip() for each in row.lines)
        if row.change == "added" and not row.inline:
            yield f"  + {row.snippet}"


def written(value: Any) -> str:
    """Write a knob's value: text as it is, everything else as JSON."""
    return shortened(value) or '""' if isinstance(value, str) else json.dumps(value)
