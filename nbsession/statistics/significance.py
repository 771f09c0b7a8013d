"""How often chance alone gives a difference as large as the one seen: exact where there are few values."""

from __future__ import annotations

import itertools
import math
import operator
from random import Random
from statistics import NormalDist, fmean, variance
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SEED = 11
DRAWS = 2000
"""Draws where all rearrangements are too many; the smallest p is then 1 in 2,001."""
MOST = 200
"""Values beyond which a mean is near enough to normal that nothing needs to be drawn."""
_EXACT = 5000  # rearrangements that are all tried
_SLACK = 1e-9  # what rounding may part of sums that are equal


def sign_test(won: int, lost: int) -> float:
    """Return the exact two-sided p of wins and losses at even odds; of pairs of 0 and 1 it is McNemar's exact test.

    Q. McNemar, Psychometrika 12 (1947), 153–157; the exact form: F. Mosteller, Biometrics 8 (1952), 220–226.
    """
    n = won + lost
    term, tail = 1, 0
    for k in range(min(won, lost) + 1):
        tail += term
        term = term * (n - k) // (k + 1)
    return float(min(1.0, 2 * tail / (1 << n)))


def sign_flips(differences: Sequence[float]) -> float:
    """Return the two-sided p of paired differences: how often signs drawn by chance give a sum as large.

    R. A. Fisher, The Design of Experiments (1935), § 21. All signs are tried of up to 12 differences, else 2,000 are drawn;
    beyond 200 it is the normal approximation.
    """
    as_large: int
    moved = [abs(difference) for difference in differences if difference]
    seen = abs(math.fsum(differences))
    if not moved:
        return 1.0
    if len(differences) > MOST:
        return normal_p(fmean(differences), math.sqrt(variance(differences) / len(differences)))
    least = seen - _SLACK * math.fsum(moved)
    if 1 << len(moved) <= _EXACT:
        signs = itertools.product((1, -1), repeat=len(moved))
        as_large = sum(abs(sum(map(operator.mul, drawn, moved))) >= least for drawn in signs)
        return as_large / (1 << len(moved))
    chance = Random(SEED)  # noqa: S311  # no secret: equal values are to give equal figures
    as_large = sum(
        abs(sum(map(operator.mul, chance.choices((1, -1), k=len(moved)), moved))) >= least
        for _ in range(DRAWS)
    )
    return (as_large + 1) / (DRAWS + 1)


def fisher(a: int, of_a: int, b: int, of_b: int) -> float:
    """Return the two-sided p of two independent shares by Fisher's exact test.

    R. A. Fisher, Statistical Methods for Research Workers, 5th ed. (1934), § 21.02; tables at most as likely as the one seen count.
    """
    hits, n = a + b, of_a + of_b
    ways = {
        k: math.comb(of_a, k) * math.comb(of_b, hits - k)
        for k in range(max(0, hits - of_b), min(of_a, hits) + 1)
    }
    return min(1.0, sum(way for way in ways.values() if way <= ways[a]) / math.comb(n, hits))


def rearranged(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the two-sided p of two independent groups: how often values dealt anew give means as far apart.

    E. J. G. Pitman, Supplement to the Journal of the Royal Statistical Society 4 (1937), 119–130. All deals are tried
    where they are at most 5,000, else 2,000 are drawn; beyond 200 values it is the normal approximation.
    """
    values = [*a, *b]
    if len(set(values)) < 2:
        return 1.0
    if len(values) > MOST:
        error = math.sqrt(sum(variance(group) / len(group) for group in (a, b) if len(group) > 1))
        return normal_p(fmean(a) - fmean(b), error)
    total, middle = math.fsum(values), math.fsum(values) * len(a) / len(values)
    least = abs(math.fsum(a) - middle) - _SLACK * (abs(total) + math.fsum(map(abs, values)))
    if (deals := math.comb(len(values), len(a))) <= _EXACT:
        dealt = itertools.combinations(values, len(a))
        return sum(abs(sum(drawn) - middle) >= least for drawn in dealt) / deals
    chance = Random(SEED)  # noqa: S311  # no secret: equal values are to give equal figures
    as_large = sum(abs(sum(chance.sample(values, len(a))) - middle) >= least for _ in range(DRAWS))
    return (as_large + 1) / (DRAWS + 1)


def normal_p(difference: float, error: float) -> float:
    """Return the two-sided p of a difference by its standard error."""
    if not error:
        return 0.0 if difference else 1.0
    return 2 * NormalDist().cdf(-abs(difference) / error)


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values corrected for being several, in their order: the chance that any true zero is called a difference.

    S. Holm, Scandinavian Journal of Statistics 6 (1979), 65–70.
    """
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = highest
    return adjusted
