"""A stand-in until the statistics are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Comparison(NamedTuple):
    """The mean difference of pairs, and how many of them the second won, lost and tied."""

    difference: float
    won: int
    lost: int
    tied: int


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the least and the greatest."""
    return min(values), max(values)


def compare(pairs: Sequence[tuple[float, float]]) -> Comparison:
    """Compare pairs."""
    differences = [other - one for one, other in pairs]
    return Comparison(
        sum(differences) / len(differences),
        sum(d > 0 for d in differences),
        sum(d < 0 for d in differences),
        sum(d == 0 for d in differences),
    )
