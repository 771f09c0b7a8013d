"""Tools that the model is shown only when it has searched for them, with either provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Section, System, Timeline, ToolSearch, WebSearch, component, tool
from nbsession.content import ToolSpec
from nbsession.errors import ModelError
from nbsession.models.anthropic.request import request_of
from nbsession.models.openai.chat.request import request_of as chat_request_of
from nbsession.models.openai.responses.request import request_of as responses_request_of
from nbsession.testing import render
from tests.support import fake_messages
from tests.support.fake_responses import answer, calling, item, text

if TYPE_CHECKING:
    from nbsession.context import CompiledContext
    from nbsession.models import AnthropicModel, OpenAIModel
    from tests.support.fake_messages import SSE, FakeMessages
    from tests.support.fake_responses import FakeResponses


@tool
def add_note(note: str) -> str:
    """Keep a note."""
    return f"Noted: {note}"


@tool
def find_note(words: str) -> str:
    """Find a note."""
    return f"Found: {words}"


@component
def Notepad() -> list[Any]:
    return [
        System("You keep notes."),
        ToolSearch(add_note, WebSearch(), Section("It is noon.", id="time")),
        find_note,
        Timeline(),
    ]


def block(content: SSE) -> list[SSE]:
    return [{"type": "content_block_start", "content_block": content}, {"type": "content_block_stop"}]


async def test_anthropic_searches_among_the_tools_and_the_one_that_is_found_runs(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    name = "tool_search_tool_bm25"
    found = {
        "type": "tool_search_tool_search_result",
        "tool_references": [{"type": "tool_reference", "tool_name": "add_note"}],
    }
    messages_server.will(
        fake_messages.message(
            block({"type": "server_tool_use", "id": "srvtoolu_1", "name": name, "input": {"query": "note"}}),
            block({"type": "tool_search_tool_result", "tool_use_id": "srvtoolu_1", "content": found}),
            fake_messages.tool_block("add_note", '{"note": "milk"}'),
            stop_reason="tool_use",
        ),
        fake_messages.text("Noted."),
    )
    session = App(Notepad, model=live).session()
    result = await session.send("Note: milk")
    session.close()
    first, second = (request.body for request in messages_server.requests)
    assert [(item["name"], item.get("defer_loading")) for item in first["tools"]] == [
        (name, None),
        ("add_note", True),
        ("web_search", None),
        ("find_note", None),
    ]
    assert first["tools"][0]["type"] == "tool_search_tool_bm25_20251119"
    assert second["messages"][1]["content"][1]["content"] == found
    assert result.tool_calls[0].result is not None
    assert result.tool_calls[0].result.text == "Noted: milk"
    assert [str(part) for part in result.ticks[0].response[:2]] == [
        "tool_search_tool_bm25(query='note')",
        "add_note",
    ]


async def test_openai_searches_among_the_tools_and_the_one_that_is_found_runs(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    schema = add_note.spec.input_schema
    function = {"type": "function", "name": "add_note", "parameters": schema, "strict": False}
    base = {"execution": "server", "status": "completed", "call_id": None, "created_by": "model"}
    called = item(type="tool_search_call", id="ts_1", arguments={"query": "note"}, **base)
    given = item(type="tool_search_output", id="to_1", tools=[function], **base)
    responses_server.will(answer(called, given, calling("add_note", '{"note": "milk"}')), text("Noted."))
    session = App(Notepad, model=responses).session()
    result = await session.send("Note: milk")
    session.close()
    first, second = responses_server.bodies()
    assert [(item.get("name", item["type"]), item.get("defer_loading")) for item in first["tools"]] == [
        ("tool_search", None),
        ("add_note", True),
        ("web_search", None),
        ("find_note", None),
    ]
    assert [item["type"] for item in second["input"][1:]] == [
        "tool_search_call",
        "tool_search_output",
        "function_call",
        "function_call_output",
    ]
    assert "created_by" not in second["input"][1]
    assert result.tool_calls[0].result is not None
    assert [str(part) for part in result.ticks[0].response[:2]] == [
        "tool_search('note')",
        "tool_search()\nadd_note",
    ]


def compiled(*content: Any) -> CompiledContext:
    @component
    def Shown() -> list[Any]:
        return [*content, Timeline()]

    return App(Shown).session().compile("Hi")


def test_what_is_not_shown_yet_costs_nothing_and_is_another_context() -> None:
    open_tools = render([add_note, Timeline()]).context
    hidden = render([ToolSearch(add_note), Timeline()]).context
    searches = render([ToolSearch(), Timeline()]).context
    assert hidden.tokens == searches.tokens
    assert open_tools.tokens > render([Timeline()]).context.tokens
    assert [spec.name for spec in hidden.tools] == ["tool_search", "add_note"]
    assert open_tools.tools[0].to_dict() != hidden.tools[1].to_dict()
    assert [ToolSpec.from_dict(spec.to_dict()) for spec in hidden.tools] == list(hidden.tools)


def test_the_cache_mark_stands_on_a_tool_that_is_shown() -> None:
    context = compiled(find_note, ToolSearch(add_note))
    tools = request_of(context, "claude-test-1")["tools"]
    assert [tool.get("name") for tool in tools if "cache_control" in tool] == ["tool_search_tool_bm25"]


def test_another_version_of_the_search_has_the_name_of_its_type() -> None:
    context = compiled(ToolSearch(add_note, type="tool_search_tool_regex_20251119"))
    assert request_of(context, "claude-test-1", caching=False)["tools"][0] == {
        "type": "tool_search_tool_regex_20251119",
        "name": "tool_search_tool_regex",
    }


def test_a_model_without_such_a_search_says_so() -> None:
    context = compiled(ToolSearch(add_note))
    assert responses_request_of(context, "gpt")["tools"][0] == {"type": "tool_search"}
    with pytest.raises(ModelError, match="gpt has no tool 'tool_search' of its own"):
        chat_request_of(context, "gpt")
