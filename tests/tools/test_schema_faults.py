"""What a schema does not take: checked against what pydantic takes, and told in sentences."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from nbsession import Pause
from nbsession.errors import SessionError
from nbsession.tools import checked_answer, confirmation_schema, faults_against


class Color(Enum):
    red = "r"
    blue = "b"


class Node(BaseModel, extra="forbid"):
    name: str
    kids: list[Node] = []


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Pair(NamedTuple):
    x: int
    y: str


Pet: TypeAlias = Annotated[Union[Cat, Dog], Field(discriminator="kind")]  # noqa: UP007  # it is a value

TYPES: list[Any] = [
    str, int, float, bool, None, Any, str | None, int | str, Color, Node, Pet, Pair,
    Literal["a", 1, True], list[int], dict[str, int], tuple[int, str], tuple[int, ...], dict[Color, int],
    Annotated[int, Field(gt=2, le=9, multiple_of=3)], Annotated[str, Field(min_length=1, max_length=2)],
    Annotated[str, Field(pattern=r"^\d+$")], Annotated[list[int], Field(min_length=1, max_length=2)],
    Annotated[dict[str, Any], Field(min_length=1, max_length=2)],
    dt.date, dt.datetime, dt.time, dt.timedelta, UUID,
]  # fmt: skip

LEAVES: list[Any] = [
    None, True, False, 0, 1, 3, 6, 9, 12, 1.5, "", "a", "r", "12", "banana", "cat", "dog", "2026-01-31",
    "2026-01-31T12:00:00Z", "12:00:00", "PT1H30M", "c68c2cf1-201c-4c79-9f65-aa23bb0f6d28",
]  # fmt: skip
KEYS = ["kind", "lives", "name", "kids", "x", "y", "r", "b"]

values = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(TYPES), values)
def test_it_takes_what_pydantic_takes(type: Any, value: Any) -> None:
    try:
        TypeAdapter(type).validate_json(TypeAdapter(Any).dump_json(value), strict=True)
    except ValidationError:
        taken = False
    else:
        taken = True
    faults = faults_against(Pause("?", answer=type).schema, value)
    assert (not faults) is taken, faults


@pytest.mark.parametrize(
    ("type", "value", "said"),
    [
        (str, None, "is to be a text, got null"),
        (int, True, "is to be a whole number, got true"),
        (int | str, [], "is to be a whole number or a text, got []"),
        (Color, "green", 'is to be one of "r", "b", got "green"'),
        (Literal["a"], "b", 'is to be "a", got "b"'),
        (dt.date, "banana", 'is to be a date, as 2026-01-31, got "banana"'),
        (UUID, "banana", 'is to be a UUID, got "banana"'),
        (Annotated[int, Field(gt=3)], 3, "is to be more than 3, got 3"),
        (tuple[int, str], [1, "a", 2], 'is to be a list of at most 2 items, got [1, "a", 2]'),
        (Node, {"name": "a", "kids": [{"kids": []}]}, "kids[0].name: is to be filled in"),
        (Node, {"name": "a", "kid": 1}, "kid: is to be left out, got 1"),
        (Pet, {"kind": "dog"}, "name: is to be filled in"),
        (list[Pet], [{"kind": "cat", "lives": "9"}], '[0].lives: is to be a whole number, got "9"'),
    ],
)
def test_a_fault_says_where_it_is_and_what_is_to_stand_there(type: Any, value: Any, said: str) -> None:
    assert [str(fault) for fault in faults_against(Pause("?", answer=type).schema, value)] == [said]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("yes", 'is to be true or false or "always" or an object, as JSON, got "yes"'),
        (0, 'is to be true or false or "always" or an object, as JSON, got 0'),
        ({"to": 1}, "to: is to be a text, got 1"),
        ({}, "to: is to be filled in"),
    ],
)
def test_what_is_wrong_with_a_confirmation_is_said_of_the_argument(value: Any, said: str) -> None:
    schema = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
    assert [str(fault) for fault in faults_against(confirmation_schema(schema), value)] == [said]


@pytest.mark.parametrize(
    "value",
    [float("nan"), [float("inf")], b"\xff", "\ud800", {"\ud800": 1}, object()],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_json_is_no_answer(value: Any) -> None:
    with pytest.raises(SessionError, match=r"'Well\?' cannot be answered with .*: give JSON data"):
        checked_answer(value, {}, "Well?")


def test_an_answer_in_itself_is_no_answer() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(SessionError, match="cannot be answered with"):
        checked_answer(endless, {}, "Well?")


@pytest.mark.parametrize(
    "schema", [{"not": {}}, {"$ref": "https://example.org/x"}, {"$ref": "#/definitions/X"}, {"type": "odd"}]
)
def test_a_word_or_a_reference_that_is_not_known_leaves_a_value_to_the_tool(schema: Any) -> None:
    assert faults_against(schema, 1) == []


def test_checking_an_answer_loads_no_library_for_it() -> None:
    program = (
        "import sys; from nbsession.tools import checked_answer; checked_answer('a', {'type': 'string'}, '?');"
        "sys.exit('jsonschema' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
