"""The types a tool's parameter may have: what JSON becomes of them, and what is said of the others."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime as dt
import decimal
import enum
import json
import pathlib
import sys
import typing
import uuid
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Required, TypedDict, TypeVar

import numpy as np
import pandas as pd
import pydantic
import pytest
import typing_extensions
from pydantic import Field

from nbsession.errors import CompileError, ToolError
from nbsession.tools import Tool, tool

T = TypeVar("T")


class Colour(enum.Enum):
    red = "r"


class Place(NamedTuple):
    x: int
    y: int = 0


@dataclasses.dataclass
class Order:
    item: str
    count: int = 1


@pydantic.dataclasses.dataclass
class Checked:
    count: Annotated[int, Field(ge=1)]


class Node(pydantic.BaseModel):
    children: list[Node] = []


class Box(pydantic.BaseModel, typing.Generic[T]):
    held: T


class Guest(TypedDict):
    """Who comes."""

    name: str
    age: NotRequired[int]


class Party(TypedDict, total=False):
    host: Required[Guest]
    guests: list[Guest]


class Branch(TypedDict):
    leaves: int
    branches: list[Branch]


class Pair(TypedDict, typing.Generic[T]):
    left: T
    right: T


class Extended(typing_extensions.TypedDict):
    name: str


Id = typing.NewType("Id", int)
Names = typing_extensions.TypeAliasType("Names", list[str])


def taking(hint: Any) -> Tool:
    def f(value: Any) -> None: ...

    f.__annotations__ = {"value": hint}
    return tool(f)


def read(hint: Any, value: Any) -> Any:
    made = taking(hint)
    assert "value" in made.spec.input_schema["properties"]
    return made.validate({"value": value})["value"]


@pytest.mark.parametrize(
    ("hint", "given", "expected"),
    [
        (pathlib.Path, "a/b", pathlib.Path("a/b")),
        (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
        (uuid.UUID, "12345678123456781234567812345678", uuid.UUID(int=0x12345678123456781234567812345678)),
        (dt.date, "2026-05-01", dt.date(2026, 5, 1)),
        (dt.datetime, "2026-05-01T10:00:00Z", dt.datetime(2026, 5, 1, 10, tzinfo=dt.UTC)),
        (dt.time, "10:00", dt.time(10)),
        (dt.timedelta, "PT90S", dt.timedelta(seconds=90)),
        (bytes, "abc", b"abc"),
        (Colour, "r", Colour.red),
        (Literal["a", 1], 1, 1),
        (Place, [1], Place(1)),
        (Order, {"item": "tea"}, Order("tea")),
        (Checked, {"count": 2}, Checked(2)),
        (Annotated[int, Field(ge=1)], 2, 2),
        (int | None, None, None),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], [1, 2], (1, 2)),
        (set[int], [1, 1], {1}),
        (frozenset[int], [1], frozenset({1})),
        (collections.abc.Sequence[int], [1], [1]),
        (collections.abc.Mapping[str, int], {"a": 1}, {"a": 1}),
        (collections.abc.Iterable[int], ["1"], [1]),
        (typing.Iterable, [1], [1]),
        (collections.abc.Collection[int], [1], [1]),
        (dict[str, typing.Collection[int]], {"a": [1]}, {"a": [1]}),
        (typing.LiteralString, "a", "a"),
        (Any, [1], [1]),
        (object, "a", "a"),
        (T, "a", "a"),
        (Id, 3, 3),
        (Names, ["a"], ["a"]),
        (Node, {"children": [{}]}, Node(children=[Node()])),
        (Box[int], {"held": 1}, Box[int](held=1)),
        (Guest, {"name": "Ada"}, {"name": "Ada"}),
        (Extended, {"name": "Ada"}, {"name": "Ada"}),
        (list[Guest] | None, [{"name": "Ada", "age": "3"}], [{"name": "Ada", "age": 3}]),
        (Annotated[Guest, Field(description="one")], {"name": "Ada"}, {"name": "Ada"}),
        (Party, {"host": {"name": "Ada"}}, {"host": {"name": "Ada"}}),
        (Branch, {"leaves": 1, "branches": [{"leaves": "2", "branches": []}]}, {"leaves": 1, "branches": [{"leaves": 2, "branches": []}]}),
        (tuple[Pair[int], Pair[str]], [{"left": "1", "right": 2}, {"left": "a", "right": "b"}], ({"left": 1, "right": 2}, {"left": "a", "right": "b"})),
    ],
    ids=repr,
)  # fmt: skip
def test_a_parameter_takes_what_pydantic_takes_and_what_is_equal_to_that(
    hint: Any, given: Any, expected: Any
) -> None:
    value = read(hint, given)
    assert value == expected
    assert type(value) is type(expected)


def test_an_alias_of_a_newer_python_is_taken_where_there_is_one() -> None:
    names: dict[str, Any] = {}
    if sys.version_info >= (3, 12):
        exec("type Numbers = list[int]\ntype Tree = dict[str, Tree] | int", names)
    numbers, tree = names.get("Numbers", list[int]), names.get("Tree", dict[str, int])
    assert read(numbers, ["1"]) == [1]
    assert read(tree, {"a": 1}) == {"a": 1}


def test_a_typed_dict_is_described_with_its_keys() -> None:
    schema = taking(Party).spec.input_schema
    assert schema["$defs"]["Party"]["required"] == ["host"]
    assert list(schema["$defs"]["Party"]["properties"]) == ["host", "guests"]
    assert schema["$defs"]["Guest"] == {
        "type": "object",
        "additionalProperties": False,
        "description": "Who comes.",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name"],
    }
    with pytest.raises(ToolError, match=r"- value\.host\.name: required, but not given"):
        taking(Party).validate({"value": {"host": {}}})


def test_an_iterable_is_checked_before_the_tool_runs() -> None:
    with pytest.raises(ToolError, match=r"- value\[0\]: expected a valid integer"):
        taking(collections.abc.Iterable[int]).validate({"value": ["x"]})


@dataclasses.dataclass
class Framed:
    frame: pd.DataFrame


class Broken:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        raise LookupError("there is no schema today")


@dataclasses.dataclass
class Calling:
    times: int
    cb: collections.abc.Callable[[int], str]


@dataclasses.dataclass
class Around:
    parts: list[Calling]


class CallingDict(typing.TypedDict):
    cb: collections.abc.Callable[[int], str]


class CallingModel(pydantic.BaseModel):
    LATER: typing.ClassVar[int] = 1
    cb: collections.abc.Callable[[int], str]
    again: "CallingModel | None" = None


class CallingTuple(typing.NamedTuple):
    cb: collections.abc.Callable[[int], str]


@dataclasses.dataclass
class Limits:
    most: float = float("inf")


class Opaque(enum.Enum):
    A = object()


class Endless(enum.Enum):
    A = float("inf")


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (np.ndarray, "numpy.ndarray, which no JSON can give; take list[float], and make the array of it"),
        (np.int64, "numpy.int64, which no JSON can give; take int, float, bool or str"),
        (pd.DataFrame | None, "no JSON can give pandas.DataFrame; take list[dict[str, Any]], and make the frame"),
        (list[pd.Series], "no JSON can give pandas.Series; take a list, and make it of that"),
        (pd.Timestamp, "which no JSON can give; take datetime.datetime or datetime.timedelta"),
        (Framed, "of which Framed.frame is of type pandas.DataFrame, which no JSON can give; take list[dict[str, Any]]"),
        (typing.Callable[[], int], "typing.Callable[[], int], which no JSON can give; take a name, as Literal['a', 'b']"),
        (type[Node], "which no JSON can give; take a name, as Literal['a', 'b']"),
        (bytearray, "bytearray, which no JSON can give; take bytes"),
        (range, "range, which no JSON can give; take its start and stop, as two int"),
        (collections.abc.Iterator[int], "which no JSON can give; take a list"),
        (dt.tzinfo, "datetime.tzinfo, which no JSON can give; take text, numbers, lists, dicts, enums, dataclasses, "),
        (typing.ClassVar[int], "typing.ClassVar[int], which no JSON can give; take text"),
        (Calling, "Calling, of which Calling.cb is of type collections.abc.Callable[[int], str], which no JSON can give; take a name"),
        (dict[str, Around] | None, ", of which Calling.cb is of type collections.abc.Callable[[int], str], which no"),
        (CallingDict, "CallingDict, of which CallingDict.cb is of type"),
        (CallingModel, "CallingModel, of which CallingModel.cb is of type"),
        (CallingTuple, "CallingTuple, of which CallingTuple.cb is of type"),
        (Opaque, "Opaque, a value of which is no JSON (Unable to serialize unknown type: <class 'object'>); give it text or numbers"),
        (Endless, "Endless, of which pydantic says: Out of range float values"),
        (Broken, "Broken, of which pydantic says: there is no schema today"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_type_that_no_json_gives_is_named_with_what_to_take_instead(hint: Any, told: str) -> None:
    with pytest.raises(CompileError) as refused:
        _ = taking(hint).spec
    text = str(refused.value)
    assert text.startswith("tool 'f': the parameter 'value' is of type ")
    assert told in text
    assert "\n" not in text


@pytest.mark.parametrize("default", [float("inf"), float("nan"), [1.0, float("-inf")], {"a": float("inf")}])
def test_a_default_that_json_has_no_word_for_is_the_functions_and_not_the_schemas(default: Any) -> None:
    @tool
    def wait(limit: Any = default) -> None: ...

    @tool
    def wait_for(limits: Limits) -> None: ...

    for made in (wait, wait_for):
        assert "default" not in json.dumps(made.spec.input_schema, allow_nan=False)
    assert wait.validate({}) == {}


def test_a_final_parameter_is_one_of_its_type() -> None:
    def to_count(to: Any = 3) -> None: ...

    for hint in (typing.Final[int], "typing.Final[int]"):  # as a type checker wants it for variables only
        to_count.__annotations__["to"] = hint
        count = tool(to_count)
        assert count.spec.input_schema["properties"] == {"to": {"type": "integer", "default": 3}}
        assert count.validate({"to": "4"}) == {"to": 4}


def test_a_field_of_the_long_forms_model_is_named_too() -> None:
    class Step(pydantic.BaseModel):
        name: str
        then: typing.Callable[[], None]

    made = Tool("f", input=Step, handler=lambda step: step)
    with pytest.raises(
        CompileError, match=r"the parameter 'then' is of type .*Callable.*, which no JSON can give"
    ):
        _ = made.spec
