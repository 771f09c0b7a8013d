"""Means with the bounds between which the true one lies: Wilson's for shares, the bootstrap for all else."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import NormalDist, fmean, stdev, variance
from typing import Any, TypeAlias, TypeGuard

from nbsession.errors import ScoreError
from nbsession.statistics.significance import MOST, SEED
from nbsession.statistics.words import figure, shown

Scores: TypeAlias = Sequence[float] | Mapping[Any, float | Sequence[float]]
"""Values, each of a case of its own; or by case, of which each may have several, from repetitions."""

Bounds: TypeAlias = tuple[float, float]

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True, slots=True, repr=False)
class Interval:
    """A mean, and the bounds between which the true one lies, at ``level`` of all such intervals.

    ``n`` values in ``cases`` cases; each case counts once, however often it was repeated. ``mean`` is ``None`` of no
    values, ``low`` and ``high`` are where nothing can be said, as of a single one. ``share`` says that all values are 0 or 1.
    ``within`` is how far repetitions of a case lie apart: their standard deviation, ``None`` without any.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    cases: int
    share: bool = False
    within: float | None = None
    level: float = LEVEL

    def __str__(self) -> str:
        if self.mean is None:
            return "no values"
        bounds = (
            "" if self.low is None or self.high is None else f"{figure(self.low)} to {figure(self.high)}, "
        )
        repeated = f" in {self.cases} case{'s' * (self.cases != 1)}" if self.cases < self.n else ""
        return f"{figure(self.mean)} ({bounds}n={self.n}{repeated})"

    __repr__ = __str__


def interval(scores: Scores, *, level: float = LEVEL) -> Interval:
    """Return the mean with its interval: Wilson's where all values are 0 or 1, else by the bootstrap.

    Where cases have several values, they are what is drawn, so that repetitions do not pass for cases; with one
    case alone it is the repetitions. Raises ``ScoreError`` for what is no finite number.
    """
    groups = by_case(scores)
    n = sum(map(len, groups.values()))
    if not n:
        return Interval(None, None, None, 0, 0, level=level)
    share, spread = is_share(groups), within(groups)
    drawn = (
        list(groups.values())
        if len(groups) > 1
        else [[value] for group in groups.values() for value in group]
    )
    means = [fmean(values) for values in drawn]
    mean = fmean(means)
    bounds = wilson(mean, _effective(drawn, mean), level=level) if share else bounds_of(means, level)
    low, high = bounds or (None, None)
    return Interval(mean, low, high, n, len(groups), share, spread, level)


def by_case(scores: Scores) -> dict[Any, list[float]]:
    """Return the values by case, as numbers; those without any are left out."""
    if not _several(scores):
        raise ScoreError(f"scores are a list, or lists by case, got {type(scores).__name__}: {scores!r:.80}")
    groups: dict[Any, list[float]] = {}
    for case, given in scores.items() if isinstance(scores, Mapping) else enumerate(scores):
        repeated = given if isinstance(scores, Mapping) and _several(given) else (given,)
        values = [_number(case, value) for value in repeated]
        if values:
            groups[case] = values
    return groups


def number(given: Any) -> float | None:
    """Return a truth or a finite number, NumPy's too, as a float; ``None`` for anything else."""
    if hasattr(given, "item") and getattr(given, "shape", None) == ():
        given = given.item()
    if not isinstance(given, numbers.Real):
        return None
    try:
        found = float(given)
    except OverflowError:  # of a whole number
        return None
    return found if math.isfinite(found) else None


def is_share(groups: Mapping[Any, Sequence[float]]) -> bool:
    """Say whether all values are 0 or 1."""
    return all(value in (0, 1) for values in groups.values() for value in values)


def within(groups: Mapping[Any, Sequence[float]]) -> float | None:
    """Return the standard deviation of a case's repetitions, pooled over the cases; ``None`` without any."""
    freedom = sum(len(values) - 1 for values in groups.values())
    if not freedom:
        return None
    squares = sum(variance(values) * (len(values) - 1) for values in groups.values() if len(values) > 1)
    return math.sqrt(squares / freedom)


def wilson(share: float, n: float, *, level: float = LEVEL) -> Bounds:
    """Return the score interval of a share of ``n``, without correction for continuity.

    E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209–212; method 3 of R. G. Newcombe,
    Statistics in Medicine 17 (1998), 857–872.
    """
    z = _z(level)
    middle = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (middle - reach) / scale, (middle + reach) / scale
    return (0.0 if share == 0 else max(low, 0.0)), (1.0 if share == 1 else min(high, 1.0))


def bounds_of(means: Sequence[float], level: float = LEVEL) -> Bounds | None:
    """Return the interval of the mean of independent values by the bootstrap; ``None`` of fewer than two.

    The percentile interval, widened as T. Hesterberg says, The American Statistician 69 (2015), 371–386, since it is
    too narrow for few values. Draws cannot leave the range of the values, which is too little of fewer than six
    (it has the true median with 1 − 2^(1−n)): these get Student's, and so do more than 200, where both agree.
    """
    n = len(means)
    if n < 2:
        return None
    quantile = student(1 - (1 - level) / 2, n - 1)
    if n > MOST or 1 - 2.0 ** (1 - n) < level:
        reach = quantile * stdev(means) / math.sqrt(n)
        return fmean(means) - reach, fmean(means) + reach
    tail = NormalDist().cdf(-math.sqrt(n / (n - 1)) * quantile)
    chance = Random(SEED)  # noqa: S311  # no secret: equal values are to give equal figures
    drawn = sorted(math.fsum(chance.choices(means, k=n)) / n for _ in range(RESAMPLES))
    last = RESAMPLES - 1
    return drawn[math.floor(tail * last)], drawn[math.ceil((1 - tail) * last)]


def student(probability: float, freedom: int) -> float:
    """Return a quantile (above one half) of Student's t distribution; beyond 200 degrees of freedom the normal one."""
    if freedom > MOST:
        return NormalDist().inv_cdf(probability)
    low, high = 0.0, 1.0
    while _student_cdf(high, freedom) < probability:
        low, high = high, high * 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_cdf(middle, freedom) < probability else (low, middle)
    return high


def _student_cdf(t: float, freedom: int) -> float:
    """Sum the finite series for whole degrees of freedom: Abramowitz and Stegun (1964), 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term, series = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, freedom, 2):
        series += term
        term *= cosine * cosine * k / (k + 1)
    inside = 2 / math.pi * (angle + math.sin(angle) * series) if odd else math.sin(angle) * series
    return 0.5 + inside / 2


def _effective(groups: Sequence[Sequence[float]], share: float) -> float:
    """Say how many independent values some repeated cases are worth: between their number and that of the values.

    E. L. Korn and B. I. Graubard, Survey Methodology 24 (1998), 193–201.
    """
    n, cases = sum(map(len, groups)), len(groups)
    if n == cases or share in (0, 1):
        return cases
    error = variance(map(fmean, groups)) / cases
    return min(max(share * (1 - share) / error, cases), n) if error else n


def _several(given: Any) -> TypeGuard[Iterable[Any]]:
    """Say whether something is a list, an array, or a column of a data frame."""
    return isinstance(given, Iterable) and not isinstance(given, str)


def _number(case: Any, value: Any) -> float:
    found = number(value)
    if found is None:
        raise ScoreError(
            f"the score of case {case!r} is {shown(value)}; a score is a finite number or a bool: leave out what has none"
        )
    return found


def _z(level: float) -> float:
    return NormalDist().inv_cdf(1 - (1 - level) / 2)
