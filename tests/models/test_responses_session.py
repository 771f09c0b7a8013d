"""Sessions over the Responses API, and conversations that move between providers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from nbsession import App, CodeExecution, Section, System, Timeline, WebSearch, component, tool
from nbsession.content import ServerTool, Text, Thinking
from nbsession.models import OpenAIModel, RecordedModel
from nbsession.stores import SqlStore
from nbsession.usage import prices
from tests.support import fake_chat, fake_messages
from tests.support.fake_responses import answer, calling, ran, reasoned, said, searched, text

if TYPE_CHECKING:
    from pathlib import Path

    from nbsession.models import AnthropicModel
    from tests.support.fake_chat import FakeChat
    from tests.support.fake_messages import SSE, FakeMessages
    from tests.support.fake_responses import FakeResponses

CITED = {"type": "url_citation", "url": "https://a.org", "title": "A", "start_index": 0, "end_index": 5}


@tool
def add_note(note: str) -> str:
    """Keep a note."""
    return f"Noted: {note}"


@component
def Notepad() -> list[Any]:
    return [System("You keep notes."), add_note, Timeline(), Section("It is noon.", id="time", title="Time")]


@component
def Coast() -> list[Any]:
    return [System("You know the sea."), WebSearch(), CodeExecution(), Timeline()]


class Groceries(BaseModel):
    items: list[str]


def inputs(server: FakeResponses, number: int = -1) -> list[SSE]:
    items: list[SSE] = server.requests[number].body["input"]
    return items


async def test_reasoning_goes_back_with_the_call_that_it_led_to(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    thought = reasoned("A note, then.")
    responses_server.will(answer(thought, calling("add_note", '{"note": "milk"}')), text("It is noted."))
    session = App(Notepad, model=responses).session()
    result = await session.send("Note: milk")
    session.close()
    assert (result.text, result.source, result.model) == ("It is noted.", "live", "openai:gpt-test-1")
    assert (result.usage.input_tokens, result.usage.thinking_tokens, result.cost) == (72, 6, None)
    assert thought.done is not None
    kept = {name: value for name, value in thought.done.items() if value is not None}
    assert inputs(responses_server)[1:] == [
        kept,
        {"type": "function_call", "call_id": "call_1", "name": "add_note", "arguments": '{"note": "milk"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "Noted: milk"},
    ]
    assert [part["text"] for part in inputs(responses_server)[0]["content"]] == [
        "Note: milk",
        "## Time\n\nIt is noon.",
    ]


async def test_reasoning_under_another_context_or_of_another_model_is_left_out_and_said_so(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    other = OpenAIModel("gpt-test-2", api="responses", base_url=responses_server.url)
    responses_server.will(answer(reasoned("Hm."), said("Yes.")))
    session = App(Coast, model=responses).session()
    await session.send("Hi")
    await session.send("And?", model=other)
    session.close()
    await other.aclose()
    assert [item["type"] for item in inputs(responses_server)] == ["message"] * 3
    [note] = session.ticks[1].context.withheld
    assert note.reason == "thinking made by another model (openai:gpt-test-1)"


async def test_an_answer_is_read_into_the_model_asked_for(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    responses_server.will(text('{"items": ["milk", "eggs"]}'))
    session = App(Notepad, model=responses).session()
    result = await session.send("What do we need?", output=Groceries)
    session.close()
    assert result.output == Groceries(items=["milk", "eggs"])
    asked = responses_server.requests[0].body["text"]["format"]
    assert (asked["type"], asked["strict"], asked["schema"]["required"]) == ("json_schema", True, ["items"])


async def test_what_is_shown_is_what_the_responses_api_got(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    responses_server.will(answer(reasoned("Hm."), calling("add_note", '{"note": "milk"}')), text("Done."))
    session = App(Notepad, model=responses).session()
    await session.send("Note: milk")
    bodies = [request.body for request in responses_server.requests]
    assert [json.loads(json.dumps(session.request(tick))) for tick in session.ticks] == bodies
    session.close()


async def test_the_tools_of_the_tree_are_those_of_either_provider(
    responses_server: FakeResponses,
    responses: OpenAIModel,
    messages_server: FakeMessages,
    live: AnthropicModel,
) -> None:
    responses_server.will(
        answer(searched("tides", sources=["https://a.org"]), said("Noon.", annotations=[CITED]), searches=2)
    )
    session = App(Coast, model=responses).session()
    result = await session.send("When is high tide?")
    await session.send("Thanks", model=live)
    session.close()
    assert [tool["type"] for tool in responses_server.requests[0].body["tools"]] == [
        "web_search",
        "code_interpreter",
    ]
    [sent] = messages_server.requests
    assert [tool["name"] for tool in sent.body["tools"]] == ["web_search", "code_execution"]
    assert sent.body["messages"][1]["content"] == [
        {"type": "text", "text": "web_search('tides')\nhttps://a.org"},
        {"type": "text", "text": "Noon."},
    ]
    assert {note.reason for note in session.ticks[1].context.withheld} == {
        "anthropic:claude-test-1 does not read the steps of another provider's tools (openai:gpt-test-1); they are sent as text",
        "anthropic:claude-test-1 does not read the citations of another provider (openai:gpt-test-1)",
    }
    assert result.usage.web_searches == 2


async def test_steps_of_anthropic_s_tools_are_text_to_openai(
    responses_server: FakeResponses,
    responses: OpenAIModel,
    messages_server: FakeMessages,
    live: AnthropicModel,
) -> None:
    start: SSE = {
        "type": "server_tool_use",
        "id": "srvtoolu_1",
        "name": "web_search",
        "input": {"query": "x"},
    }
    found: SSE = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    blocks: list[list[SSE]] = [
        [{"type": "content_block_start", "content_block": block}, {"type": "content_block_stop"}]
        for block in (start, found)
    ]
    messages_server.will(fake_messages.message(*blocks, fake_messages.text_block("Noon.")))
    session = App(Coast, model=live).session()
    await session.send("When is high tide?")
    await session.send("Thanks", model=responses)
    session.close()
    assert [item["content"] for item in inputs(responses_server) if item["role"] == "assistant"] == [
        "web_search(query='x')",
        "nothing found",
        "Noon.",
    ]


async def test_a_conversation_moves_between_all_providers_with_its_tool_calls(
    responses_server: FakeResponses,
    responses: OpenAIModel,
    messages_server: FakeMessages,
    live: AnthropicModel,
    chat_server: FakeChat,
    chat: OpenAIModel,
) -> None:
    called = fake_messages.message(
        fake_messages.thinking_block("A note, then.", "c2ln"),
        fake_messages.tool_block("add_note", '{"note": "milk"}', "toolu_1"),
        stop_reason="tool_use",
    )
    messages_server.will(called, fake_messages.text("Done."), fake_messages.text("Good."))
    responses_server.will(
        answer(reasoned("Eggs."), calling("add_note", '{"note": "eggs"}', "call_2")), text("Done, too.")
    )
    chat_server.will(fake_chat.text("All done."))
    session = App(Notepad, model=live).session()
    await session.send("Note: milk")
    await session.send("Note: eggs", model=responses)
    await session.send("All?", model=chat)
    await session.send("Good?", model=live)
    session.close()
    there = inputs(responses_server, 0)
    assert [item["call_id"] for item in there if "call_id" in item] == ["toolu_1", "toolu_1"]
    assert "A note, then." not in str(there)
    assert [item["role"] for item in chat_server.requests[0].body["messages"]].count("tool") == 2
    blocks = [block for item in messages_server.requests[-1].body["messages"] for block in item["content"]]
    assert [block["id"] for block in blocks if block["type"] == "tool_use"] == ["toolu_1", "call_2"]
    assert not any("Eggs." in str(block) for block in blocks)


async def test_a_stored_session_brings_reasoning_steps_and_phases_back(
    responses_server: FakeResponses, responses: OpenAIModel, tmp_path: Path
) -> None:
    responses_server.will(
        answer(
            reasoned("Hm."),
            said("I look.", phase="commentary"),
            ran("2 + 2", {"type": "logs", "logs": "4"}),
            said("Four.", id="msg_2", phase="final_answer"),
        ),
        text("Gladly."),
    )
    store = SqlStore(f"sqlite:///{tmp_path / 'sea.db'}")
    session = App(Coast, model=responses, store=store).session("coast")
    before = (await session.send("2 + 2?")).content
    session.close()
    again = App(Coast, model=responses, store=store).session("coast")
    assert again.ticks[0].response == before
    assert again.verify() == []
    await again.send("Thanks")
    again.close()
    store.close()
    assert [item["type"] for item in inputs(responses_server)] == [
        "message",
        "reasoning",
        "message",
        "code_interpreter_call",
        "message",
        "message",
    ]
    assert [item.get("phase") for item in inputs(responses_server) if item.get("role") == "assistant"] == [
        "commentary",
        "final_answer",
    ]


async def test_a_recording_replays_reasoning_steps_and_the_turn_after_them(
    responses_server: FakeResponses, responses: OpenAIModel, tmp_path: Path
) -> None:
    responses_server.will(
        answer(reasoned("Hm."), searched("tides"), said("Noon.", annotations=[CITED], phase="final_answer")),
        text("Gladly."),
    )
    contents = []
    for model in (
        RecordedModel(tmp_path / "tape", record="new", model=responses),
        RecordedModel(tmp_path / "tape"),
    ):
        session = App(Coast, model=model).session()
        contents.append([(await session.send(words)).content for words in ("When?", "Thanks")])
        session.close()
    assert contents[0] == contents[1]
    thought, step, words = contents[1][0]
    assert isinstance(thought, Thinking)
    assert isinstance(step, ServerTool)
    assert words == Text("Noon.", (CITED,), "final_answer")
    assert len(responses_server.requests) == 2


async def test_what_was_cached_thought_and_searched_is_charged(responses_server: FakeResponses) -> None:
    model = OpenAIModel("gpt-6-sol", api="responses", base_url=responses_server.url, max_retries=0)
    responses_server.will(answer(searched("a"), said("So."), model="gpt-6-sol", searches=1))
    session = App(Coast, model=model).session()
    result = await session.send("When?")
    session.close()
    await model.aclose()
    assert result.cost == pytest.approx((11 * 2 + 17 * 10 + 20 * 0.2 + 5 * 2.5) / 1_000_000 + 0.01)
    assert prices.saved("gpt-6-sol", result.usage) == pytest.approx((20 * 1.8 - 5 * 0.5) / 1_000_000)
