"""Intervals drawn on one scale, so that rows compare at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nbsession.statistics import signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nbsession.statistics import Interval

CHARACTERS = 21
"""How wide one is drawn in text."""


class Span(NamedTuple):
    """An interval with its middle, and where nothing is, each as a share of the scale's width; ``label`` says it."""

    low: float
    middle: float
    high: float
    zero: float
    label: str

    def __str__(self) -> str:
        low, middle, high, zero = (round(share * (CHARACTERS - 1)) for share in self[:4])
        drawn = [" "] * CHARACTERS
        drawn[low : high + 1] = "─" * (high + 1 - low)
        drawn[zero] = "┼" if low <= zero <= high else "│"
        drawn[middle] = "●"
        return "".join(drawn)


def spans(intervals: Iterable[Interval | None], write: Callable[[float], str] = signed) -> list[Span | str]:
    """Draw intervals, as a rule of differences, on the one scale that has them all, and 0; what has none is ``""``."""
    known = [_bounds(interval) for interval in intervals]
    least = min([0.0, *(bounds[0] for bounds in known if bounds)])
    most = max([0.0, *(bounds[2] for bounds in known if bounds)])
    width = most - least or 1.0
    drawn: list[Span | str] = []
    for bounds in known:
        if bounds is None:
            drawn.append("")
            continue
        low, middle, high = ((value - least) / width for value in bounds)
        label = f"{write(bounds[1])}, {write(bounds[0])} to {write(bounds[2])}"
        drawn.append(Span(low, middle, high, abs(least) / width, label))
    return drawn


def _bounds(interval: Interval | None) -> tuple[float, float, float] | None:
    if interval is None or interval.mean is None or interval.low is None or interval.high is None:
        return None
    return interval.low, interval.mean, interval.high
