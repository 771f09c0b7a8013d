from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from nbsession.models.openai.strict_schema import strict


class Item(BaseModel):
    name: str
    count: int = 1


class Order(BaseModel):
    """An order."""

    items: list[Item]
    first: Item = Field(description="The one to pack first.")
    due: date | None = None
    kind: Literal["gift", "sale"] = "sale"


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Owner(BaseModel):
    pet: Cat | Dog = Field(discriminator="kind")


class Tags(BaseModel):
    tags: set[str]
    place: Path


class Scores(BaseModel):
    scores: dict[str, int]


class Pair(BaseModel):
    pair: tuple[int, str]


class Endless(BaseModel):
    again: Endless = Field(description="Once more.")


def objects(schema: Any) -> list[dict[str, Any]]:
    """Find every object's schema."""
    found = []
    if isinstance(schema, dict):
        found = [schema] if schema.get("type") == "object" else []
        found += [item for value in schema.values() for item in objects(value)]
    elif isinstance(schema, list):
        found = [item for value in schema for item in objects(value)]
    return found


def keys(schema: Any) -> set[str]:
    """Collect every key that is used anywhere."""
    if isinstance(schema, dict):
        return set(schema).union(*(keys(value) for value in schema.values()))
    return set().union(*(keys(item) for item in schema)) if isinstance(schema, list) else set()


@pytest.mark.parametrize("model", [Order, Tree, Owner, Tags])
def test_every_object_is_closed_and_every_property_required(model: type[BaseModel]) -> None:
    schema = strict(model.model_json_schema())
    assert schema is not None
    for item in objects(schema):
        assert item["additionalProperties"] is False
        assert item["required"] == list(item["properties"])
    assert not keys(schema) & {"default", "oneOf", "discriminator", "uniqueItems"}
    assert schema["type"] == "object"


def test_a_reference_with_a_description_is_written_out() -> None:
    schema = strict(Order.model_json_schema())
    assert schema is not None
    assert schema["properties"]["first"]["description"] == "The one to pack first."
    assert schema["properties"]["first"]["properties"]["count"]["type"] == "integer"
    assert schema["properties"]["items"]["items"] == {"$ref": "#/$defs/Item"}


def test_only_formats_that_are_checked_stay() -> None:
    order, tags = strict(Order.model_json_schema()), strict(Tags.model_json_schema())
    assert order is not None
    assert tags is not None
    assert order["properties"]["due"]["anyOf"][0]["format"] == "date"
    assert "format" not in tags["properties"]["place"]


@pytest.mark.parametrize("model", [Scores, Pair, Endless])
def test_what_has_no_strict_form_gives_none(model: type[BaseModel]) -> None:
    assert strict(model.model_json_schema()) is None


@pytest.mark.parametrize("schema", [{"type": "array", "items": {}}, {"$ref": "#/$defs/Gone", "title": "x"}])
def test_what_is_no_object_gives_none(schema: dict[str, Any]) -> None:
    assert strict(schema) is None


def test_a_schema_is_left_as_it_is() -> None:
    schema = Order.model_json_schema()
    strict(schema)
    assert schema == Order.model_json_schema()
