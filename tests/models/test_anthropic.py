from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from nbsession.content import Text, Thinking, ToolCall
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    MessageDelta,
    MessageStart,
    MessageStop,
    TextDelta,
)
from nbsession.models.anthropic.model import AnthropicModel
from nbsession.usage import Usage
from tests.support.fake_messages import (
    Reply,
    broken,
    failing,
    message,
    status,
    text,
    text_block,
    thinking_block,
    tool_block,
)
from tests.support.live import ask, failure, finished

if TYPE_CHECKING:
    from tests.support.fake_messages import SSE, FakeMessages

KEY = "sk-secret-1234"
HELLO = text("Hello you there.")


async def test_text_streams_in_pieces_with_their_offsets(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(HELLO)
    assert await ask(live) == [
        MessageStart("anthropic:claude-test-1", "live"),
        ContentBlockStart(0, "text"),
        TextDelta(0, "Hello yo", 0),
        TextDelta(0, "u there.", 8),
        ContentBlockStop(0, Text("Hello you there.")),
        MessageDelta(
            "end_turn",
            Usage(
                input_tokens=36,
                output_tokens=17,
                cache_read_tokens=20,
                cache_write_tokens=5,
                thinking_tokens=3,
            ),
        ),
        MessageStop(),
    ]


async def test_the_request_is_the_context(messages_server: FakeMessages, live: AnthropicModel) -> None:
    await ask(live)
    sent = messages_server.requests[0]
    assert sent.path == "/v1/messages"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sorted(sent.body) == ["max_tokens", "messages", "model", "stream", "system"]
    assert sent.body["model"] == "claude-test-1"
    assert sent.body["system"][0]["text"] == "You are kind."
    assert sent.body["messages"][0]["content"][0]["text"] == "Hi"


async def test_a_tool_without_input_gets_an_empty_one(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(message(tool_block("now", ""), stop_reason="tool_use"))
    assert finished(await ask(live)) == [ToolCall("toolu_1", "now", {})]


async def test_an_input_sent_at_once_is_taken(messages_server: FakeMessages, live: AnthropicModel) -> None:
    start = {"type": "tool_use", "id": "call_1", "name": "add_note", "input": {"note": "x"}}
    block: list[SSE] = [
        {"type": "content_block_start", "content_block": start},
        {"type": "content_block_stop"},
    ]
    messages_server.will(message(block, stop_reason="tool_use"))
    assert finished(await ask(live)) == [ToolCall("call_1", "add_note", {"note": "x"})]


async def test_thinking_keeps_the_block_it_came_in(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(message(thinking_block("Let me see.\n", "c2ln"), text_block("Yes.")))
    thinking, reply = finished(await ask(live))
    assert thinking == Thinking(
        "Let me see.\n", {"type": "thinking", "thinking": "Let me see.\n", "signature": "c2ln"}
    )
    assert reply == Text("Yes.")


async def test_hidden_thinking_is_kept_though_it_has_no_text(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    redacted = {"type": "redacted_thinking", "data": "b3BhcXVl"}
    block: list[SSE] = [
        {"type": "content_block_start", "content_block": redacted},
        {"type": "content_block_stop"},
    ]
    messages_server.will(message(thinking_block("", "c2ln"), block, text_block("Yes.")))
    omitted, hidden, _ = finished(await ask(live))
    assert omitted == Thinking("", {"type": "thinking", "thinking": "", "signature": "c2ln"})
    assert hidden == Thinking("", redacted)


async def test_thinking_that_nobody_signed_is_not_to_be_sent_back(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(message(thinking_block("Hm.", signature=""), text_block("Yes.")))
    assert finished(await ask(live))[0] == Thinking("Hm.", {})


@pytest.mark.parametrize("half", ['{"note": "half', "", '{"note": "whole"}'])
async def test_a_tool_call_cut_by_max_tokens_never_ends(
    messages_server: FakeMessages, live: AnthropicModel, half: str
) -> None:
    messages_server.will(
        message(text_block("I note"), tool_block("add_note", half), stop_reason="max_tokens")
    )
    events = await ask(live)
    assert finished(events) == [Text("I note")]
    assert [event.stop_reason for event in events if isinstance(event, MessageDelta)] == ["max_tokens"]
    assert isinstance(events[-1], MessageStop)


async def test_calls_before_the_one_that_was_cut_are_whole(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    blocks = (tool_block("a", '{"x": 1}', "toolu_1"), tool_block("b", '{"x":', "toolu_2"))
    messages_server.will(message(*blocks, stop_reason="max_tokens"))
    assert finished(await ask(live)) == [ToolCall("toolu_1", "a", {"x": 1})]


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_several_blocks_come_in_order_however_they_are_cut(
    messages_server: FakeMessages, live: AnthropicModel, size: int
) -> None:
    blocks = (
        thinking_block("Hm, näh.", size=size),
        text_block("Zwei Notizen ☃.", size=size),
        tool_block("a", '{"x": "ü"}', "toolu_1", size=size),
        tool_block("b", '{"y": 2}', "toolu_2", size=size),
    )
    messages_server.will(message(*blocks, stop_reason="tool_use"))
    events = await ask(live)
    assert [str(block) for block in finished(events)] == ["Hm, näh.", "Zwei Notizen ☃.", "a(x='ü')", "b(y=2)"]
    assert [event.index for event in events if isinstance(event, ContentBlockStop)] == [0, 1, 2, 3]


async def test_a_refusal_says_why(messages_server: FakeMessages, live: AnthropicModel) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "It could do harm."}
    messages_server.will(message(stop_reason="refusal", stop_details=details))
    events = await ask(live)
    assert [(event.stop_reason, event.detail) for event in events if isinstance(event, MessageDelta)] == [
        ("refusal", "It could do harm.")
    ]


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("model_context_window_exceeded", "context_window"),
        ("pause_turn", "pause_turn"),
        ("brand_new", "brand_new"),
    ],
)
async def test_stop_reasons_are_passed_on(
    messages_server: FakeMessages, live: AnthropicModel, reason: str, ours: str
) -> None:
    messages_server.will(message(text_block("So"), stop_reason=reason))
    events = await ask(live)
    assert [event.stop_reason for event in events if isinstance(event, MessageDelta)] == [ours]


async def test_events_and_blocks_of_unknown_types_are_passed_over(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    novelty: list[SSE] = [
        {"type": "content_block_start", "content_block": {"type": "hologram", "depth": 3}},
        {"type": "content_block_delta", "delta": {"type": "hologram_delta", "slice": "x"}},
        {"type": "content_block_stop"},
    ]
    odd: list[SSE] = [
        *text_block("Hello")[:-1],
        {"type": "content_block_delta", "delta": {"type": "odd_delta"}},
    ]
    reply = message(novelty, [*odd, {"type": "content_block_stop"}])
    events = (reply.events[0], {"type": "weather_report", "sky": "blue"}, *reply.events[1:])
    messages_server.will(Reply(events))
    assert finished(await ask(live)) == [Text("Hello")]


@pytest.mark.parametrize(
    ("reply", "kind", "retryable", "said"),
    [
        (
            status(401, "authentication_error", "invalid key"),
            "authentication",
            False,
            "check ANTHROPIC_API_KEY",
        ),
        (status(403, "permission_error"), "authentication", False, "refused the API key"),
        (status(429, "rate_limit_error", retry_after="7"), "rate_limit", True, "wait 7 s, then send again"),
        (status(529, "overloaded_error"), "overloaded", True, r"is overloaded \(529\): no luck; wait"),
        (status(500), "server", True, "failed on its side"),
        (status(503, ""), "server", True, "failed on its side"),
        (status(504, "timeout_error"), "timeout", True, "took too long"),
        (status(404, "not_found_error", "model: claude-test-1"), "request", False, "check the model's id"),
        (
            status(400, "invalid_request_error", "bad\n  field"),
            "request",
            False,
            r"\(400\): bad field; look at",
        ),
        (status(400, "invalid_request_error", "prompt is too long"), "request", False, "show less"),
        (status(413, "request_too_large", "too large"), "request", False, "show less"),
        (
            failing(HELLO, 4, "overloaded_error", "Overloaded"),
            "overloaded",
            True,
            "is overloaded: Overloaded; wait",
        ),
        (failing(HELLO, 4, "api_error", "Internal"), "server", True, "failed on its side: Internal; send"),
        (failing(HELLO, 4, "rate_limit_error", "Slow"), "rate_limit", True, "wait a minute"),
        (failing(HELLO, 4, "invalid_request_error", "No"), "request", False, "refused the request: No"),
        (broken(HELLO, 4, "cut"), "connection", True, "broke off in mid-answer"),
        (broken(HELLO, 4, "reset"), "connection", True, "broke off in mid-answer|could not be reached"),
        (broken(HELLO, -1, "whole"), "stream", True, "before it was complete"),
        (broken(HELLO, 0, "whole"), "stream", True, "before it was complete"),
        (
            message(tool_block("f", '{"a": '), stop_reason="tool_use"),
            "stream",
            True,
            "called f with an input",
        ),
        (message(tool_block("f", "[1]"), stop_reason="tool_use"), "stream", True, r"no JSON object: '\[1\]'"),
    ],
)
async def test_every_failure_is_a_model_error_of_one_sentence(
    messages_server: FakeMessages, live: AnthropicModel, reply: Reply, kind: str, retryable: bool, said: str
) -> None:
    messages_server.will(reply)
    error = await failure(live)
    assert (error.kind, error.retryable) == (kind, retryable)
    assert "anthropic:claude-test-1" in str(error)
    assert re.search(said, str(error))


async def test_data_that_is_no_json_is_a_broken_stream(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(Reply(({"type": "message_start\ndata: {"},)))
    error = await failure(live)
    assert (error.kind, error.retryable) == ("stream", True)


async def test_a_server_on_this_machine_is_not_sent_the_key_in_the_environment(
    messages_server: FakeMessages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    model = AnthropicModel("tiny", base_url=messages_server.url, prefix="ollama", caching=False)
    await ask(model)
    await model.aclose()
    sent = messages_server.requests[0]
    assert KEY not in json.dumps(dict(sent.headers))
    assert "cache_control" not in json.dumps(sent.body)
    assert model.name == "ollama:tiny"


def test_a_model_has_a_name_a_source_and_a_window() -> None:
    model = AnthropicModel("claude-opus-5", api_key=KEY)
    assert (model.name, model.source, repr(model)) == (
        "anthropic:claude-opus-5",
        "live",
        "<AnthropicModel anthropic:claude-opus-5>",
    )
    assert model.capabilities.window == 1_000_000
    assert AnthropicModel("anthropic:claude-new").name == "anthropic:claude-new"
    assert AnthropicModel("claude-new").capabilities.window is None


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "content_block_delta", "index": 0},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 7}},
        {"type": "content_block_start", "index": 1},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use"}},
        {"type": "message_delta"},
    ],
)
async def test_events_of_another_form_are_a_broken_stream(
    messages_server: FakeMessages, live: AnthropicModel, odd: SSE
) -> None:
    messages_server.will(Reply((*HELLO.events[:4], odd, *HELLO.events[4:])))
    error = await failure(live)
    assert (error.kind, error.retryable) == ("stream", True)


async def test_what_a_careless_server_leaves_out_is_made_up(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    whole = message(text_block("I note."), tool_block("add_note", "{}"), stop_reason="tool_use")
    left_out = ("message_start", "content_block_stop")
    messages_server.will(Reply(tuple(event for event in whole.events if event["type"] not in left_out)))
    events = await ask(live)
    assert events[0] == MessageStart("anthropic:claude-test-1", "live")
    assert finished(events) == [Text("I note."), ToolCall("toolu_1", "add_note", {})]
    assert isinstance(events[-1], MessageStop)


async def test_blocks_that_all_stand_at_place_0_are_told_apart(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    whole = message(text_block("One."), text_block("Two."))
    messages_server.will(
        Reply(tuple({**event, "index": 0} if "index" in event else event for event in whole.events))
    )
    events = await ask(live)
    assert finished(events) == [Text("One."), Text("Two.")]
    assert [event.index for event in events if isinstance(event, ContentBlockStop)] == [0, 1]


async def test_an_answer_that_does_not_say_why_it_ends_is_not_whole(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    events = [event for event in HELLO.events if event["type"] != "message_delta"]
    messages_server.will(Reply(tuple(events)))
    assert "before it was complete" in str(await failure(live))
