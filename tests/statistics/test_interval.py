"""Means with intervals, held to published figures, to SciPy, and to what they claim: that they cover."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nbsession import ScoreError
from nbsession.statistics import figure, interval, signed
from nbsession.statistics.interval import bounds_of, student, wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [  # R. G. Newcombe, Statistics in Medicine 17 (1998), 857–872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_of_a_share_is_wilsons(hits: int, n: int, low: float, high: float) -> None:
    found = interval([True] * hits + [False] * (n - hits))
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.share
    ours = wilson(hits / n, n, level=0.9)
    theirs = stats.binomtest(hits, n).proportion_ci(0.9, "wilson")
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30, 199, 200])
@pytest.mark.parametrize("probability", [0.9, 0.975, 0.9995])
def test_quantiles_of_student_are_those_of_scipy(freedom: int, probability: float) -> None:
    assert student(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-9)


def test_the_bootstrap_is_the_percentile_one_of_scipy_at_the_widened_level() -> None:
    chance = Random(5)
    values = [chance.expovariate(1) for _ in range(25)]
    tail = float(stats.norm.cdf(-np.sqrt(25 / 24) * stats.t.ppf(0.975, 24)))
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=1 - 2 * tail, method="percentile", n_resamples=20_000, rng=1
    ).confidence_interval
    assert bounds_of(values) == pytest.approx((theirs.low, theirs.high), abs=0.06)
    assert bounds_of(values) == bounds_of(list(values))  # the same from the same


@pytest.mark.parametrize("n", [3, 5, 6, 12, 25])
def test_nineteen_of_twenty_intervals_hold_the_true_mean(n: int) -> None:
    held = 0
    for seed in range(150):
        chance = Random(1000 * n + seed)
        low, high = bounds_of([chance.gauss(7, 2) for _ in range(n)]) or (0, 0)
        held += low <= 7 <= high
    assert held / 150 == pytest.approx(0.95, abs=0.045)


def test_many_values_get_the_interval_of_student_and_take_no_time() -> None:
    chance = Random(2)
    values = [chance.random() for _ in range(10_000)]
    theirs = stats.t.interval(0.95, 9_999, np.mean(values), stats.sem(values))
    assert bounds_of(values) == pytest.approx(theirs, rel=1e-4)


def test_repetitions_do_not_pass_for_cases() -> None:
    chance = Random(8)
    cases = {case: chance.random() for case in range(10)}
    once = interval(cases)
    thrice = interval({case: [value] * 3 for case, value in cases.items()})
    assert (thrice.mean, thrice.low, thrice.high) == pytest.approx((once.mean, once.low, once.high))
    assert (thrice.n, thrice.cases, thrice.within) == (30, 10, 0.0)
    shares = interval({case: [case < 6] * 3 for case in range(10)})
    assert (shares.low, shares.high) == pytest.approx(wilson(0.6, 10), abs=0.02)
    assert str(shares) == "0.60 (0.31 to 0.83, n=30 in 10 cases)"


def test_repetitions_that_differ_freely_are_worth_as_much_as_cases() -> None:
    shares = interval({case: [1, 0] for case in range(10)})
    assert (shares.low, shares.high) == pytest.approx(wilson(0.5, 20))
    assert shares.within == pytest.approx(0.5**0.5)


def test_of_one_case_alone_the_repetitions_are_what_varies() -> None:
    found = interval({"only": [1.0, 2.0, 3.0, 4.0]})
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 3, 2.5, stats.sem([1, 2, 3, 4])))
    assert (found.n, found.cases) == (4, 1)


def test_a_case_counts_once_however_often_it_was_repeated() -> None:
    assert interval({"a": [0.0, 0.0, 0.0, 0.0], "b": [0.5]}).mean == 0.25


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "no values"),
        ({}, "no values"),
        ({"a": []}, "no values"),
        ([3.5], "3.50 (n=1)"),
        ([True], "1.00 (0.21 to 1.00, n=1)"),
        ([0.7] * 8, "0.70 (0.70 to 0.70, n=8)"),
        ([0, 0, 0], "0.00 (0.00 to 0.56, n=3)"),
        ([1200.0, 1300.0], "1,250 (615 to 1,885, n=2)"),
        (np.array([True, False]), "0.50 (0.09 to 0.91, n=2)"),
        ({"a": np.array([1.0, 2.0])}, "1.50 (−4.85 to 7.85, n=2 in 1 case)"),
    ],
)
def test_few_and_equal_values_are_said_plainly(values: Any, said: str) -> None:
    assert str(interval(values)) == said


@pytest.mark.parametrize(
    "bad", [float("nan"), float("inf"), None, "0.5", 1j, [[1]], 10**309, pytest.param(10**5000, id="huge")]
)
def test_what_is_no_finite_number_is_refused_with_its_case(bad: Any) -> None:
    with pytest.raises(ScoreError, match=r"the score of case 'q2' is .*; a score is a finite number"):
        interval({"q1": [1.0], "q2": [0.5, bad]})


@pytest.mark.parametrize("bad", ["0101", 3, None])
def test_what_is_no_list_is_refused(bad: Any) -> None:
    with pytest.raises(ScoreError, match="scores are a list, or lists by case"):
        interval(bad)


def test_figures_have_as_many_digits_as_say_something() -> None:
    assert [figure(value) for value in (0, 0.125, -3.456, 0.0004, 12.34, 1234.5)] == [
        "0.00",
        "0.12",
        "−3.46",
        "0.0004",
        "12.3",
        "1,234",
    ]
    assert [signed(value) for value in (0.5, 0.0, -0.5)] == ["+0.50", "0.00", "−0.50"]
