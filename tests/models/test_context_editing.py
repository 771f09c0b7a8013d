"""What Anthropic clears of a long conversation on its side: asked for by a setting, told as a step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Model, System, Timeline, component, tool
from nbsession.content import Message, ServerTool, Text
from nbsession.context import context_of
from nbsession.errors import ModelError
from nbsession.models import AnthropicModel
from nbsession.models.anthropic.request import request_of
from tests.support import fake_messages
from tests.support.fake_responses import text as responses_text

if TYPE_CHECKING:
    from nbsession.models import OpenAIModel
    from tests.support.fake_messages import FakeMessages, Reply
    from tests.support.fake_responses import FakeResponses

CLEARED = [
    {"type": "clear_tool_uses_20250919", "cleared_tool_uses": 8, "cleared_input_tokens": 50_000},
    {"type": "clear_thinking_20251015", "cleared_thinking_turns": 2, "cleared_input_tokens": 1_200},
]


@tool
def add_note(note: str) -> str:
    """Keep a note."""
    return f"Noted: {note}"


@component
def Notepad(edits: Any) -> list[Any]:
    return [Model(context_management=edits), System("You keep notes."), add_note, Timeline()]


@component
def Talk() -> list[Any]:
    return [System("You keep notes."), Timeline()]


def clearing(reply: Reply) -> Reply:
    events = [
        {**event, "context_management": {"applied_edits": CLEARED}}
        if event["type"] == "message_delta"
        else event
        for event in reply.events
    ]
    return replace(reply, events=tuple(events))


async def test_what_the_service_cleared_is_told_and_not_sent_back(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    called = fake_messages.tool_use("add_note", {"note": "milk"})
    messages_server.will(clearing(called), fake_messages.text("Noted."))
    session = App(Notepad(True), model=live).session()
    result = await session.send("Note: milk")
    session.close()
    first, second = messages_server.requests
    assert first.body["context_management"] == {"edits": [{"type": "clear_tool_uses_20250919"}]}
    assert first.headers["anthropic-beta"] == "context-management-2025-06-27"
    assert session.request(session.ticks[0]) == first.body
    told = "not shown to the model: 8 uses of tools, 50,000 tokens\nnot shown to the model: 2 turns of thinking, 1,200 tokens"
    assert result.ticks[0].response[1] == ServerTool("", "context_management", told, {}, is_result=True)
    assert [block["type"] for block in second.body["messages"][1]["content"]] == ["tool_use"]
    assert result.text == "Noted."


async def test_another_provider_s_model_is_not_told(
    messages_server: FakeMessages,
    live: AnthropicModel,
    responses_server: FakeResponses,
    responses: OpenAIModel,
) -> None:
    messages_server.will(clearing(fake_messages.text("Hello.")))
    responses_server.will(responses_text("Hello."))
    session = App(Talk, model=live).session()
    await session.send("Hi")
    await session.send("Hi again", model=responses)
    session.close()
    said = [item["content"] for item in responses_server.bodies()[0]["input"] if item["role"] == "assistant"]
    assert said == ["Hello."]


async def test_it_goes_with_the_question_why_the_cache_missed(messages_server: FakeMessages) -> None:
    model = AnthropicModel("claude-test-1", base_url=messages_server.url, cache_diagnosis=True)
    session = App(Notepad([{"type": "clear_thinking_20251015", "keep": "all"}]), model=model).session()
    await session.send("Hi")
    await session.aclose()
    await model.aclose()
    [sent] = messages_server.requests
    assert sent.body["context_management"] == {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    assert sent.body["diagnostics"] == {"previous_message_id": None}


def test_its_forms_and_one_that_is_none() -> None:
    def asked(value: Any) -> Any:
        context = context_of([], [Message("user", (Text("Hi"),))], settings={"context_management": value})
        return request_of(context, "claude-test-1").get("context_management")

    own = {"edits": [{"type": "clear_tool_uses_20250919", "keep": {"type": "tool_uses", "value": 3}}]}
    assert asked(own) == asked(own["edits"]) == own
    assert asked(False) is asked(None) is None
    with pytest.raises(ModelError, match=r"context_management for claude-test-1 is True, or a list .* got 3"):
        asked(3)
