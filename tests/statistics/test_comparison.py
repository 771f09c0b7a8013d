"""Two arms side by side: held to published figures and to SciPy, and to a verdict that never says too much."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nbsession import ScoreError
from nbsession.statistics import compare, contrast, corrected, holm
from nbsession.statistics.significance import fisher, rearranged, sign_flips, sign_test


def test_paired_shares_are_told_by_mcnemars_exact_test_and_newcombes_interval() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), 2635–2650, table III: 36, 12, 2 and 0 pairs, method 10.
    a = [1] * 36 + [1] * 12 + [0] * 2
    b = [1] * 36 + [0] * 12 + [1] * 2
    found = compare(a, b)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    assert found.p == pytest.approx(stats.binomtest(2, 14).pvalue)
    assert (found.won, found.lost, found.tied, found.n) == (12, 2, 36, 50)
    assert found.verdict == "a real difference (+0.20, 95% interval 0.06 to 0.34)"
    assert compare(b, a).verdict == "a real difference (−0.20, 95% interval −0.34 to −0.06)"


def test_independent_shares_are_told_by_fishers_test_and_newcombes_interval() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), 873–890, table II: 56/70 and 48/80, method 10.
    found = contrast([1] * 56 + [0] * 14, [1] * 48 + [0] * 32)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert found.p == pytest.approx(stats.fisher_exact([[56, 14], [48, 32]]).pvalue)


@pytest.mark.parametrize(("a", "b"), [(8, 3), (0, 9), (5, 5), (10, 0)])
def test_fishers_test_is_that_of_scipy(a: int, b: int) -> None:
    theirs = stats.fisher_exact([[a, 10 - a], [b, 12 - b]]).pvalue
    assert fisher(a, 10, b, 12) == pytest.approx(theirs)


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (5, 0), (9, 2), (7, 7), (600, 680), (5000, 5100)])
def test_the_sign_test_is_that_of_scipy(won: int, lost: int) -> None:
    theirs = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert sign_test(won, lost) == pytest.approx(theirs)


@pytest.mark.parametrize("n", [6, 10, 30, 250])
def test_signs_drawn_over_differences_give_the_p_of_scipy(n: int) -> None:
    chance = Random(n)
    values = [chance.gauss(0.3, 1) for _ in range(n)]
    theirs = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=20_000, rng=1
    ).pvalue
    assert sign_flips(values) == pytest.approx(theirs, abs=0.02 if n > 12 else 1e-9)


def test_darwins_maize_gives_the_p_that_fisher_found() -> None:
    # R. A. Fisher, The Design of Experiments (1935), § 21: 863 of 32,768 sign patterns on each side, and half of the equal ones.
    eighths = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert sign_flips(eighths) == pytest.approx(1726 / 32_768, abs=0.01)


@pytest.mark.parametrize("n", [5, 30, 150])
def test_values_dealt_anew_give_the_p_of_scipy(n: int) -> None:
    chance = Random(n)
    a = [chance.gauss(0.4, 1) for _ in range(n)]
    b = [chance.gauss(0, 1) for _ in range(n)]

    def apart(one: Any, other: Any, axis: int) -> Any:
        return np.mean(one, axis=axis) - np.mean(other, axis=axis)

    theirs = stats.permutation_test((a, b), apart, vectorized=True, n_resamples=20_000, rng=1).pvalue
    assert rearranged(a, b) == pytest.approx(theirs, abs=1e-9 if n == 5 else 0.02)


def test_welchs_interval_is_at_least_that_of_scipy_since_it_counts_whole_degrees_of_freedom() -> None:
    a, b = [1.0, 2.0, 3.0, 4.0, 5.5], [2.0, 8.0, 9.0, 12.0, 7.0]
    theirs = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    ours = contrast(a, b).interval
    assert ours.low is not None
    assert ours.high is not None
    assert ours.low <= theirs.low
    assert theirs.high <= ours.high
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.3)


def test_holms_correction_is_that_of_the_published_example() -> None:
    # S. P. Wright, Biometrics 48 (1992), 1005–1013, and R's p.adjust.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_many_comparisons_make_a_find_less_certain() -> None:
    a = [1] * 7 + [0] * 13
    single = compare(a, [0] * 20)
    assert single.kind == "real"
    several = corrected([single, *[compare(a, a)] * 9])
    assert (single.among, several[0].among) == (1, 10)
    assert several[0].kind == "noise"
    assert several[0].verdict.startswith(
        "within the noise (+0.35, 95% interval 0.12 to 0.57, p=0.16 among 10 comparisons); about "
    )
    assert several[1].verdict == "no difference in any of 20 cases"


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ([], [], "too few cases to say (n=0)"),
        ([1], [0], "too few cases to say (n=1); won 1, lost 0, tied 0"),
        ([0.5], [0.5], "too few cases to say (n=1); won 0, lost 0, tied 1"),
        ([1, 1, 1], [0, 0, 0], "too few cases to say (n=3); won 3, lost 0, tied 0"),
        ([9.0] * 5, [1.0] * 5, "too few cases to say (n=5); won 5, lost 0, tied 0"),
        ([9.0] * 6, [1.0] * 6, "a real difference (+8.00, 95% interval 8.00 to 8.00); won 6, lost 0, tied 0"),
        ([0.5] * 9, [0.5] * 9, "no difference in any of 9 cases; won 0, lost 0, tied 9"),
        (
            [1] * 8 + [0] * 12,
            [1] * 5 + [0] * 15,
            (
                "within the noise (+0.15, 95% interval −0.03 to 0.32); about 29 more cases would tell; "
                "won 3, lost 0, tied 17"
            ),
        ),
        (
            [1, 0] * 10,
            [0, 1] * 10,
            "within the noise (0.00, 95% interval −0.40 to 0.40); won 10, lost 10, tied 0",
        ),
    ],
)
def test_the_verdict_says_no_more_than_the_cases_do(a: list[float], b: list[float], said: str) -> None:
    assert str(compare(a, b)) == said


def test_as_many_more_cases_as_were_said_tell_four_times_in_five() -> None:
    chance = Random(4)
    pilot = [chance.gauss(0.5, 2) for _ in range(30)]
    found = compare(pilot, [0.0] * 30)
    assert found.kind == "noise"
    assert found.more is not None
    needed, told = 30 + found.more, 0
    for seed in range(25):  # cases that differ as those of the pilot did
        chance = Random(seed)
        told += compare([chance.choice(pilot) for _ in range(needed)], [0.0] * needed).kind == "real"
    assert told / 25 == pytest.approx(0.8, abs=0.16)


def test_noise_is_seldom_called_a_difference() -> None:
    called = 0
    for seed in range(100):
        chance = Random(seed)
        a, b = ([chance.gauss(0, 1) for _ in range(15)] for _ in "ab")
        called += compare(a, b).kind == "real"
    assert called / 100 <= 0.09


def test_cases_are_paired_by_name_and_what_only_one_has_is_counted_apart() -> None:
    a = {"x": 1.0, "y": 2.0, "z": 3.0}
    found = compare(a, {"z": 1.0, "y": 2.5, "w": 0.0})
    assert (found.n, found.unpaired, found.won, found.lost) == (2, 2, 1, 1)
    assert (found.a.mean, found.b.mean, found.difference) == (2.5, 1.75, 0.75)


def test_the_spread_within_a_case_stands_beside_the_difference() -> None:
    chance = Random(1)
    arms = [{case: [chance.gauss(case, 0.5) for _ in range(4)] for case in range(12)} for _ in "ab"]
    found = compare(*arms)
    assert found.kind == "noise"
    assert found.within == pytest.approx(0.5, abs=0.1)
    assert "; repetitions of a case lie 0.5" in str(found)
    assert found.n == 12


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ([], [1], "too few runs to say (n=0)"),
        ([1.5], [2.5], "too few runs to say (n=1)"),
        ([1, 1, 1], [0, 0, 0], "too few runs to say (n=3)"),
        ([1] * 5, [0] * 5, "a real difference (+1.00, 95% interval 0.39 to 1.00)"),
        ([2.0] * 4, [2.0] * 4, "no difference in any of 4 runs"),
        (
            [1.0, 2, 3, 4, 5],
            [9.0, 9, 3, 5, 6],
            "within the noise (−3.40, 95% interval −6.74 to −0.06, p=0.06); about 4 more runs would tell",
        ),
    ],
)
def test_runs_that_nothing_pairs_are_compared_as_two_groups(
    a: list[float], b: list[float], said: str
) -> None:
    assert str(contrast(a, b)) == said


def test_a_comparison_refuses_what_is_no_number() -> None:
    with pytest.raises(ScoreError, match="the score of case 1 is nan"):
        compare([1.0, float("nan")], [1.0, 2.0])
    with pytest.raises(ScoreError, match="the score of case 0 is None"):
        contrast([1.0], [None])  # type: ignore[list-item]
