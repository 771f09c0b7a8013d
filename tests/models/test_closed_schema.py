from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from nbsession import App, System, Timeline, component
from nbsession.errors import ModelError
from nbsession.models.anthropic.closed_schema import closed
from tests.support.fake_messages import text

if TYPE_CHECKING:
    from nbsession.models import AnthropicModel
    from tests.support.fake_messages import FakeMessages


class Stop(BaseModel):
    name: str = Field(min_length=2, description="Where.")
    minutes: Annotated[int, Field(ge=0)] = 0


class Route(BaseModel):
    kind: Literal["walk", "ride"]
    stops: list[Stop] = Field(min_length=1)
    end: Stop | None = None


class Loose(BaseModel):
    notes: dict[str, int]


@component
def Planner() -> list[Any]:
    return [System("You plan routes."), Timeline()]


def objects(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [found for item in schema for found in objects(item)]
    if not isinstance(schema, dict):
        return []
    inner = [found for value in schema.values() for found in objects(value)]
    return [schema, *inner] if schema.get("type") == "object" else inner


def test_every_object_is_closed_and_keeps_what_it_requires() -> None:
    schema = closed(Route.model_json_schema())
    assert len(objects(schema)) == 2
    assert all(item["additionalProperties"] is False for item in objects(schema))
    assert schema["required"] == ["kind", "stops"]
    assert schema["$defs"]["Stop"]["required"] == ["name"]
    assert "description" not in schema


def test_constraints_that_the_api_does_not_know_are_told_in_words() -> None:
    schema = closed(Route.model_json_schema())
    stop = schema["$defs"]["Stop"]["properties"]
    assert stop["name"] == {"type": "string", "title": "Name", "description": "Where. (minLength: 2)"}
    assert stop["minutes"]["description"] == "(default: 0; minimum: 0)"
    assert schema["properties"]["stops"]["minItems"] == 1
    assert schema["properties"]["kind"]["enum"] == ["walk", "ride"]
    assert schema["properties"]["end"]["anyOf"] == [{"$ref": "#/$defs/Stop"}, {"type": "null"}]


def test_an_object_with_free_keys_is_refused_before_it_comes_back_empty() -> None:
    with pytest.raises(ModelError, match="'notes' is an object with free keys") as caught:
        closed(Loose.model_json_schema())
    assert caught.value.kind == "request"


async def test_an_answer_is_asked_for_and_read_as_a_model(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(text('{"kind": "walk", "stops": [{"name": "Pier", "minutes": 5}], "end": null}'))
    session = App(Planner, model=live).session()
    result = await session.send("To the pier", output=Route)
    session.close()
    assert result.output == Route(kind="walk", stops=[Stop(name="Pier", minutes=5)])
    asked = messages_server.requests[0].body["output_config"]["format"]
    assert asked == {"type": "json_schema", "schema": closed(Route.model_json_schema())}


async def test_an_answer_that_breaks_a_constraint_is_kept_and_refused(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(text('{"kind": "walk", "stops": []}'))
    session = App(Planner, model=live).session()
    with pytest.raises(ModelError, match="did not answer with a Route"):
        await session.send("To the pier", output=Route)
    assert session.timeline[-1].text == '{"kind": "walk", "stops": []}'
    session.close()
