"""One session's knobs: who holds them, what they are set to, and what is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from nbsession.errors import KnobError
from nbsession.knobs import Knobs, KnobSpec, Setting


class Place:
    """A holder that counts how often it was marked."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.marks = 0

    def mark(self) -> None:
        self.marks += 1


DEPTH = KnobSpec.of("depth", 3, min=1, max=10)
TONE = KnobSpec.of("tone", "friendly", options=["friendly", "terse"])


@pytest.fixture
def place() -> Place:
    return Place("Planner")


@pytest.fixture
def told() -> list[Setting]:
    return []


@pytest.fixture
def knobs(place: Place, told: list[Setting]) -> Knobs:
    knobs = Knobs(on_set=told.append)
    knobs.declare(DEPTH, place)
    knobs.declare(TONE, place)
    return knobs


def test_a_declared_knob_has_its_default(knobs: Knobs) -> None:
    assert knobs["depth"] == 3
    assert knobs.values() == {"depth": 3, "tone": "friendly"}
    assert (list(knobs), len(knobs), "tone" in knobs, "tome" in knobs) == (["depth", "tone"], 2, True, False)
    assert knobs.get("tome", 7) == 7
    assert list(knobs.specs().values()) == [DEPTH, TONE]


def test_setting_marks_every_holder_and_tells_who_set_it(
    knobs: Knobs, place: Place, told: list[Setting]
) -> None:
    other = Place("Critic")
    knobs.declare(DEPTH, other)
    assert knobs.set("depth", 5.0, by="model") == 5
    assert (place.marks, other.marks) == (1, 1)
    assert [(s.name, s.value, s.previous, s.by) for s in told] == [("depth", 5, 3, "model")]
    assert knobs.history == told
    assert told[0].at > 1.7e9


def test_setting_an_equal_value_does_nothing(knobs: Knobs, place: Place, told: list[Setting]) -> None:
    knobs["depth"] = 3
    assert (place.marks, told) == (0, [])


def test_setting_takes_a_function_of_the_present_value(knobs: Knobs) -> None:
    assert knobs.set("depth", lambda depth: depth + 1) == 4


def test_an_unknown_name_is_answered_with_the_nearest(knobs: Knobs) -> None:
    with pytest.raises(KnobError, match="no knob is named 'dept'; did you mean 'depth'\\?"):
        knobs["dept"] = 3
    with pytest.raises(KnobError, match="no knob is named 'x'; no component declares one"):
        Knobs()["x"]


def test_several_are_set_all_or_none(knobs: Knobs, place: Place, told: list[Setting]) -> None:
    with pytest.raises(KnobError, match="between 1 and 10, got 11; and knob 'tone' must be one of"):
        knobs.set_many({"depth": 11, "tone": "rude"})
    with pytest.raises(KnobError):
        knobs.set_many({"tone": "terse", "depth": 11})
    assert (knobs.values(), place.marks, told) == ({"depth": 3, "tone": "friendly"}, 0, [])
    knobs.set_many({"tone": "terse", "depth": 10}, by="user")
    assert knobs.values() == {"depth": 10, "tone": "terse"}
    assert [setting.by for setting in told] == ["user", "user"]


def test_listeners_see_all_of_several_in_effect(place: Place) -> None:
    seen: list[dict[str, Any]] = []

    def look(_setting: Setting) -> None:
        seen.append(several.values())

    several = Knobs(on_set=look)
    several.declare(DEPTH, place)
    several.declare(TONE, place)
    several.set_many({"depth": 4, "tone": "terse"})
    assert seen == [{"depth": 4, "tone": "terse"}] * 2


def test_reset_goes_back_to_defaults(knobs: Knobs) -> None:
    knobs.set_many({"depth": 5, "tone": "terse"})
    knobs.reset("depth")
    assert knobs.values() == {"depth": 3, "tone": "terse"}
    knobs.reset(by="user")
    assert knobs.values() == {"depth": 3, "tone": "friendly"}
    assert knobs.history[-1].by == "user"
    with pytest.raises(KnobError, match="did you mean 'tone'"):
        knobs.reset("tome")


def test_only_momentary_knobs_go_back_when_an_execution_ends(place: Place) -> None:
    knobs = Knobs()
    knobs.declare(KnobSpec.of("shout", default=False, momentary=True), place)
    knobs.declare(DEPTH, place)
    knobs.set_many({"shout": True, "depth": 5})
    knobs.reset_momentary()
    assert knobs.values() == {"shout": False, "depth": 5}


def test_equal_specs_share_the_knob(knobs: Knobs, place: Place) -> None:
    other = Place("Critic")
    knobs.declare(KnobSpec.of("depth", 3, min=1, max=10), other)
    knobs.check()
    assert knobs.holders("depth") == (place, other)


def test_different_specs_of_one_name_are_an_error_that_names_both_places(knobs: Knobs) -> None:
    knobs.declare(KnobSpec.of("depth", 3, min=1, max=5), Place("Critic"))
    with pytest.raises(KnobError) as told:
        knobs.check()
    assert str(told.value) == (
        "knob 'depth' has two specs that differ in max: one at Planner, one at Critic; "
        "give both the same constraints, or one of them another name"
    )


def test_a_component_may_take_anothers_place_with_a_spec_of_its_own(knobs: Knobs, place: Place) -> None:
    knobs["depth"] = 4
    critic = Place("Critic")
    knobs.declare(KnobSpec.of("depth", 1, min=1, max=5), critic)
    knobs.retract("depth", place)
    knobs.check()
    assert (knobs["depth"], knobs.holders("depth")) == (4, (critic,))


def test_a_knob_that_is_redefined_with_true_for_1_has_true(knobs: Knobs, place: Place) -> None:
    knobs.declare(KnobSpec.of("shown", 1, options=[1, 2]), place)
    knobs.declare(KnobSpec.of("shown", True, options=[True, 2]), place)
    knobs.check()
    assert knobs["shown"] is True
    assert knobs.specs()["shown"].options[0] is True


def test_the_spec_of_those_that_stay_counts_again(knobs: Knobs, place: Place) -> None:
    critic = Place("Critic")
    knobs.declare(KnobSpec.of("depth", 1, min=1, max=5), critic)
    knobs.retract("depth", critic)
    knobs.check()
    assert (knobs.specs()["depth"], knobs["depth"], place.marks) == (DEPTH, 3, 2)


def test_a_value_outlives_its_components(knobs: Knobs, place: Place) -> None:
    knobs["depth"] = 7
    knobs.retract("depth", place)
    assert "depth" not in knobs
    knobs.retract("depth", place)
    knobs.declare(DEPTH, place)
    assert knobs["depth"] == 7


def test_constraints_that_change_take_effect(knobs: Knobs, place: Place, told: list[Setting]) -> None:
    other = Place("Critic")
    knobs.declare(DEPTH, other)
    knobs["depth"] = 8
    narrower = KnobSpec.of("depth", 3, min=1, max=5)
    knobs.declare(narrower, place)
    knobs.declare(narrower, other)
    knobs.check()
    assert knobs["depth"] == 3
    assert knobs.notes == ["knob 'depth' must be between 1 and 5, got 8; it is 3 now"]
    assert [(s.previous, s.value) for s in told] == [(3, 8), (8, 3)]
    assert (place.marks, other.marks) == (1, 2)
    with pytest.raises(KnobError):
        knobs["depth"] = 8


def test_a_value_that_still_fits_stays(knobs: Knobs, place: Place) -> None:
    knobs["depth"] = 8
    knobs.declare(KnobSpec.of("depth", 1, min=0, max=8), place)
    assert (knobs["depth"], knobs.notes) == (8, [])


def test_a_new_default_counts_until_the_knob_was_set(knobs: Knobs, place: Place) -> None:
    knobs.declare(KnobSpec.of("depth", 4, min=1, max=10), place)
    assert knobs["depth"] == 4
    knobs["depth"] = 5
    knobs.declare(KnobSpec.of("depth", 6, min=1, max=10), place)
    assert knobs["depth"] == 5


def test_restored_values_wait_for_their_knobs(place: Place) -> None:
    knobs = Knobs(values={"depth": 9, "tone": "rude"})
    assert len(knobs) == 0
    knobs.declare(DEPTH, place)
    knobs.declare(TONE, place)
    assert knobs.values() == {"depth": 9, "tone": "friendly"}
    assert knobs.notes == ["knob 'tone' must be one of 'friendly', 'terse', got 'rude'; it is 'friendly' now"]


def test_an_overlay_has_other_values_and_leaves_the_knobs_alone(
    knobs: Knobs, place: Place, told: list[Setting]
) -> None:
    overlay = knobs.overlay({"depth": 7.0})
    assert overlay.values() == {"depth": 7, "tone": "friendly"}
    assert (knobs["depth"], place.marks, told) == (3, 0, [])


def test_what_is_declared_in_an_overlay_stays_there(knobs: Knobs, place: Place) -> None:
    overlay = knobs.overlay({"depth": 7})
    overlay.declare(KnobSpec.of("depth", 2, min=1, max=5), Place("Planner"))
    overlay.declare(KnobSpec.of("extra", default=True), Place("Planner"))
    assert overlay.values() == {"depth": 2, "tone": "friendly", "extra": True}
    assert overlay.notes == ["knob 'depth' must be between 1 and 5, got 7; it is 2 now"]
    assert knobs.values() == {"depth": 3, "tone": "friendly"}
    assert (knobs.notes, knobs.specs()["depth"]) == ([], DEPTH)


def test_an_overlay_is_validated_and_cannot_be_set(knobs: Knobs) -> None:
    with pytest.raises(KnobError, match="between 1 and 10"):
        knobs.overlay({"depth": 0})
    with pytest.raises(KnobError, match="did you mean 'depth'"):
        knobs.overlay({"dept": 4})
    with pytest.raises(KnobError, match="preview"):
        knobs.overlay({})["depth"] = 4


def test_an_overlay_takes_values_of_knobs_that_went(knobs: Knobs, place: Place) -> None:
    knobs["depth"] = 8
    knobs.retract("depth", place)
    overlay = knobs.overlay({"depth": 6, "tone": "terse"})
    assert overlay.values() == {"tone": "terse"}
    overlay.declare(DEPTH, place)
    assert overlay["depth"] == 6


def test_history_and_notes_are_bounded(knobs: Knobs, place: Place) -> None:
    for turn in range(1500):
        knobs["depth"] = 1 + turn % 10
    assert len(knobs.history) == 1000
    for turn in range(150):
        knobs["depth"] = 1 + turn % 2
        knobs.declare(KnobSpec.of("depth", 3, min=3, max=10), place)
        knobs.declare(DEPTH, place)
    assert len(knobs.notes) == 100


def test_knobs_show_their_values(knobs: Knobs) -> None:
    assert repr(knobs) == "Knobs(depth=3, tone='friendly')"
