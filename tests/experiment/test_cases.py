"""Cases and arms: where they are read from, what they are called, and what is refused before anything is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from nbsession import KnobError, ModelError, SessionError
from nbsession.experiment import Case, Experiment
from nbsession.experiment.arm import arms_of
from nbsession.experiment.case import cases_of
from tests.support.quiz import Teacher, quiz

if TYPE_CHECKING:
    from pathlib import Path


def names(**options: Any) -> list[str]:
    return [arm.name for arm in arms_of(**options)]


def test_a_list_may_have_messages_of_any_form() -> None:
    given = [
        "one",
        Case("two", "zwei"),
        {"role": "user", "content": "three"},
        {"message": "four", "level": 2},
    ]
    read = cases_of(given)
    assert [str(case) for case in read] == ["one", "two", "three", "four"]
    assert [case.expected for case in read] == [None, "zwei", None, None]
    assert read[3].metadata == {"level": 2}


def test_a_case_without_an_id_is_named_by_its_message_so_that_it_keeps_its_name() -> None:
    one, two = cases_of(["one", "two"])
    assert [case.id for case in cases_of(["zero", Case("two", "zwei"), "one"])][1:] == [two.id, one.id]
    assert [case.id for case in cases_of(["one", "one"])] == [one.id, f"{one.id}-2"]


def test_a_data_frame_gives_its_other_columns_as_metadata() -> None:
    frame = pd.DataFrame(
        {"message": ["a", "b"], "expected": ["x", None], "id": [1, 2], "level": [3.0, float("nan")]}
    )
    assert cases_of(frame) == (Case("a", "x", "1", {"level": 3.0}), Case("b", None, "2", {}))


def test_lines_of_json_are_read(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(
        '{"message": "a", "expected": "x", "id": "first", "metadata": {"k": 1}, "level": 2}\n\n"b"\n'
    )
    first, second = cases_of(path)
    assert first == Case("a", "x", "first", {"k": 1, "level": 2})
    assert second.message == "b"
    assert cases_of(str(path)) == (first, second)


def test_lines_of_openais_evals_are_read_with_what_the_system_said_in_front(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    sample = {
        "input": [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Capital?"}],
        "ideal": ["Rome", "Roma"],
    }
    few = {
        "input": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ],
        "ideal": "d",
    }
    path.write_text("\n".join(map(json.dumps, [sample, few])))
    first, second = cases_of(path)
    assert (str(first), first.expected) == ("Answer briefly.", ["Rome", "Roma"])
    assert first.message == [{"role": "user", "content": "Answer briefly.\n\nCapital?"}]
    assert [message["role"] for message in second.message] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"message": "b"', "cases.jsonl, line 2 is no JSON"),
        ("[1, 2]", "cases.jsonl, line 2 has a list"),
        ('{"question": "b"}', "cases.jsonl, line 2 has no 'message' .* but 'question'"),
        ('{"message": ""}', "cases.jsonl, line 2 cannot be sent: the message is empty"),
        ('{"message": "b", "metadata": 3}', "cases.jsonl, line 2 has metadata that is no mapping: 3"),
    ],
)
def test_a_broken_line_is_told_with_its_number(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(f'{{"message": "a"}}\n{line}\n')
    with pytest.raises(SessionError, match=said):
        Experiment(quiz(), path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "there are no cases"),
        ("nowhere.jsonl", "there is no file of cases 'nowhere.jsonl'"),
        (3, "cases are a list of messages"),
        ([Case("a", id="x"), Case("b", id="x")], "two cases have the id 'x'"),
        ([Case("a", id="")], "case 0 has the id ''"),
        (["a", {"role": "king", "content": "b"}], "case 1 cannot be sent"),
    ],
)
def test_what_is_no_case_is_told_at_once(given: Any, said: str) -> None:
    with pytest.raises(SessionError, match=said):
        Experiment(quiz(), given)


def test_the_held_out_share_is_chosen_by_the_ids_and_stays_when_cases_are_added() -> None:
    many = cases_of([Case(f"question {n}", id=str(n)) for n in range(400)], held_out=0.3)
    share = sum(case.held_out for case in many) / 400
    assert 0.2 < share < 0.4
    more = cases_of(
        [Case("new", id="new"), *[Case(f"question {n}", id=str(n)) for n in range(400)]], held_out=0.3
    )
    assert [case.held_out for case in more[1:]] == [case.held_out for case in many]
    for odd in (1, -0.1, True, "half"):
        with pytest.raises(SessionError, match="held_out"):
            cases_of(["a"], held_out=odd)


def test_one_thing_that_varies_names_the_arms_by_its_value() -> None:
    assert names(knobs={"tone": ["terse", "friendly"]}) == ["terse", "friendly"]
    assert names(knobs={"tone": ["terse"], "depth": [1, 2]}) == ["1", "2"]
    assert names(models=[Teacher(name="a:b"), Teacher(name="a:c")]) == ["a:b", "a:c"]
    assert names() == ["default"]


def test_several_things_that_vary_are_named_with_their_values() -> None:
    assert names(knobs={"tone": ["terse", "long"], "depth": [1, 2]})[1] == "tone=terse, depth=2"
    assert names(knobs={"tone": ["terse", "long"]}, models={"big": Teacher(), "small": Teacher()}) == [
        "terse, big",
        "terse, small",
        "long, big",
        "long, small",
    ]


def test_arms_may_be_listed_and_named() -> None:
    assert names(knobs=[{}, {"tone": "terse"}]) == ["default", "terse"]
    assert names(knobs={"a": {"tone": "terse", "depth": 1}, "b": {"depth": 2}}) == ["a", "b"]
    assert names(knobs=[{"a": {"tone": "terse"}}, {"tone": "long", "depth": 2}]) == [
        "a",
        "tone=long, depth=2",
    ]
    assert [dict(arm.knobs) for arm in arms_of([{"a": {"tone": "terse"}}])] == [{"tone": "terse"}]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"knobs": {"tone": "terse"}}, KnobError, "give the values of knob 'tone' as a list"),
        ({"knobs": {"tone": []}}, KnobError, "knob 'tone' has no values to try"),
        ({"knobs": {"tone": ["a", "a"]}}, KnobError, "knob 'tone' has the value 'a' twice"),
        ({"knobs": "tone"}, SessionError, "knobs= takes lists of values by knob"),
        ({"knobs": [{"tone": "a"}, "b"]}, SessionError, "arm 1 of knobs= is no mapping"),
        ({"knobs": [{"tone": "a"}, {"tone": "a"}]}, SessionError, "two arms are called 'a'"),
        ({"models": "simulated"}, ModelError, r"write models=\[…\]"),
        ({"models": [Teacher(), Teacher()]}, ModelError, "models= has 'scripted' twice"),
        ({"models": ["no such model"]}, ModelError, "no such model"),
    ],
)
def test_arms_that_cannot_be_read_are_told_at_once(options: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Experiment(quiz(), ["a"], **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"repeat": 0}, "repeat must be"),
        ({"repeat": 1_000_000}, "1,000,000 trials"),
        ({"repeat": 1.5}, "repeat must be"),
    ],
)
def test_a_number_that_cannot_be_is_told_at_once(options: Any, said: str) -> None:
    with pytest.raises(SessionError, match=said):
        Experiment(quiz(), ["a"], **options)


@pytest.mark.parametrize("concurrency", [0, -1, 2.5, True])
def test_concurrency_is_a_number_of_at_least_one(concurrency: Any) -> None:
    with pytest.raises(SessionError, match="concurrency must be"):
        Experiment(quiz(), ["a"]).run(concurrency=concurrency)
