"""``send(output=Model)``: the last answer read as a pydantic model, whatever came before it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from nbsession import App, SessionError, StopReason, Timeline, component, tool
from nbsession.content import ServerTool, Text
from nbsession.errors import ModelError
from nbsession.events import MessageDelta
from nbsession.models import AnthropicModel, OpenAIModel, SimulatedModel
from nbsession.testing import ScriptedModel, call
from nbsession.tools import read_output
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
    assert read_output(Groceries, [step, *map(Text, texts)], "m") == MILK


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


async def test_a_model_that_cannot_be_held_to_a_schema_says_so_before_it_is_asked() -> None:
    session = App(Root, model=SimulatedModel(rate=0)).session()
    with pytest.raises(
        ModelError,
        match=r"^simulated cannot be held to a schema, and is asked for a Groceries; choose another model, "
        r"or send without output=$",
    ):
        await session.send("What do we need?", output=Groceries)
    assert session.ticks == []
    assert (await session.send("Hello")).text


@pytest.mark.parametrize("wrong", [dict, list[Groceries], MILK, "Groceries"])
async def test_what_is_no_pydantic_model_is_refused_where_it_is_given(wrong: Any) -> None:
    session = App(Root, model=ScriptedModel("a")).session()
    with pytest.raises(SessionError, match="output= takes a pydantic model class, got "):
        session.send("go", output=wrong)
    assert len(session.timeline) == 0
