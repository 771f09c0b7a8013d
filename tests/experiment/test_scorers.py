"""The scorers that come with it, bare and told what to look for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from nbsession import Result, ScoreError
from nbsession.content import Text
from nbsession.experiment.scorers import Check, contains, equals, matches, valid


@dataclass(frozen=True)
class Asked:
    """A case, as a scorer sees it."""

    expected: Any = None
    id: str = "q1"
    message: Any = "Which city?"
    metadata: dict[str, Any] = field(default_factory=dict)


class City(BaseModel):
    name: str
    people: int = 0


def said(text: str, output: Any = None) -> Result:
    return Result(text=text, content=(Text(text),), output=output)


@pytest.mark.parametrize(
    ("text", "output", "expected", "good"),
    [
        ("Vienna", None, "Vienna", True),
        ("  Vienna\n", None, "Vienna", True),
        ("vienna", None, "Vienna", False),
        ("Vienna, Austria", None, "Vienna", False),
        ("42", None, 42, True),
        ("forty-two", None, 42, False),
        ('{"name": "Vienna", "people": 2}', None, {"people": 2, "name": "Vienna"}, True),
        ("whatever", City(name="Vienna"), {"name": "Vienna", "people": 0}, True),
        ("whatever", City(name="Vienna"), City(name="Graz"), False),
        ("Thinking aloud: so it is…", "Vienna", "Vienna", True),  # what output=str read
        ("true", None, True, True),
    ],
)
def test_equals_compares_with_what_the_case_expects(
    text: str, output: Any, expected: Any, good: bool
) -> None:
    assert equals(said(text, output), Asked(expected)) is good
    assert equals(expected)(said(text, output), Asked("something else")) is good


@pytest.mark.parametrize("score", [equals, contains])
def test_case_and_white_space_count_unless_they_are_to_be_ignored(score: Any) -> None:
    answer = said("New  york\nCity")
    assert score("New York City")(answer, Asked()) is False
    assert score("New York City", ignore_case=True)(answer, Asked()) is False
    assert score("New York City", ignore_case=True, ignore_whitespace=True)(answer, Asked()) is True
    assert score(ignore_case=True, ignore_whitespace=True)(answer, Asked("NEW york  city")) is True
    assert score("STRASSE", ignore_case=True)(said("Straße"), Asked()) is True


@pytest.mark.parametrize(
    ("expected", "options", "good"),
    [
        ("Vienna", {}, True),
        (["Vienna", "Austria"], {}, True),
        (["Vienna", "Wien"], {}, False),
        (["Vienna", "Wien"], {"any": True}, True),
        (["Graz", "Linz"], {"any": True}, False),
    ],
)
def test_contains_looks_for_all_texts_or_any(expected: Any, options: Any, good: bool) -> None:
    answer = said("It is Vienna, in Austria.")
    assert contains(expected, **options)(answer, Asked()) is good
    assert contains(**options)(answer, Asked(expected)) is good


def test_matches_finds_a_regular_expression_anywhere_or_as_the_whole() -> None:
    answer = said("Built in 1847.\n")
    assert matches(answer, Asked(r"\b\d{4}\b"))
    assert matches(r"built", ignore_case=True)(answer, Asked())
    assert not matches(r"\d{4}", full=True)(answer, Asked())
    assert matches(re.compile(r"built.*\.", re.IGNORECASE), full=True)(answer, Asked())


def test_valid_reads_the_answer_as_a_type() -> None:
    assert valid(City)(said('```json\n{"name": "Vienna"}\n```'), Asked())
    assert not valid(City)(said('{"people": 3}'), Asked())
    assert not valid(City)(said("Vienna"), Asked())
    assert valid(list[int])(said("[1, 2]"), Asked())
    assert valid(said("[1, 2]"), Asked(list[int]))


def test_a_scorer_has_a_name_and_another_fingerprint_where_it_would_score_otherwise() -> None:
    made: list[Check] = [
        equals("Vienna"),
        equals("Graz"),
        equals("Vienna", ignore_case=True),
        contains("Vienna"),
        contains(["Vienna", "Wien"]),
        contains("Vienna", any=True),
        matches("Vienna"),
        matches("Vienna", full=True),
        matches("Vienna", ignore_case=True),
        valid(City),
        valid(dict[str, int]),
        matches("a" * 300 + "b"),
        matches("a" * 300 + "c"),
        valid(list[int]),
    ]
    assert [score.name for score in made] == [
        *["equals"] * 3,
        *["contains"] * 3,
        *["matches"] * 3,
        "valid",
        "valid",
        "matches",
        "matches",
        "valid",
    ]
    assert len({score.fingerprint for score in made}) == len(made)
    assert equals("Vienna").fingerprint == equals("Vienna").fingerprint
    assert contains("Vienna", name="city").name == "city"
    assert equals.__name__ == "equals"


@pytest.mark.parametrize("score", [equals, contains, matches, valid])
def test_a_case_without_anything_expected_is_named(score: Any) -> None:
    with pytest.raises(
        ScoreError, match=f"case 'q1' has nothing expected to be scored by; .* tell {score.__name__}"
    ):
        score(said("x"), Asked())
    with pytest.raises(ScoreError, match="case 'q1' has nothing expected"):
        score()(said("x"), Asked())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: contains("Vienna", "Austria"),  # type: ignore[call-overload]
            "contains.. takes one thing to look for, got 2; give several as one",
        ),
        (lambda: contains(""), "which every answer has"),
        (lambda: contains([]), "which every answer has"),
        (lambda: contains(3), "contains.. looks for a text, or a list of texts, got 3"),  # type: ignore[call-overload]
        (lambda: matches("(1"), "matches.. takes a regular expression, got '.1': missing"),
        (lambda: matches(3), "matches.. takes a regular expression, got 3"),  # type: ignore[call-overload]
        (lambda: valid(3), "valid.. takes what send.output=. does: .* got 3"),
        (lambda: valid("City"), "valid.. takes what .*'City'"),
    ],
)
def test_what_cannot_be_looked_for_is_refused_when_it_is_told(make: Any, message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        make()
