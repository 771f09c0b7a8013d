from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from nbsession.content import Text, Thinking, ToolCall
from nbsession.errors import ModelError
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    MessageDelta,
    MessageStart,
    MessageStop,
    TextDelta,
)
from nbsession.models import Capabilities, resolve
from nbsession.models.openai.model import OpenAIModel
from nbsession.usage import Usage
from tests.support.fake_chat import (
    DONE,
    answer,
    calling,
    chunk,
    failing,
    pieces,
    status,
    text,
)
from tests.support.fake_messages import Reply, broken
from tests.support.live import ask, context, failure, finished

if TYPE_CHECKING:
    from nbsession.events import ModelEvent
    from tests.support.fake_chat import FakeChat

KEY = "sk-secret-1234"
HELLO = text("Hello you there.")


def ending(events: list[ModelEvent]) -> MessageDelta:
    [delta] = [event for event in events if isinstance(event, MessageDelta)]
    return delta


async def test_text_streams_in_pieces_with_their_offsets(chat_server: FakeChat, chat: OpenAIModel) -> None:
    chat_server.will(HELLO)
    assert await ask(chat) == [
        MessageStart("openai:gpt-test-1", "live"),
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


async def test_the_request_is_the_context(chat_server: FakeChat, chat: OpenAIModel) -> None:
    await ask(chat)
    sent = chat_server.requests[0]
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.body == {
        "model": "gpt-test-1",
        "messages": [{"role": "system", "content": "You are kind."}, {"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_calls_are_made_beside_words_and_each_other(chat_server: FakeChat, chat: OpenAIModel) -> None:
    both = [*calling("a", '{"x": 1}', "call_1", 0), *calling("b", "", "call_2", 1)]
    chat_server.will(answer(*pieces("Two notes."), *both, finish="tool_calls"))
    assert finished(await ask(chat)) == [
        Text("Two notes."),
        ToolCall("call_1", "a", {"x": 1}),
        ToolCall("call_2", "b", {}),
    ]


async def test_inputs_of_two_calls_may_come_by_turns(chat_server: FakeChat, chat: OpenAIModel) -> None:
    one, two = calling("a", '{"x": 1}', "call_1", 0, size=4), calling("b", '{"y": 2}', "call_2", 1, size=4)
    by_turns = [delta for pair in zip(one, two, strict=True) for delta in pair]
    chat_server.will(answer(*by_turns, finish="tool_calls"))
    assert finished(await ask(chat)) == [ToolCall("call_1", "a", {"x": 1}), ToolCall("call_2", "b", {"y": 2})]


async def test_calls_that_all_stand_at_place_0_are_told_apart_by_their_ids(
    chat_server: FakeChat, chat: OpenAIModel
) -> None:
    both = [*calling("a", '{"x": 1}', "call_1", 0), *calling("a", '{"x": 2}', "call_2", 0)]
    chat_server.will(answer(*both, finish="stop"))
    events = await ask(chat)
    assert finished(events) == [ToolCall("call_1", "a", {"x": 1}), ToolCall("call_2", "a", {"x": 2})]
    assert ending(events).stop_reason == "tool_use"


@pytest.mark.parametrize("id", ["", "functions.add:0", "x" * 65])
async def test_a_call_without_an_id_that_all_providers_take_gets_one(
    chat_server: FakeChat, chat: OpenAIModel, id: str
) -> None:
    chat_server.will(answer(*calling("add", "{}", id), finish="tool_calls"))
    [made] = finished(await ask(chat))
    assert re.fullmatch(r"call_[0-9a-f]+", made.id)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_thinking_of_open_models_is_shown_and_not_to_be_sent_back(
    chat_server: FakeChat, chat: OpenAIModel, field: str
) -> None:
    chat_server.will(answer(*pieces("Let me see.", field), *pieces("Yes.")))
    events = await ask(chat)
    assert finished(events) == [Thinking("Let me see.", {}), Text("Yes.")]
    assert events[1] == ContentBlockStart(0, "thinking")


@pytest.mark.parametrize("half", ['{"note": "half', "", '{"note": "whole"}'])
async def test_a_tool_call_cut_by_its_limit_never_ends(
    chat_server: FakeChat, chat: OpenAIModel, half: str
) -> None:
    before = calling("a", '{"x": 1}', "call_0", 0)
    cut = calling("add_note", half, "call_1", 1)
    chat_server.will(answer(*pieces("I note"), *before, *cut, finish="length"))
    events = await ask(chat)
    assert finished(events) == [Text("I note"), ToolCall("call_0", "a", {"x": 1})]
    assert ending(events).stop_reason == "max_tokens"
    assert isinstance(events[-1], MessageStop)


async def test_a_refusal_says_why(chat_server: FakeChat, chat: OpenAIModel) -> None:
    chat_server.will(answer(*pieces("It could do harm.", "refusal")))
    events = await ask(chat)
    assert (ending(events).stop_reason, ending(events).detail) == ("refusal", "It could do harm.")
    assert finished(events) == []


@pytest.mark.parametrize(
    ("reason", "ours"),
    [("content_filter", "refusal"), ("tool_calls", "end_turn"), ("brand_new", "brand_new")],
)
async def test_stop_reasons_are_passed_on(
    chat_server: FakeChat, chat: OpenAIModel, reason: str, ours: str
) -> None:
    chat_server.will(answer(*pieces("So"), finish=reason))
    assert ending(await ask(chat)).stop_reason == ours


async def test_what_is_not_known_is_passed_over(chat_server: FakeChat, chat: OpenAIModel) -> None:
    other = chunk({"content": "another choice"}, index=1)
    odd = chunk({"content": None, "hologram": {"depth": 3}})
    bare = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "gpt-test-1", "choices": []}
    chat_server.will(Reply((bare, odd, other, *HELLO.events)))
    assert finished(await ask(chat)) == [Text("Hello you there.")]


async def test_usage_that_is_not_reported_is_estimated_and_said_to_be(
    chat_server: FakeChat, chat: OpenAIModel
) -> None:
    chat_server.will(answer(*pieces("Hello you there."), usage=None))
    usage = ending(await ask(chat)).usage
    assert usage == Usage(context().tokens, 4, estimated=True)


async def test_an_answer_may_end_without_the_last_mark(chat_server: FakeChat, chat: OpenAIModel) -> None:
    chat_server.will(Reply(tuple(event for event in HELLO.events if event is not DONE)))
    assert finished(await ask(chat)) == [Text("Hello you there.")]


@pytest.mark.parametrize(
    ("reply", "kind", "retryable", "said"),
    [
        (status(401, "invalid_api_key", "wrong key"), "authentication", False, "check OPENAI_API_KEY"),
        (status(403), "authentication", False, "refused the API key"),
        (
            status(429, "rate_limit_exceeded", retry_after="7"),
            "rate_limit",
            True,
            "wait 7 s, then send again",
        ),
        (
            status(429, "insufficient_quota", "No credit."),
            "request",
            False,
            r"want of credit \(429\): No credit; add some",
        ),
        (status(500), "server", True, "failed on its side"),
        (status(503), "server", True, "failed on its side"),
        (status(404, "model_not_found", "no such model"), "request", False, "check the model's id"),
        (status(400, None, "bad\n  field"), "request", False, r"\(400\): bad field; look at"),
        (
            status(400, "context_length_exceeded", "maximum context length is 8"),
            "request",
            False,
            "show less",
        ),
        (failing(HELLO, 3, "server_error", "Internal"), "server", True, "failed on its side: Internal; send"),
        (
            failing(HELLO, 3, "rate_limit_exceeded", "Slow"),
            "rate_limit",
            True,
            "its rate limit: Slow; wait a minute",
        ),
        (failing(HELLO, 3, None, "Broken"), "server", True, "failed on its side: Broken"),
        (broken(HELLO, 3, "cut"), "connection", True, "broke off in mid-answer"),
        (broken(HELLO, 3, "reset"), "connection", True, "broke off in mid-answer|could not be reached"),
        (broken(HELLO, 3, "whole"), "stream", True, "before it was complete"),
        (broken(HELLO, 0, "whole"), "stream", True, "before it was complete"),
        (answer(*calling("f", '{"a": ')), "stream", True, "called f with an input"),
        (answer(*calling("f", "[1]")), "stream", True, r"no JSON object: '\[1\]'"),
    ],
)
async def test_every_failure_is_a_model_error_of_one_sentence(
    chat_server: FakeChat, chat: OpenAIModel, reply: Reply, kind: str, retryable: bool, said: str
) -> None:
    chat_server.will(reply)
    error = await failure(chat)
    assert (error.kind, error.retryable) == (kind, retryable)
    assert "openai:gpt-test-1" in str(error)
    assert re.search(said, str(error))


async def test_data_that_is_no_json_is_a_broken_stream(chat_server: FakeChat, chat: OpenAIModel) -> None:
    chat_server.will(Reply((chunk({"content": "So"}), {"raw": "data: {half\n\n"})))
    error = await failure(chat)
    assert (error.kind, error.retryable) == ("stream", True)


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": [{"index": 0, "delta": "words"}]},
        {"choices": 7},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": 3}]}}]},
        {"choices": [{"index": 0, "delta": {"content": ["a", "list"]}}]},
    ],
)
async def test_chunks_of_another_form_are_a_broken_stream(
    chat_server: FakeChat, chat: OpenAIModel, odd: dict[str, Any]
) -> None:
    chat_server.will(Reply((chunk({"content": "So"}), {**chunk({}), **odd})))
    error = await failure(chat)
    assert (error.kind, error.retryable) == ("stream", True)


@pytest.mark.parametrize("bare", [{}, {"choices": None}, {"choices": [{}]}, {"choices": [{"delta": {}}]}])
async def test_chunks_without_the_usual_fields_are_passed_over(
    chat_server: FakeChat, chat: OpenAIModel, bare: dict[str, Any]
) -> None:
    chat_server.will(Reply((bare, *HELLO.events)))
    events = await ask(chat)
    assert (events[0], finished(events)) == (
        MessageStart("openai:gpt-test-1", "live"),
        [Text("Hello you there.")],
    )


async def test_a_server_on_this_machine_needs_no_key_and_gets_none(
    chat_server: FakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, KEY)
    model = OpenAIModel("tiny", base_url=chat_server.url, prefix="vllm")
    await ask(model)
    await model.aclose()
    assert KEY not in json.dumps(dict(chat_server.requests[0].headers))
    assert model.name == "vllm:tiny"


def test_a_model_has_a_name_a_source_and_capabilities() -> None:
    model = OpenAIModel("openai:gpt-new", api_key=KEY)
    assert (model.name, model.source, repr(model)) == (
        "openai:gpt-new",
        "live",
        "<OpenAIModel openai:gpt-new>",
    )
    assert (model.api, model.capabilities) == ("responses", Capabilities(server_tools=True))
    small = Capabilities(images=False, window=8192)
    assert OpenAIModel("gpt-new", capabilities=small).capabilities == small


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)  # as Python marks what cannot be imported
    with pytest.raises(ModelError, match=r"needs the package openai: pip install 'nbsession\[openai\]'"):
        resolve("openai:not-asked-before")
