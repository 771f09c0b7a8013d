"""Two arms set beside each other: the difference, its interval, and a verdict in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean, stdev, variance
from typing import TYPE_CHECKING, Literal

from nbsession.statistics.interval import (
    LEVEL,
    Bounds,
    Interval,
    Scores,
    bounds_of,
    by_case,
    interval,
    is_share,
    student,
    wilson,
)
from nbsession.statistics.significance import fisher, holm, rearranged, sign_flips, sign_test
from nbsession.statistics.words import about, figure, signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

POWER = 0.8
"""How likely the cases that are said to tell would tell."""


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """What is between two arms, ``a`` less ``b``, over ``n`` of each: cases, or runs, as ``unit`` says.

    ``a`` and ``b`` are the arms' own intervals, ``interval`` is the difference's. ``won`` are the cases in which ``a`` is higher,
    ``lost`` those in which ``b`` is, ``tied`` those in which neither is; ``unpaired`` are those that only one of them has,
    which do not count. ``p`` is how often chance alone gives as much; ``adjusted`` is the same, corrected for all of
    ``among`` comparisons. ``least`` is the smallest p that so few can give. ``spread`` is the standard deviation of one
    case's difference, ``within`` that of a case's repetitions.
    """

    a: Interval
    b: Interval
    interval: Interval
    p: float
    n: int
    won: int = 0
    lost: int = 0
    tied: int = 0
    unpaired: int = 0
    least: float = 1.0
    spread: float = 0.0
    adjusted: float = 1.0
    among: int = 1
    unit: Literal["case", "run"] = "case"

    @property
    def difference(self) -> float | None:
        """The mean of ``a`` less that of ``b``, ``None`` where nothing is compared."""
        return self.interval.mean

    @property
    def within(self) -> float | None:
        """How far repetitions of one case lie apart in both arms: the larger standard deviation."""
        return max((arm.within for arm in (self.a, self.b) if arm.within is not None), default=None)

    @property
    def kind(self) -> Literal["real", "noise", "equal", "few"]:
        """The verdict as a word: ``"few"`` where no outcome of so few could be more than chance."""
        if not self.n:
            return "few"
        if not self.difference and not self.spread and self.n > 1:
            return "equal"
        if self.least * self.among >= self._alpha:
            return "few"
        return "real" if self.adjusted < self._alpha and self._apart else "noise"

    @property
    def more(self) -> int | None:
        """How many more would tell a difference of this size, four times in five; ``None`` where none would, or do already."""
        if self.kind in ("real", "equal") or not self.difference or not self.spread:
            return None
        quantile = NormalDist().inv_cdf
        z = quantile(1 - self._alpha / self.among / 2)
        needed = ((z + quantile(POWER)) * self.spread / self.difference) ** 2 + z * z / 2
        return max(math.ceil(needed) - self.n, 1) if math.isfinite(needed) else None

    @property
    def verdict(self) -> str:
        """Whether they differ, in words."""
        kind = self.kind
        if kind == "few":
            return f"too few {self.unit}s to say (n={self.n})"
        if kind == "equal":
            return f"no difference in any of {self.n} {self.unit}s"
        if kind == "real":
            return f"a real difference ({self._seen})"
        more = self.more
        tell = "" if more is None else f"; about {about(more)} more {self.unit}{'s' * (more > 1)} would tell"
        return f"within the noise ({self._seen}){tell}"

    def __str__(self) -> str:
        counts = (
            f"; won {self.won}, lost {self.lost}, tied {self.tied}" if self.unit == "case" and self.n else ""
        )
        noise = "" if self.within is None else f"; repetitions of a case lie {figure(self.within)} apart"
        return f"{self.verdict}{counts}{noise}"

    __repr__ = __str__

    @property
    def _alpha(self) -> float:
        return 1 - self.interval.level

    @property
    def _apart(self) -> bool:
        low, high = self.interval.low, self.interval.high
        return low is not None and high is not None and not low <= 0 <= high

    @property
    def _seen(self) -> str:
        low, high, level = self.interval.low, self.interval.high, self.interval.level
        said = signed(self.difference or 0.0)
        if low is not None and high is not None:
            said += f", {level:.0%} interval {figure(low)} to {figure(high)}"
        if self.among > 1:
            return f"{said}, p={figure(self.adjusted)} among {self.among} comparisons"
        return said if self._apart == (self.p < self._alpha) else f"{said}, p={figure(self.p)}"


def compare(a: Scores, b: Scores, *, level: float = LEVEL) -> Comparison:
    """Compare two arms case by case; cases that only one has are left out, and counted in ``unpaired``.

    Where each case has one value, 0 or 1, it is McNemar's exact test, and the interval is method 10 of R. G. Newcombe,
    Statistics in Medicine 17 (1998), 2635–2650; else signs are drawn over the cases' differences, and these are
    resampled for the interval. Raises ``ScoreError`` for what is no finite number.
    """
    all_a, all_b = by_case(a), by_case(b)
    cases = [case for case in all_a if case in all_b]
    ours, theirs = {case: all_a[case] for case in cases}, {case: all_b[case] for case in cases}
    differences = [fmean(ours[case]) - fmean(theirs[case]) for case in cases]
    won = sum(difference > 0 for difference in differences)
    lost = sum(difference < 0 for difference in differences)
    n = len(cases)
    plain = all(len(group[case]) == 1 for group in (ours, theirs) for case in cases)
    bounds: Bounds | None
    if n and plain and is_share(ours) and is_share(theirs):
        both = sum(ours[case][0] * theirs[case][0] for case in cases)
        p, bounds = sign_test(won, lost), _paired_shares(int(both), won, lost, n, level)
    else:
        p, bounds = sign_flips(differences), bounds_of(differences, level)
    return Comparison(
        interval(ours, level=level),
        interval(theirs, level=level),
        _difference(fmean(differences) if n else None, bounds, n, level),
        p,
        n,
        won,
        lost,
        n - won - lost,
        len(all_a.keys() ^ all_b.keys()),
        least=2.0 ** (1 - n),
        spread=stdev(differences) if n > 1 else 0.0,
        adjusted=p,
    )


def contrast(a: Sequence[float], b: Sequence[float], *, level: float = LEVEL) -> Comparison:
    """Compare two groups of runs that are independent of each other: nothing pairs one of ``a`` with one of ``b``.

    Of 0 and 1 it is Fisher's exact test, and the interval is method 10 of R. G. Newcombe, Statistics in Medicine 17
    (1998), 873–890; else the values are dealt anew, and the interval is B. L. Welch's, Biometrika 34 (1947), 28–35.
    ``n`` is the smaller group's size. Raises ``ScoreError`` for what is no finite number.
    """
    ours, theirs = interval(a, level=level), interval(b, level=level)
    mine, other = ([value for group in by_case(scores).values() for value in group] for scores in (a, b))
    n = min(len(mine), len(other))
    if not n:
        return Comparison(ours, theirs, _difference(None, None, 0, level), 1.0, 0, unit="run")
    variances = [variance(group) if len(group) > 1 else 0.0 for group in (mine, other)]
    bounds: Bounds | None
    if ours.share and theirs.share:
        p = fisher(int(sum(mine)), len(mine), int(sum(other)), len(other))
        bounds = _shares(ours, theirs, level)
    else:
        p, bounds = rearranged(mine, other), _welch(mine, other, variances, level)
    return Comparison(
        ours,
        theirs,
        _difference(fmean(mine) - fmean(other), bounds, n, level),
        p,
        n,
        least=min(1.0, (2 if len(mine) == len(other) else 1) / math.comb(len(mine) + len(other), n)),
        spread=math.sqrt(sum(variances)),
        adjusted=p,
        unit="run",
    )


def corrected(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Return comparisons with their verdicts corrected for being several, by Holm's method."""
    several = list(comparisons)
    adjusted = holm([comparison.p for comparison in several])
    return [
        replace(comparison, adjusted=p, among=len(several))
        for comparison, p in zip(several, adjusted, strict=True)
    ]


def _difference(mean: float | None, bounds: Bounds | None, n: int, level: float) -> Interval:
    low, high = bounds or (None, None)
    return Interval(mean, low, high, n, n, level=level)


def _paired_shares(both: int, won: int, lost: int, n: int, level: float) -> Bounds:
    neither = n - both - won - lost
    p, q = (both + won) / n, (both + lost) / n
    product = (both + won) * (lost + neither) * (both + lost) * (won + neither)
    together = both * neither - won * lost
    if together > 0:
        together = max(together - n / 2, 0)  # type: ignore[assignment]  # corrected for continuity
    phi = together / math.sqrt(product) if product else 0.0
    return _squared(p, wilson(p, n, level=level), q, wilson(q, n, level=level), phi)


def _shares(a: Interval, b: Interval, level: float) -> Bounds | None:
    if a.mean is None or b.mean is None:
        return None
    return _squared(a.mean, wilson(a.mean, a.n, level=level), b.mean, wilson(b.mean, b.n, level=level), 0.0)


def _squared(p: float, of_p: Bounds, q: float, of_q: Bounds, phi: float) -> Bounds:
    """Square and add how far the bounds of two shares reach, as both papers of Newcombe's do."""
    below, above = p - of_p[0], of_p[1] - p
    other_below, other_above = q - of_q[0], of_q[1] - q
    down = below**2 - 2 * phi * below * other_above + other_above**2
    up = above**2 - 2 * phi * above * other_below + other_below**2
    return p - q - math.sqrt(max(down, 0.0)), p - q + math.sqrt(max(up, 0.0))


def _welch(a: Sequence[float], b: Sequence[float], variances: Sequence[float], level: float) -> Bounds | None:
    if min(len(a), len(b)) < 2:
        return None
    parts = [spread / len(group) for spread, group in zip(variances, (a, b), strict=True)]
    difference = fmean(a) - fmean(b)
    if not sum(parts):
        return difference, difference
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(group) - 1) for part, group in zip(parts, (a, b), strict=True)
    )
    reach = student(1 - (1 - level) / 2, max(math.floor(freedom + 1e-9), 1)) * math.sqrt(sum(parts))
    return difference - reach, difference + reach
