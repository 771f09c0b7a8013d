"""What a knob's spec takes, refuses and says."""

from __future__ import annotations

import enum
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbsession.errors import KnobError
from nbsession.knobs import KnobSpec


class Tone(enum.StrEnum):
    friendly = "friendly"
    terse = "terse"


@pytest.mark.parametrize(("default", "kind"), [(True, "bool"), (3, "int"), (0.5, "float"), ("warm", "text")])
def test_the_type_is_the_defaults(default: Any, kind: str) -> None:
    assert KnobSpec.of("x", default).kind == kind


def test_options_make_a_choice() -> None:
    spec = KnobSpec.of("size", 2, options={"small": 1, "large": 2})
    assert (spec.kind, spec.options, spec.labels) == ("choice", (1, 2), ("small", "large"))


def test_a_number_outside_its_range_is_told_the_range() -> None:
    spec = KnobSpec.of("depth", 3, min=1, max=10)
    with pytest.raises(KnobError) as told:
        spec.check(11)
    assert str(told.value) == "knob 'depth' must be between 1 and 10, got 11"
    assert told.value.knob == "depth"


@pytest.mark.parametrize(
    ("limits", "value", "told"),
    [({"min": 1}, 0, "must be at least 1, got 0"), ({"max": 9}, 10, "must be at most 9, got 10")],
)
def test_a_range_open_at_one_end_says_so(limits: dict[str, Any], value: int, told: str) -> None:
    with pytest.raises(KnobError, match=told):
        KnobSpec.of("depth", 5, **limits).check(value)


def test_a_choice_refuses_other_values_and_names_the_nearest() -> None:
    spec = KnobSpec.of("tone", "friendly", options=["friendly", "terse"])
    with pytest.raises(KnobError) as told:
        spec.check("rude")
    assert str(told.value) == "knob 'tone' must be one of 'friendly', 'terse', got 'rude'"
    with pytest.raises(KnobError, match="got 'tersee'; did you mean 'terse'\\?"):
        spec.check("tersee")


def test_a_choice_returns_the_option_itself() -> None:
    assert KnobSpec.of("tone", Tone.friendly, options=list(Tone)).check("terse") is Tone.terse


def test_a_whole_number_takes_a_whole_float_and_nothing_else() -> None:
    spec = KnobSpec.of("depth", 3)
    taken = spec.check(5.0)
    assert (taken, type(taken)) == (5, int)
    for value in (5.5, True, "5", None, float("nan"), [5]):
        with pytest.raises(KnobError, match="must be a whole number, got"):
            spec.check(value)


def test_a_float_takes_whole_numbers_and_refuses_what_is_not_finite() -> None:
    spec = KnobSpec.of("warmth", 0.5)
    taken = spec.check(1)
    assert (taken, type(taken)) == (1.0, float)
    for value in (float("inf"), float("nan"), False, "0.5"):
        with pytest.raises(KnobError, match="must be a number"):
            spec.check(value)


def test_a_bool_is_not_a_number_and_no_number_a_bool() -> None:
    assert KnobSpec.of("loud", default=False).check(True) is True
    with pytest.raises(KnobError, match="knob 'loud' must be true or false, got 1"):
        KnobSpec.of("loud", default=False).check(1)
    with pytest.raises(KnobError, match="must be one of 1, 2, got True"):
        KnobSpec.of("n", 1, options=[1, 2]).check(True)


def test_steps_count_from_the_minimum() -> None:
    spec = KnobSpec.of("depth", 3, min=1, max=10, step=2)
    assert spec.check(9) == 9
    with pytest.raises(KnobError, match="must be a step of 2 from 1, got 4; 3 is one"):
        spec.check(4)


@given(st.integers(0, 1000))
def test_a_value_within_rounding_error_of_a_step_becomes_the_step(steps: int) -> None:
    spec = KnobSpec.of("warmth", 0.0, min=0.0, max=100.0, step=0.1)
    summed = sum([0.1] * steps)
    assert spec.check(summed) == steps / 10


def test_text_is_bounded_and_matched_in_full() -> None:
    spec = KnobSpec.of("name", "ab", max_length=4, pattern="[a-z]+")
    assert spec.check("abc") == "abc"
    with pytest.raises(KnobError, match="must be at most 4 characters long, got 5"):
        spec.check("abcde")
    with pytest.raises(KnobError, match=re.escape("must match '[a-z]+' in full, got 'ab1'")):
        spec.check("ab1")


def odd(value: int) -> bool:
    return value % 2 == 1


def complain(value: int) -> str | None:
    return None if value % 2 else "it is even"


def refuse(value: int) -> None:
    if value % 2 == 0:
        raise ValueError("no even ones")


@pytest.mark.parametrize(
    ("validate", "told"),
    [(odd, "refused 4"), (complain, "refused 4: it is even"), (refuse, "refused 4: no even ones")],
)
def test_a_validate_function_refuses_by_false_a_complaint_or_a_value_error(validate: Any, told: str) -> None:
    spec = KnobSpec.of("n", 3, validate=validate)
    assert spec.check(5) == 5
    with pytest.raises(KnobError, match=f"^knob 'n' {told}$"):
        spec.check(4)


def test_a_validate_function_that_breaks_is_told_as_such() -> None:
    def broken(value: str) -> bool:
        return value != "b" or bool(1 / 0)

    with pytest.raises(KnobError, match="its validate raised ZeroDivisionError"):
        KnobSpec.of("x", "a", validate=broken).check("b")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"default": 11, "min": 1, "max": 10}, "must be between 1 and 10, got 11 .its default.; change"),
        ({"default": 3, "min": 5, "max": 1}, "has min 5 above max 1"),
        ({"default": 3, "step": 0}, "needs a step above 0"),
        (
            {"default": 3, "step": 0.5},
            "is a whole number and step=0.5 is not; write the default with a point",
        ),
        ({"default": 3, "max": "10"}, "needs a number as max, got '10'"),
        ({"default": True, "min": 0}, "is a bool and has no min, got min=0"),
        ({"default": 3, "pattern": "x"}, "is a number and has no pattern"),
        ({"default": "a", "options": ["a"], "max_length": 3}, "is a choice of options and has no max_length"),
        ({"default": "c", "options": ["a", "b"]}, "must be one of 'a', 'b', got 'c' .its default."),
        ({"default": "a", "options": []}, "has no options"),
        ({"default": "a", "options": "abc"}, "needs a list of options, got 'abc'"),
        ({"default": "a", "options": ["a", "a"]}, "has the option 'a' twice"),
        ({"default": "a", "options": ["a", ("b",)]}, "which cannot be kept as JSON"),
        ({"default": "a", "options": {1: "a"}}, "labels are text"),
        ({"default": "a", "pattern": "["}, "is no regular expression"),
        ({"default": "a", "max_length": 0}, "needs a whole number above 0 as max_length"),
        ({"default": ["a"]}, "cannot have .'a'. .list. as its default"),
        ({"default": None}, "or give options="),
        ({"default": "a", "validate": "not a function"}, "needs a function as validate"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(KnobError, match=f"^knob 'x' .*{told}"):
        KnobSpec.of("x", **arguments)


def test_a_name_is_one_word() -> None:
    with pytest.raises(KnobError, match="without blanks"):
        KnobSpec.of("two words", 1)


def test_specs_are_equal_by_value() -> None:
    assert KnobSpec.of("x", 1, min=0) == KnobSpec.of("x", 1, min=0)
    assert KnobSpec.of("x", 1, min=0) != KnobSpec.of("x", 1, min=1)
    assert KnobSpec.of("x", 1) != KnobSpec.of("x", 1.0)
    assert hash(KnobSpec.of("x", "a", options=["a", "b"])) == hash(KnobSpec.of("x", "a", options=["a", "b"]))


def test_a_validate_function_made_anew_over_the_same_objects_is_the_same() -> None:
    def spec(limit: list[int]) -> KnobSpec:
        return KnobSpec.of("x", 1, validate=lambda value: value in limit)

    limit = [1]
    assert spec(limit) == spec(limit)
    assert spec(limit) != spec([1])
    assert spec(limit).differences(spec([1])) == ["validate"]


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), (1, 1.0)])
def test_options_and_a_default_that_are_written_otherwise_are_others(one: Any, other: Any) -> None:
    assert KnobSpec.of("x", one, options=[one]) != KnobSpec.of("x", other, options=[other])
    both = [0, False, 1, True]
    assert KnobSpec.of("x", 1, options=both).differences(KnobSpec.of("x", True, options=both)) == ["default"]
    assert KnobSpec.of("x", one, options=[one]) == KnobSpec.of("x", one, options=[one])


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        (
            KnobSpec.of("tone", "friendly", options=["friendly", "terse"], description="how it speaks"),
            'tone = "friendly" (one of "friendly", "terse"): how it speaks',
        ),
        (KnobSpec.of("depth", 3, min=1, max=10), "depth = 3 (whole number from 1 to 10)"),
        (KnobSpec.of("t", 0.5, min=0, step=0.1), "t = 0.5 (number from 0.0, in steps of 0.1)"),
        (KnobSpec.of("t", 0.5, max=1), "t = 0.5 (number up to 1.0)"),
        (KnobSpec.of("loud", default=True), "loud = true (true or false)"),
        (
            KnobSpec.of("name", "Zoë", max_length=2000, pattern=".+"),
            'name = "Zoë" (text, at most 2,000 characters, matching .+)',
        ),
    ],
)
def test_a_spec_describes_itself_in_a_line(spec: KnobSpec, line: str) -> None:
    assert spec.describe() == line


def test_a_description_shows_the_value_given() -> None:
    assert KnobSpec.of("loud", default=True).describe(False) == "loud = false (true or false)"


@pytest.mark.parametrize(
    ("spec", "schema"),
    [
        (
            KnobSpec.of("d", 3, min=1, max=9, step=2),
            {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
        ),
        (KnobSpec.of("d", 4, step=2), {"type": "integer", "multipleOf": 2, "default": 4}),
        (
            KnobSpec.of("t", 0.5, description="warm"),
            {"type": "number", "description": "warm", "default": 0.5},
        ),
        (KnobSpec.of("b", default=True), {"type": "boolean", "default": True}),
        (KnobSpec.of("c", 1, options=[1, "a"]), {"enum": [1, "a"], "default": 1}),
        (
            KnobSpec.of("s", "a", max_length=3, pattern="a|b"),
            {"type": "string", "maxLength": 3, "pattern": "^(?:a|b)$", "default": "a"},
        ),
    ],
)
def test_a_schema_says_what_the_value_may_be(spec: KnobSpec, schema: dict[str, Any]) -> None:
    assert spec.schema() == schema
