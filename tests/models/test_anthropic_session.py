from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Section, System, Timeline, component, tool
from nbsession.errors import ModelError
from tests.support.fake_messages import (
    broken,
    message,
    status,
    text,
    text_block,
    thinking_block,
    tool_block,
)

if TYPE_CHECKING:
    from nbsession.models import AnthropicModel
    from tests.support.fake_messages import FakeMessages


@tool
def add_note(note: str) -> str:
    """Keep a note."""
    return f"Noted: {note}"


@component
def Notepad() -> list[Any]:
    return [System("You keep notes."), add_note, Timeline(), Section("It is noon.", id="time", title="Time")]


async def test_a_tool_loop_goes_back_and_forth_with_its_thinking(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    called = message(
        thinking_block("A note, then.", "c2ln"),
        tool_block("add_note", '{"note": "milk"}'),
        stop_reason="tool_use",
    )
    messages_server.will(called, text("It is noted."))
    session = App(Notepad, model=live).session()
    result = await session.send("Note: milk")
    session.close()
    assert (result.text, result.source, result.model) == ("It is noted.", "live", "anthropic:claude-test-1")
    assert result.usage.input_tokens == 72
    assert result.cost is None
    first, second = (request.body for request in messages_server.requests)
    assert [block["name"] for block in first["tools"]] == ["add_note"]
    assistant, answered = second["messages"][-2:]
    assert assistant["content"] == [
        {"type": "thinking", "thinking": "A note, then.", "signature": "c2ln"},
        {"type": "tool_use", "id": "toolu_1", "name": "add_note", "input": {"note": "milk"}},
    ]
    assert answered["content"][0]["type"] == "tool_result"
    assert answered["content"][0]["content"] == [{"type": "text", "text": "Noted: milk"}]


async def test_what_stays_of_a_request_is_sent_again_unchanged(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    called = message(tool_block("add_note", '{"note": "milk"}'), stop_reason="tool_use")
    messages_server.will(called, text("It is noted."))
    session = App(Notepad, model=live).session()
    await session.send("Note: milk")
    session.close()
    first, second = (unmarked(request.body) for request in messages_server.requests)
    assert second["messages"][: len(first["messages"])] == first["messages"]
    assert (second["system"], second["tools"]) == (first["system"], first["tools"])


async def test_after_a_failure_the_session_goes_on_with_a_valid_request(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    cut = broken(message(text_block("Half an answer"), tool_block("add_note", '{"note": "milk"}')), -3, "cut")
    messages_server.will(status(529, "overloaded_error"), cut, text("Here I am."))
    session = App(Notepad, model=live).session()
    for said in ("One", "Two"):
        with pytest.raises(ModelError):
            await session.send(said)
    assert (await session.send("Three")).text == "Here I am."
    session.close()
    messages = messages_server.requests[-1].body["messages"]
    roles = [item["role"] for item in messages]
    assert roles == ["user", "assistant", "user"]
    assert [block["type"] for block in messages[1]["content"]] == ["text"]
    assert all(item["content"] for item in messages)


def unmarked(data: Any) -> Any:
    """Leave out the cache marks, which move on."""
    if isinstance(data, dict):
        return {name: unmarked(value) for name, value in data.items() if name != "cache_control"}
    return [unmarked(item) for item in data] if isinstance(data, list) else data
