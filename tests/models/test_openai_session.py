from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from nbsession import App, Section, System, Timeline, component, tool
from nbsession.models import OpenAIModel
from nbsession.stores import SqlStore
from tests.support import fake_messages
from tests.support.fake_chat import answer, calling, pieces, text, tool_call

if TYPE_CHECKING:
    from pathlib import Path

    from nbsession.models import AnthropicModel
    from tests.support.fake_chat import FakeChat
    from tests.support.fake_messages import FakeMessages


@tool
def add_note(note: str) -> str:
    """Keep a note."""
    return f"Noted: {note}"


@component
def Notepad() -> list[Any]:
    return [System("You keep notes."), add_note, Timeline(), Section("It is noon.", id="time", title="Time")]


async def test_the_price_of_the_name_that_was_asked_for_is_charged_behind_a_gateway(
    chat_server: FakeChat, tmp_path: Path
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'sessions.db'}")
    model = OpenAIModel("gpt-5-mini", base_url=f"{chat_server.url}/v1", api_key="sk-1", max_retries=0)
    chat_server.will(answer({"content": "Noon."}, model="deployment-7"))
    app = App(Notepad, model=model, store=store, budget=1.0)
    session = app.session("gateway")
    result = await session.send("What time is it?")
    session.close()
    [tick] = result.ticks
    assert (tick.asked, tick.model) == ("openai:gpt-5-mini", "openai:deployment-7")
    assert result.cost == tick.cost == pytest.approx((16 * 0.25 + 20 * 0.025 + 17 * 2) / 1_000_000)
    [kept] = App(Notepad, model=model, store=store).session("gateway").ticks
    assert (kept.asked, kept.model, kept.cost) == (tick.asked, tick.model, tick.cost)
    await model.aclose()
    store.close()


class Groceries(BaseModel):
    items: list[str]


async def test_a_tool_loop_goes_back_and_forth(chat_server: FakeChat, chat: OpenAIModel) -> None:
    called = answer(
        *pieces("A note, then.", "reasoning"), *calling("add_note", '{"note": "milk"}'), finish="tool_calls"
    )
    chat_server.will(called, text("It is noted."))
    session = App(Notepad, model=chat).session()
    result = await session.send("Note: milk")
    session.close()
    assert (result.text, result.source, result.model) == ("It is noted.", "live", "openai:gpt-test-1")
    assert (result.usage.input_tokens, result.cost) == (72, None)
    first, second = chat_server.bodies()
    assert [item["function"]["name"] for item in first["tools"]] == ["add_note"]
    assert [item["role"] for item in second["messages"]] == ["system", "user", "assistant", "tool"]
    assert second["messages"][2] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "add_note", "arguments": '{"note": "milk"}'},
            }
        ],
    }
    assert second["messages"][3] == {"role": "tool", "tool_call_id": "call_1", "content": "Noted: milk"}
    assert second["messages"][1]["content"] == "Note: milk\n\n## Time\n\nIt is noon."


async def test_an_answer_is_read_into_the_model_asked_for(chat_server: FakeChat, chat: OpenAIModel) -> None:
    chat_server.will(text('{"items": ["milk", "eggs"]}'))
    session = App(Notepad, model=chat).session()
    result = await session.send("What do we need?", output=Groceries)
    session.close()
    assert result.output == Groceries(items=["milk", "eggs"])
    asked = chat_server.bodies()[0]["response_format"]["json_schema"]
    assert (asked["strict"], asked["schema"]["required"]) == (True, ["items"])


async def test_a_conversation_moves_between_providers_with_its_tool_calls(
    chat_server: FakeChat, chat: OpenAIModel, messages_server: FakeMessages, live: AnthropicModel
) -> None:
    called = fake_messages.message(
        fake_messages.thinking_block("A note, then.", "c2ln"),
        fake_messages.tool_block("add_note", '{"note": "milk"}', "toolu_1"),
        stop_reason="tool_use",
    )
    messages_server.will(called, fake_messages.text("Done."), fake_messages.text("Good."))
    chat_server.will(tool_call("add_note", {"note": "eggs"}), text("Done, too."))
    session = App(Notepad, model=live).session()
    await session.send("Note: milk")
    await session.send("Note: eggs", model=chat)
    await session.send("Good?", model=live)
    session.close()
    there = chat_server.bodies()[0]["messages"]
    assert [call["id"] for item in there for call in item.get("tool_calls", ())] == ["toolu_1"]
    assert [item["tool_call_id"] for item in there if item["role"] == "tool"] == ["toolu_1"]
    assert "A note, then." not in str(there)
    blocks = [block for item in messages_server.requests[-1].body["messages"] for block in item["content"]]
    assert [block["id"] for block in blocks if block["type"] == "tool_use"] == ["toolu_1", "call_1"]
    assert [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"] == [
        "toolu_1",
        "call_1",
    ]
