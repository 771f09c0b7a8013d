"""Figures as bars in a sweep's cells, so that rows compare at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nbsession.session import SweepRow

BLOCKS = 20
"""Characters of a progress bar of text."""


class Most(NamedTuple):
    """The most that any row of a sweep took: what a bar of full width stands for."""

    tokens: float = 0
    input: float = 0
    output: float = 0
    cost: float = 0
    seconds: float = 0

    def share(self, name: str, value: float | None) -> int:
        """Return the width of a value's bar in percent, 0 where it is not known."""
        most: float = getattr(self, name)
        return round(100 * value / most) if value and most else 0


def most_of(rows: Iterable[SweepRow]) -> Most:
    """Find the most that rows took, of those that are over; nothing to compare, no bars."""
    rows = list(rows)
    if len(rows) < 2:
        return Most()
    ended = [(row, result) for row in rows if row.ended is not None and (result := row.partial) is not None]
    return Most(
        tokens=max(row.context.tokens for row in rows),
        input=max((result.usage.input_tokens for _, result in ended), default=0),
        output=max((result.usage.output_tokens for _, result in ended), default=0),
        cost=max((result.cost or 0 for _, result in ended), default=0),
        seconds=max((row.seconds or 0 for row, _ in ended), default=0),
    )


def progress(over: int, count: int) -> str:
    """Draw a progress bar of text."""
    full = BLOCKS * over // max(1, count)
    return "█" * full + "░" * (BLOCKS - full)
