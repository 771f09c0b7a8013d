"""``send(output=)``: the last answer read as a type, whatever came before it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel

from nbsession import App, SessionError, StopReason, Timeline, component, tool
from nbsession.content import ServerTool, Text
from nbsession.context import Capabilities, CompiledContext
from nbsession.errors import ModelError
from nbsession.events import MessageDelta
from nbsession.models import AnthropicModel, OpenAIModel, SimulatedModel
from nbsession.models.simulated.model import answer_blocks
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call
from nbsession.tools import Output
from tests.support import fake_chat, fake_messages
from tests.support.fake_chat import FakeChat
from tests.support.fake_messages import FakeMessages

if TYPE_CHECKING:
    from collections.abc import Sequence


class Groceries(BaseModel):
    items: list[str]
    day: dt.date | None = None


@tool
def look() -> str:
    """Look into the fridge."""
    return "no milk"


@component
def Root() -> Any:
    return [look, Timeline()]


MILK = Groceries(items=["milk"], day=dt.date(2026, 5, 1))
WRITTEN = '{"items": ["milk"], "day": "2026-05-01"}'


async def test_after_a_tool_loop_that_changes_the_provider_the_answer_is_read() -> None:
    with FakeMessages() as messages, FakeChat() as chat:
        messages.will(fake_messages.tool_use("look", {}))
        chat.will(fake_chat.tool_call("look", {}), fake_chat.text(WRITTEN))
        claude = AnthropicModel("claude-test-1", base_url=messages.url, api_key="k")
        gpt = OpenAIModel("gpt-test-1", base_url=f"{chat.url}/v1", api_key="k")
        session = App(Root, model=claude).session()
        first = await session.send("What do we need?", output=Groceries, max_ticks=1)
        assert (first.stop_reason, first.output) == (StopReason.max_ticks, None)
        result = await session.send("Go on", output=Groceries, model=gpt)
        assert result.output == MILK
        assert all("response_format" in body for body in chat.bodies())
        messages.will(fake_messages.message(*map(fake_messages.text_block, ("Let me see.", WRITTEN))))
        assert (await session.send("Again", output=Groceries)).output == MILK
        assert messages.requests[-1].body["output_config"]["format"]["type"] == "json_schema"
        # What was asked of one message is not asked of the next.
        assert (await session.send("Thanks")).output is None
        assert "output_config" not in messages.requests[-1].body
        await claude.aclose()
        await gpt.aclose()
        session.close()


@pytest.mark.parametrize(
    "texts",
    [
        [WRITTEN],
        [WRITTEN[:12], WRITTEN[12:]],
        ["I looked it up.", WRITTEN],
        [f"```json\n{WRITTEN}\n```"],
        [f"Here it is:\n\n```\n{WRITTEN}\n```\nEnjoy."],
    ],
)
def test_an_answer_is_read_in_whatever_texts_it_came(texts: Sequence[str]) -> None:
    step = ServerTool("s1", "web_search", "web_search()", {"type": "server_tool_use"})
    assert Output(Groceries).read([step, *map(Text, texts)], "m") == MILK


def test_an_answer_that_fits_neither_way_is_told_as_it_is_asked_for() -> None:
    with pytest.raises(ModelError, match=r"did not answer with a Measured \| None: value: expected"):
        Output(Measured | None).read([Text('{"value": "x"}')], "m")


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("Sure: milk", "it is no JSON: 'Sure: milk'"),
        ("x" * 200, f"it is no JSON: '{'x' * 79}…'"),
        (" ", "it has no text"),
        ('{"items": 3}', "items: expected a valid array; got 3"),
        ('{"day": "soon"}', "items: required, but not given; day: "),
        ('```json\n{"items": 3}\n```', "items: expected a valid array; got 3"),
    ],
)
async def test_an_answer_that_does_not_fit_is_one_sentence_and_kept(said: str, fault: str) -> None:
    session = App(Root, model=ScriptedModel(call("look"), said, "fine")).session()
    with pytest.raises(ModelError) as failed:
        await session.send("What do we need?", output=Groceries)
    text = str(failed.value)
    assert text.startswith(f"scripted did not answer with a Groceries: {fault}")
    assert text.endswith("the answer is kept, ask again, or ask another model")
    assert "\n" not in text
    assert "pydantic.dev" not in text
    assert session.timeline[-1].role == "assistant"
    assert (await session.send("Then in words")).text == "fine"


@pytest.mark.parametrize("reason", ["max_tokens", "refusal"])
async def test_an_answer_that_was_cut_is_not_read(reason: Any) -> None:
    session = App(Root, model=ScriptedModel(['{"items": [', MessageDelta(reason)])).session()
    result = await session.send("What do we need?", output=Groceries)
    assert (str(result.stop_reason), result.output) == (reason, None)


async def test_an_answer_that_ends_at_a_stop_sequence_is_read() -> None:
    session = App(Root, model=ScriptedModel([WRITTEN, MessageDelta("stop_sequence")])).session()
    assert (await session.send("What do we need?", output=Groceries)).output == MILK


class Loose(ScriptedModel):
    """A model that cannot be held to a schema."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(output=False)


async def test_a_model_that_cannot_be_held_to_a_schema_says_so_before_it_is_asked() -> None:
    session = App(Root, model=Loose("never")).session()
    for output, name in ((Groceries, "Groceries"), (list[Groceries], r"list\[Groceries\]")):
        with pytest.raises(
            ModelError,
            match=rf"^scripted cannot be held to a schema, and is asked for a {name}; choose another model, "
            r"or send without output=$",
        ):
            await session.send("What do we need?", output=output)
    assert session.ticks == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (MILK, r"Groceries\(items=.* which no JSON can give"),
        ("Groceries", "'Groceries'"),
        (3, "3, which no JSON can give"),
        (BaseModel, "BaseModel itself, which has no fields; give a class of yours"),
        (json.dumps, r"<function dumps at .*>, which is no type; give the type of what you want"),
        (len, r"<built-in function len>, which is no type"),
        (pd.DataFrame, r"pandas\.DataFrame, which no JSON can give; take list\[dict"),
        (list[np.ndarray], r"list\[numpy\.ndarray\], and no JSON can give numpy\.ndarray"),
    ],
)
async def test_what_no_json_gives_is_refused_where_it_is_given(wrong: Any, told: str) -> None:
    session = App(Root, model=ScriptedModel("a")).session()
    with pytest.raises(SessionError, match=f"^output= takes a type that JSON can give, got {told}"):
        session.send("go", output=wrong)
    assert len(session.timeline) == 0


class Colour(enum.Enum):
    red = "r"


@dataclasses.dataclass
class Item:
    """Something to buy."""

    name: str
    count: int = 1


@dataclasses.dataclass
class Tree:
    children: list[Tree]


class Note(TypedDict):
    text: str
    by: NotRequired[str]


class Measured(BaseModel):
    value: int


class Pair(NamedTuple):
    left: int
    right: str


KINDS = [
    (Item, {"name": "milk"}, Item("milk")),
    (Tree, {"children": [{"children": []}]}, Tree([Tree([])])),
    (Note, {"text": "a"}, {"text": "a"}),
    (list[Item], [{"name": "milk", "count": "2"}], [Item("milk", 2)]),
    (list[Groceries], [{"items": ["milk"]}], [Groceries(items=["milk"])]),
    (Item | Note, {"text": "a"}, {"text": "a"}),
    (int | None, None, None),
    (Measured | None, {"value": 3}, Measured(value=3)),
    (Item | Measured, {"value": 3}, Measured(value=3)),
    (Colour, "r", Colour.red),
    (Literal["yes", "no"], "no", "no"),
    (int, 3, 3),
    (bool, True, True),
    (float, 0.5, 0.5),
    (str, "a text", "a text"),
    (dt.date, "2026-05-01", dt.date(2026, 5, 1)),
    (Annotated[int, Field(ge=1)], 2, 2),
    (tuple[int, str], [1, "a"], (1, "a")),
    (Pair, [1, "a"], Pair(1, "a")),
    (set[str], ["a"], {"a"}),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (RootModel[list[int]], [1], RootModel[list[int]]([1])),
]
OBJECTS: tuple[Any, ...] = (Item, Tree, Note, dict[str, int])


@pytest.mark.parametrize(("output", "answer", "expected"), KINDS, ids=lambda given: str(given)[:30])
async def test_an_answer_may_be_of_any_type_that_json_gives(output: Any, answer: Any, expected: Any) -> None:
    schema = Output(output).schema
    written = answer if output in OBJECTS else {"value": answer}
    assert (schema["type"], "value" in schema.get("properties", ())) == ("object", output not in OBJECTS)
    model = ScriptedModel(call("look"), json.dumps(written), json.dumps(answer))
    session = App(Root, model=model).session()
    for _ in range(2):  # as it is asked for, and bare, as a script or a loose model writes it
        got = (await session.send("What do we need?", output=output)).output
        assert (got, type(got)) == (expected, type(expected))
    assert model.contexts[0].settings["output_schema"] == schema


def test_of_a_pydantic_model_the_schema_is_its_own() -> None:
    assert Output(Groceries).schema == Groceries.model_json_schema()


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ('{"value": ["x"]}', "value[0]: expected a valid integer"),
        ('["x"]', "[0]: expected a valid integer"),
        ('{"values": [1]}', "input: expected a valid array"),
        ("one", "it is no JSON: 'one'"),
    ],
)
def test_a_wrapped_answer_that_does_not_fit_is_told_where(said: str, fault: str) -> None:
    with pytest.raises(ModelError) as failed:
        Output(list[int]).read([Text(said)], "m")
    assert str(failed.value).startswith(f"m did not answer with a list[int]: {fault}")


async def test_providers_are_sent_an_object_and_its_value_is_the_output() -> None:
    with FakeMessages() as messages, FakeChat() as chat:
        claude = AnthropicModel("claude-test-1", base_url=messages.url, api_key="k")
        gpt = OpenAIModel("gpt-test-1", base_url=f"{chat.url}/v1", api_key="k")
        messages.will(fake_messages.message(fake_messages.text_block('{"value": ["r"]}')))
        chat.will(fake_chat.text('{"value": ["r"]}'))
        session = App(Root, model=claude).session()
        results = [await session.send("Which?", output=list[Colour], model=model) for model in (claude, gpt)]
        assert [result.output for result in results] == [[Colour.red], [Colour.red]]
        sent = messages.requests[-1].body["output_config"]["format"]["schema"]
        strict = chat.bodies()[-1]["response_format"]["json_schema"]
        assert strict["strict"] is True
        for schema in (sent, strict["schema"]):
            assert (schema["type"], schema["required"], schema["additionalProperties"]) == (
                "object",
                ["value"],
                False,
            )
            assert schema["properties"]["value"] == {"type": "array", "items": {"$ref": "#/$defs/Colour"}}
        await claude.aclose()
        await gpt.aclose()
        session.close()


async def test_a_request_of_an_earlier_process_is_read_as_the_type_that_is_asked_for_now() -> None:
    store = MemoryStore()
    first = App(Root, model=ScriptedModel('{"value": [1, 2]}'), store=store).session("s")
    assert (await first.send("go", output=list[int], request_id="r")).output == [1, 2]
    await first.aclose()
    again = App(Root, model=ScriptedModel(), store=store).session("s")
    assert (await again.send("go", output=list[int], request_id="r")).output == [1, 2]
    assert (await again.send("go", output=set[int], request_id="r")).output == {1, 2}
    await again.aclose()


@pytest.mark.parametrize(
    ("output", "message", "expected"),
    [
        (Groceries, "Items: milk, eggs and bread", Groceries(items=["milk", "eggs", "bread"])),
        (Item, 'The name is "milk", count 3.', Item("milk", 3)),
        (Note, "Write down: buy milk", {"text": "buy milk"}),
        (list[str], "milk, eggs", ["milk", "eggs"]),
        (int, "It costs 7 dollars.", 7),
        (bool, "Is it on?", True),
        (Colour, "Is it r?", Colour.red),
        (Tree, "Nothing of the kind", Tree([])),
        (Pair, "Nothing of the kind", Pair(0, "")),
        (int | None, "None of it", None),
        (dt.date, "Some day", dt.date(1970, 1, 1)),
        (Annotated[int, Field(ge=3, le=5)], "Some number", 3),
    ],
)
async def test_the_simulated_model_fills_a_schema_from_what_is_said(
    output: Any, message: str, expected: Any
) -> None:
    session = App(Timeline(), model=SimulatedModel(rate=0)).session()
    result = await session.send(message, output=output)
    assert result.output == expected
    assert "rule fill-schema: an answer of the schema " in str(result.content[0])


async def test_the_simulated_model_uses_its_tools_before_it_answers_with_a_schema() -> None:
    session = App(Root, model=SimulatedModel(rate=0)).session()
    result = await session.send("Please use `look`.", output=str)
    assert ([run.name for run in result.tool_calls], result.output) == (["look"], "no milk")


def test_a_json_schema_of_an_object_is_passed_on_and_any_object_is_read() -> None:
    schema = {"title": "City", "type": "object", "properties": {"name": {"type": "string"}}}
    output = Output(schema)
    assert (output.name, output.schema) == ("City", schema)
    assert output.read([Text('{"name": "Ulm"}')], "m") == {"name": "Ulm"}
    for said in ("none", "[1]", '"Ulm"'):
        with pytest.raises(ModelError, match="did not answer with a City"):
            output.read([Text(said)], "m")
    for wrong in (
        {"type": "string"},
        {},
        {**schema, "required": ["age"]},
        {**schema, "required": [{}]},
        {"type": "object", "properties": 1},
    ):
        with pytest.raises(SessionError, match="the JSON schema of an object"):
            Output(wrong)


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.sampled_from(["object", "array", "string"])
)
WORDS = ["type", "properties", "items", "required", "anyOf", "$ref", "$defs", "enum", "minItems", "minimum"]
SCHEMAS = st.dictionaries(
    st.sampled_from(WORDS),
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*WORDS, "a"]), inner),
        max_leaves=8,
    ),
)


@given(SCHEMAS, st.dictionaries(st.sampled_from(["a", "b"]), SCHEMAS))
def test_what_is_taken_for_a_schema_can_be_answered_and_anything_else_is_refused(
    schema: dict[str, Any], fields: dict[str, Any]
) -> None:
    given = {**schema, "type": "object", "properties": fields, "required": [*fields]}
    try:
        output = Output(given)
    except SessionError:
        return
    settings = {"output_schema": output.schema}
    answer = answer_blocks(CompiledContext((), (), settings=settings))
    assert isinstance(output.read(answer, "simulated"), dict)
