"""Which name was probably meant."""

import pytest

from nbsession.errors import did_you_mean, nearest
from nbsession.notebook.forms import CELL


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("bugdet", ["quiet", "budget"], "budget"),  # two neighbours swapped are one slip
        ("--modle", ["--model", "--mode"], "--model"),
        ("nwe", ["use", "new"], "new"),
        ("serach", ["research", "search"], "search"),
        ("dept", ["depth", "tone"], "depth"),
        ("tonee", ["tone"], "tone"),
        ("Tone", ["tune", "tone"], "tone"),
        ("hist", ["list", "history"], "history"),  # what it is the beginning of, before what is a slip away
        ("mode", ["model", "modes", "mode"], "mode"),
        ("max_tokens", ["max-ticks", "max-tokens"], "max-tokens"),
        ("temp", ["effort", "temperature"], "temperature"),  # the beginning of one name only
    ],
)
def test_the_name_with_the_fewest_slips_is_meant(name: str, known: list[str], meant: str) -> None:
    assert nearest(name, known) == meant
    assert did_you_mean(name, known) == f"; did you mean {meant!r}?"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("--bugdet", ["--quiet", "--max-cost"]),
        ("--id", ["--as"]),  # dashes are no letters in common
        ("max", ["max-ticks", "max-cost"]),
        ("wizard", ["simulated"]),
        ("", ["tone"]),
        ("x" * 1_000_000, ["x"]),
    ],
)
def test_what_is_far_from_every_name_is_told_all_of_them(name: str, known: list[str]) -> None:
    assert nearest(name, known) is None
    assert did_you_mean(name, known) == "; known: " + ", ".join(map(repr, known))


def test_a_budget_among_the_cells_options_is_told_those_there_are_and_no_quiet() -> None:
    hint = did_you_mean("--bugdet", [option.name for option in CELL.options])
    assert "did you mean" not in hint
    assert "'--max-cost'" in hint


def test_of_many_names_the_first_are_told_and_that_there_are_more() -> None:
    names = [f"name_{letter}" for letter in "abcdefghijklm"]
    assert did_you_mean("wizard", names) == "; known: " + ", ".join(map(repr, names[:12])) + ", …"
    assert did_you_mean("wizard", names[:12]).endswith("'name_l'")


def test_where_nothing_is_known_nothing_is_said() -> None:
    assert did_you_mean("tone", []) == ""
