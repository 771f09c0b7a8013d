from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import traceback
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from nbsession.content import Image, Message, Text, Thinking, ToolCall
from nbsession.context import CompiledContext, context_of
from nbsession.errors import MissingKeyError, ModelError
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    TextDelta,
)
from nbsession.models import Capabilities, resolve
from nbsession.models.openai import OpenAIModel
from nbsession.tokens import Usage
from tests.support.fake_chat import (
    DONE,
    answer,
    calling,
    chunk,
    failing,
    pieces,
    status,
    text,
    tool_call,
)
from tests.support.fake_messages import Reply, broken

if TYPE_CHECKING:
    from nbsession.events import ModelEvent
    from tests.support.fake_chat import FakeChat

KEY = "sk-secret-1234"
HELLO = text("Hello you there.")


def context(words: str = "Hi") -> CompiledContext:
    return context_of(["You are kind."], [Message("user", (Text(words),))])


async def ask(model: OpenAIModel, into: list[ModelEvent] | None = None) -> list[ModelEvent]:
    events: list[ModelEvent] = [] if into is None else into
    async with aclosing(model.stream(context())) as stream:
        async for event in stream:
            events.append(event)  # noqa: PERF401  # what came before a failure is looked at
    return events


async def failure(model: OpenAIModel) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(model)
    assert "\n" not in str(caught.value)
    return caught.value


def finished(events: list[ModelEvent]) -> list[Any]:
    return [event.content for event in events if isinstance(event, ContentBlockStop)]


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


async def test_a_tool_call_ends_with_its_whole_input(chat_server: FakeChat, chat: OpenAIModel) -> None:
    chat_server.will(tool_call("add_note", {"note": "grüß ☃", "n": [1, 2]}, id="call_9"))
    events = await ask(chat)
    assert events[1] == ContentBlockStart(0, "tool_call", id="call_9", name="add_note")
    assert finished(events) == [ToolCall("call_9", "add_note", {"note": "grüß ☃", "n": [1, 2]})]
    deltas = [event for event in events if isinstance(event, InputJsonDelta)]
    assert json.loads("".join(delta.partial_json for delta in deltas)) == {"note": "grüß ☃", "n": [1, 2]}
    assert ending(events).stop_reason == "tool_use"


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
        (status(429, "insufficient_quota", "No credit."), "request", False, r"No credit \(an account"),
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


async def test_what_came_before_a_failure_has_been_given(chat_server: FakeChat, chat: OpenAIModel) -> None:
    chat_server.will(broken(HELLO, 2, "cut"))
    events: list[ModelEvent] = []
    with pytest.raises(ModelError):
        await ask(chat, events)
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Hello yo"]


async def test_silence_ends_in_a_timeout(chat_server: FakeChat) -> None:
    model = OpenAIModel("gpt-test-1", base_url=chat_server.url, timeout=0.2, max_retries=0)
    chat_server.will(broken(HELLO, 2, "stall"))
    error = await failure(model)
    await model.aclose()
    assert (error.kind, error.retryable) == ("timeout", True)
    assert "sent nothing for 0.2 s" in str(error)


async def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: refused
        model = OpenAIModel("tiny", base_url=f"http://127.0.0.1:{held.getsockname()[1]}", max_retries=0)
        error = await failure(model)
        await model.aclose()
        assert (error.kind, error.retryable) == ("connection", True)
        assert f"127.0.0.1:{held.getsockname()[1]}; check that it runs" in str(error)


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


async def test_a_busy_server_is_tried_again_before_the_answer_begins(chat_server: FakeChat) -> None:
    model = OpenAIModel("gpt-test-1", base_url=chat_server.url, max_retries=1)
    chat_server.will(status(503, retry_after_ms="1"), HELLO)
    assert finished(await ask(model)) == [Text("Hello you there.")]
    await model.aclose()
    assert len(chat_server.requests) == 2


async def test_cancelling_the_reader_closes_the_connection(chat_server: FakeChat, chat: OpenAIModel) -> None:
    chat_server.will(broken(HELLO, 2, "stall"))
    begun = asyncio.Event()

    async def read() -> None:
        async for event in chat.stream(context()):
            if isinstance(event, TextDelta):
                begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(chat_server.disconnected.wait, 5)


async def test_leaving_the_stream_closes_the_connection(chat_server: FakeChat, chat: OpenAIModel) -> None:
    chat_server.will(broken(HELLO, 2, "stall"))
    async with aclosing(chat.stream(context())) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    assert await asyncio.to_thread(chat_server.disconnected.wait, 5)


async def test_answers_one_after_another_share_a_connection(chat_server: FakeChat, chat: OpenAIModel) -> None:
    for _ in range(3):
        await ask(chat)
    assert (len(chat_server.requests), chat_server.connections) == (3, 1)


def test_a_model_may_be_used_from_one_event_loop_after_another(chat_server: FakeChat) -> None:
    model = OpenAIModel("gpt-test-1", base_url=chat_server.url)

    async def once() -> list[Any]:
        events = await ask(model)
        await model.aclose()
        return finished(events)

    assert asyncio.run(once()) == asyncio.run(once()) == [Text("Hello from the fake server.")]


async def test_without_a_key_nothing_is_sent_and_the_remedies_are_named() -> None:
    with pytest.raises(MissingKeyError, match='set OPENAI_API_KEY, pass api_key=, or use model="simulated"'):
        await ask(OpenAIModel("gpt-test-1"))


async def test_the_key_in_the_environment_goes_where_the_environment_says(
    chat_server: FakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = OpenAIModel("gpt-test-1", api_key=KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{chat_server.url}/v1")
    await ask(model)
    await model.aclose()
    assert chat_server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("url", ["https://models.example/v1", "https://notopenai.com/v1"])
async def test_the_key_in_the_environment_is_not_sent_to_another_server(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(MissingKeyError, match=r"no API key for \w+\.\w+: pass api_key="):
        await ask(OpenAIModel("tiny", base_url=url))


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


@pytest.mark.parametrize("key", [KEY, f"{KEY}\x7f", f"{KEY}é", f"{KEY}\nx"])
async def test_the_key_is_never_shown(chat_server: FakeChat, key: str) -> None:
    model = OpenAIModel("gpt-test-1", base_url=chat_server.url, api_key=key, max_retries=0)
    chat_server.will(status(401, "invalid_api_key", f"invalid key {key}"))
    error = await failure(model)
    await model.aclose()
    assert error.kind == "authentication"
    assert KEY not in repr(model) + str(error) + repr(error)
    if key != KEY:  # refused by us: then not even a cause holds it
        assert KEY not in "".join(traceback.format_exception(error))


def test_a_model_has_a_name_a_source_and_capabilities() -> None:
    model = OpenAIModel("openai:gpt-new", api_key=KEY)
    assert (model.name, model.source, repr(model)) == (
        "openai:gpt-new",
        "live",
        "<OpenAIModel openai:gpt-new>",
    )
    assert model.capabilities == Capabilities()
    small = Capabilities(images=False, window=8192)
    assert OpenAIModel("gpt-new", capabilities=small).capabilities == small


async def test_what_a_model_does_not_take_is_said_before_anything_is_sent(chat_server: FakeChat) -> None:
    model = OpenAIModel("tiny", base_url=chat_server.url, capabilities=Capabilities(images=False))
    picture = Message("user", (Image("image/png", b"x", alt="a cat"),))
    with pytest.raises(
        ModelError, match=r"openai:tiny takes no images, and the context has \[image: a cat\]"
    ):
        async for _ in model.stream(context_of([], [picture])):
            pass
    assert chat_server.requests == []


def test_a_model_needs_an_id() -> None:
    with pytest.raises(ModelError, match="takes a model's id"):
        OpenAIModel(" ")


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)  # as Python marks what cannot be imported
    with pytest.raises(ModelError, match=r"needs the package openai: pip install 'nbsession\[openai\]'"):
        resolve("openai:not-asked-before")


def test_making_a_model_loads_no_sdk() -> None:
    code = (
        "import sys; from nbsession.models.openai import OpenAIModel; m = OpenAIModel('gpt-x');"
        "assert 'openai' not in sys.modules and 'httpx2' not in sys.modules;"
        "m.warm(); assert 'openai' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
