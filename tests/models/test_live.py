"""What all live models have in common, over HTTP with the real SDKs: connections, failures, keys."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import logging
import re
import socket
import subprocess
import sys
import traceback
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from nbsession import App, StopReason, System, Timeline, component, tool
from nbsession.content import Image, Message, Text, ToolCall
from nbsession.context import CompiledContext, context_of
from nbsession.errors import MissingKeyError, ModelError
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    ModelWaiting,
    TextDelta,
)
from nbsession.models import Capabilities, retry
from nbsession.usage import Usage
from tests.support.fake_messages import FakeMessages, Reply, broken
from tests.support.live import KEY, ask, context, failure, finished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nbsession.events import ModelEvent
    from tests.support.live import Provider

LONG = "Hello you there. " * 8
WORDS = "Grüße ☃ and 😀, done."


@tool
def add_note(note: str) -> str:
    """Keep a note."""
    return f"Noted: {note}"


@component
def Notepad() -> list[Any]:
    return [System("You keep notes."), add_note, Timeline()]


class Groceries(BaseModel):
    items: list[str]


async def answered(provider: Provider, reply: Reply) -> list[Any]:
    """Return the finished blocks of an answer."""
    provider.server.will(reply)
    model = provider.model()
    events = await ask(model)
    await model.aclose()
    return finished(events)


async def test_a_tool_call_ends_with_its_whole_input(provider: Provider) -> None:
    given = {"note": "grüß ☃", "n": [1, 2]}
    provider.server.will(provider.calling("add_note", json.dumps(given), "call_9"))
    model = provider.model()
    events = await ask(model)
    await model.aclose()
    assert events[1] == ContentBlockStart(0, "tool_call", id="call_9", name="add_note")
    assert finished(events) == [ToolCall("call_9", "add_note", given)]
    deltas = [event.partial_json for event in events if isinstance(event, InputJsonDelta)]
    assert json.loads("".join(deltas)) == given
    assert [type(event) for event in events[-3:]] == [ContentBlockStop, MessageDelta, MessageStop]


async def test_every_provider_s_figures_are_told_in_the_same_terms(provider: Provider) -> None:
    provider.server.will(provider.text(WORDS))
    model = provider.model()
    *_, ending, _ = await ask(model)
    await model.aclose()
    assert isinstance(ending, MessageDelta)
    assert ending.usage == Usage(
        input_tokens=36, output_tokens=17, cache_read_tokens=20, cache_write_tokens=5, thinking_tokens=3
    )


async def test_a_session_calls_tools_and_reads_the_answer_into_a_model(provider: Provider) -> None:
    provider.server.will(
        provider.calling("add_note", '{"note": "milk"}', "call_1"), provider.text('{"items": ["milk"]}')
    )
    model = provider.model()
    session = App(Notepad, model=model).session()
    result = await session.send("Note: milk", output=Groceries)
    session.close()
    await model.aclose()
    assert result.output == Groceries(items=["milk"])
    assert [str(run.result) for run in result.tool_calls] == ["Noted: milk"]
    bodies = [request.body for request in provider.server.requests]
    assert [json.loads(json.dumps(session.request(tick))) for tick in session.ticks] == bodies
    assert "Noted: milk" in json.dumps(bodies[1])
    assert '"items"' in json.dumps(bodies[0])


async def test_a_request_that_is_too_long_says_so_with_the_limit(provider: Provider) -> None:
    provider.server.will(provider.status(400, "prompt is too long: 208310 tokens > 200000 maximum"))
    error = await failure(provider.model())
    assert (error.too_long, error.counted, error.room) == (True, 208310, 200000)


# What the wire does to an answer


def by_bytes(data: bytes) -> Iterable[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def at_once(data: bytes) -> Iterable[bytes]:
    return [data]


def with_crlf(data: bytes) -> Iterable[bytes]:
    return [data.replace(b"\n", b"\r\n")]


def with_comments(data: bytes) -> Iterable[bytes]:
    return [b": hello\n\n", data.replace(b"\n\n", b"\n\n: still here\n\n")]


def with_mark(data: bytes) -> Iterable[bytes]:
    return [b"\xef\xbb\xbf" + data]


@pytest.mark.parametrize("cut", [by_bytes, at_once, with_crlf, with_comments, with_mark])
async def test_an_answer_comes_whole_however_its_bytes_do(
    provider: Provider, cut: Callable[[bytes], Iterable[bytes]]
) -> None:
    assert await answered(provider, replace(provider.text(WORDS), cut=cut)) == [Text(WORDS)]


async def test_an_answer_may_be_compressed(provider: Provider) -> None:
    reply = replace(
        provider.text(WORDS), cut=lambda data: [gzip.compress(data)], headers={"content-encoding": "gzip"}
    )
    assert await answered(provider, reply) == [Text(WORDS)]


async def test_a_character_that_is_cut_in_two_is_joined(provider: Provider) -> None:
    provider.server.will(provider.pieces("a\ud83d", "\ude00b", "c\ud83d", "d", "e\ud83d"))
    model = provider.model()
    events = await ask(model)
    await model.aclose()
    assert finished(events) == [Text("a😀bc\ufffdde\ufffd")]
    deltas = [event for event in events if isinstance(event, TextDelta)]
    assert "".join(delta.text for delta in deltas) == "a😀bc\ufffdde\ufffd"
    assert [delta.offset for delta in deltas] == [0, 1, 3, 4, 6, 7]


async def test_half_a_character_in_a_tools_input_is_replaced(provider: Provider) -> None:
    reply = provider.calling("f", '{"a": "\\ud83d", "b": "\\ud83d\\ude00"}', "call_1")
    assert await answered(provider, reply) == [ToolCall("call_1", "f", {"a": "\ufffd", "b": "😀"})]


@pytest.mark.parametrize(("words", "sent"), [("a\udcffb", "a\ufffdb"), ("😀", "😀"), ("\ud83d\ude00", "😀")])
async def test_what_utf_8_cannot_hold_is_replaced_in_a_request(
    provider: Provider, words: str, sent: str
) -> None:
    model = provider.model()
    await ask(model, context(words))
    await model.aclose()
    [request] = provider.server.requests
    assert sent in json.dumps(request.body, ensure_ascii=False)


async def test_many_answers_come_at_once(provider: Provider) -> None:
    model = provider.model()
    provider.server.will(*[provider.text(str(number)) for number in range(30)])
    answers = await asyncio.gather(*[ask(model) for _ in range(30)])
    await model.aclose()
    texts = [finished(events)[0].text for events in answers]
    assert sorted(texts, key=int) == [str(number) for number in range(30)]


async def test_a_large_input_is_taken(provider: Provider) -> None:
    given = {"text": "x" * 300_000}
    assert await answered(provider, provider.calling("f", json.dumps(given), "call_1")) == [
        ToolCall("call_1", "f", given)
    ]


# Failures


@pytest.mark.parametrize("given", ['{"a": ', "[1]", "7", '{"a": NaN}', '{"a": ' + "[" * 40_000])
async def test_an_input_that_is_no_json_object_is_not_run(provider: Provider, given: str) -> None:
    provider.server.will(provider.calling("f", given, "call_1"))
    error = await failure(provider.model())
    assert (error.kind, error.retryable) == ("stream", True)
    assert re.search(
        r"called f with an input that is no JSON object: '.{,100}'; the tool was not run", str(error)
    )


async def test_what_came_before_a_failure_has_been_given(provider: Provider) -> None:
    provider.server.will(broken(provider.text(LONG), -4, "cut"))
    events: list[ModelEvent] = []
    model = provider.model()
    with pytest.raises(ModelError):
        await ask(model, into=events)
    await model.aclose()
    assert isinstance(events[0], MessageStart)
    assert next(event.text for event in events if isinstance(event, TextDelta)) == "Hello yo"


@pytest.mark.parametrize(
    "data",
    [
        "event: message_start\ndata: {half\n\n",
        "event: message_start\ndata: " + "[" * 100_000 + "\n\n",
    ],
)
async def test_what_cannot_be_read_is_a_broken_stream(provider: Provider, data: str) -> None:
    hello = provider.text(LONG)
    provider.server.will(Reply((*hello.events[:6], {"raw": data}, *hello.events[6:])))
    error = await failure(provider.model())
    assert (error.kind, error.retryable) == ("stream", True)
    assert f"{provider.prefix}:test-1 sent what cannot be read" in str(error)


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (
            Reply(status=200, body={"error": "no such model"}),
            "request",
            "answered with application/json where a",
        ),
        (
            Reply(status=400, body={"error": "no such model: x"}),
            "request",
            r"\(400\): no such model: x; look",
        ),
        (Reply(status=400, body={"detail": "bad field"}), "request", r"\(400\): bad field; look"),
        (Reply(status=400, body={"error": {"message": None}}), "request", r"\(400\); look"),
        (Reply(status=400, body={"error": {"type": ["x"], "code": {}}}), "request", r"\(400\); look"),
        (
            Reply(status=402, body={"error": {"message": "Pay."}}),
            "request",
            "for want of credit .402.: Pay; add",
        ),
        (
            Reply(status=400, body={"error": {"message": "tiny does not support tools"}}),
            "request",
            r"refused what it does not take \(400\): tiny does not support tools; leave it out",
        ),
    ],
)
async def test_an_error_of_any_form_is_told(provider: Provider, reply: Reply, kind: str, said: str) -> None:
    provider.server.will(reply)
    error = await failure(provider.model())
    assert error.kind == kind
    assert re.search(said, str(error))


async def test_silence_ends_in_a_timeout(provider: Provider) -> None:
    provider.server.will(broken(provider.text(LONG), 6, "stall"))
    error = await failure(provider.model(timeout=0.2))
    assert (error.kind, error.retryable) == ("timeout", True)
    assert "sent nothing for 0.2 s" in str(error)


async def test_silence_before_the_answer_ends_in_a_timeout(provider: Provider) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        error = await failure(provider.model(base_url=url, timeout=0.2))
    assert (error.kind, error.retryable) == ("timeout", True)
    assert "sent nothing for 0.2 s" in str(error)


async def test_a_server_that_is_not_there_is_named(provider: Provider) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: refused
        place = f"127.0.0.1:{held.getsockname()[1]}"
        error = await failure(provider.model(base_url=f"http://{place}"))
    assert (error.kind, error.retryable) == ("connection", True)
    assert f"could not be reached at {place}; check that it runs" in str(error)


async def test_what_fails_after_a_complete_answer_is_no_failure(provider: Provider) -> None:
    reply = broken(provider.text("Hello you there."), 99, "cut")
    assert await answered(provider, reply) == [Text("Hello you there.")]


async def test_what_a_model_does_not_take_is_said_before_anything_is_sent(provider: Provider) -> None:
    model = provider.model("tiny", capabilities=Capabilities(images=False))
    picture = Message("user", (Image("image/png", b"x", alt="a cat"),))
    error = await failure(model, context_of([], [picture]))
    assert f"{provider.prefix}:tiny takes no images, and the context has [image: a cat]" in str(error)
    assert provider.server.requests == []


async def test_a_setting_that_cannot_be_written_is_named(provider: Provider) -> None:
    asked = context_of([], [Message("user", (Text("Hi"),))])
    asked = CompiledContext(asked.system, asked.flow, (), settings={"metadata": {"user_id": object()}})
    error = await failure(provider.model(), asked)
    assert (error.kind, error.retryable) == ("request", False)
    assert re.search(r"could not be written \(TypeError: .*object.*\); look at the settings", str(error))
    assert provider.server.requests == []


# Connections


async def test_a_busy_server_is_tried_again_before_the_answer_begins(provider: Provider) -> None:
    provider.server.will(
        provider.status(529, retry_after_ms="1"),
        provider.status(429, retry_after="0.001"),
        provider.text("Here."),
    )
    model = provider.model(max_retries=2)
    assert finished(await ask(model)) == [Text("Here.")]
    await model.aclose()
    assert len(provider.server.requests) == 3


@pytest.mark.parametrize("end", ["whole", "cut", "reset"])
async def test_what_fails_behind_the_headers_is_tried_again_too(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, end: Any
) -> None:
    monkeypatch.setattr(retry, "BACK_OFF", 0)
    failing = {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}
    provider.server.will(
        Reply(({"raw": f"event: error\ndata: {json.dumps(failing)}\n\n"},), end=end),
        Reply((), end=end),
        provider.text("Here."),
    )
    model = provider.model(max_retries=2)
    events = await ask(model)
    await model.aclose()
    assert finished(events) == [Text("Here.")]
    assert [type(event) for event in events].count(MessageStart) == 1
    assert len(provider.server.requests) == 3


async def test_an_answer_that_has_begun_is_not_asked_for_again(provider: Provider) -> None:
    provider.server.will(broken(provider.text(LONG), 6, "cut"), provider.text("Again."))
    error = await failure(provider.model(max_retries=2))
    assert (error.kind, error.retryable) == ("connection", True)
    assert len(provider.server.requests) == 1


@pytest.mark.parametrize("after", [0, 6])
async def test_cancelling_the_reader_closes_the_connection(provider: Provider, after: int) -> None:
    provider.server.will(broken(provider.text(LONG), after, "stall"))
    model = provider.model()
    task = asyncio.create_task(ask(model))
    assert await asyncio.to_thread(provider.server.asked.wait, 5)
    task.cancel()
    async with asyncio.timeout(2):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await asyncio.to_thread(provider.server.disconnected.wait, 5)
    await model.aclose()


async def waits_of(provider: Provider, *replies: Reply) -> list[ModelWaiting]:
    """Return what is said of the pauses before the answer."""
    provider.server.will(*replies, provider.text("Here."))
    model = provider.model(max_retries=2)
    events = await ask(model)
    await model.aclose()
    assert finished(events) == [Text("Here.")]
    waits = [event for event in events if isinstance(event, ModelWaiting)]
    assert events[: len(waits)] == waits  # before the answer begins
    return waits


async def test_a_wait_is_said_with_its_reason_and_its_length(provider: Provider) -> None:
    name = f"{provider.prefix}:test-1"
    assert await waits_of(
        provider,
        provider.status(429, "Slow down", retry_after="0.002"),
        provider.status(529, retry_after_ms="3", retry_after="60"),
    ) == [
        ModelWaiting(0.002, f"{name} is over its rate limit (429): Slow down"),
        ModelWaiting(0.003, f"{name} is overloaded (529): no luck"),
    ]


async def test_without_a_word_of_the_server_each_wait_is_twice_the_one_before(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "BACK_OFF", 0.001)
    for odd in ({}, {"retry_after": "soon"}):
        waits = await waits_of(provider, *[provider.status(500, **odd) for _ in range(2)])
        assert [wait.seconds for wait in waits] == [0.001, 0.002]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "-7"}, 0.0),
        ({"retry-after": "nan"}, 0.0),
        ({"retry-after": "61"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "5", "x-should-retry": "false"}, None),
        ({"retry-after": "5", "x-should-retry": "true"}, 5.0),
        ({"date": "Sun, 29 Nov 2026 08:00:00 GMT", "retry-after": "Sun, 29 Nov 2026 08:00:09 GMT"}, 9.0),
        ({"date": "Sun, 29 Nov 2026 08:00:00 GMT", "retry-after": "Sun, 29 Nov 2026 07:00:00 GMT"}, 0.0),
        ({"retry-after": "Sun, 29 Nov 2026 08:00:09 GMT"}, 2.0),
        ({"date": "today", "retry-after": "tomorrow"}, 2.0),
        ({}, 2.0),
    ],
)
def test_the_wait_is_the_one_the_server_asks_for_up_to_a_minute(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry.pause_before(2, 429, headers) == seconds


@pytest.mark.parametrize(
    ("code", "tries"),
    [(400, 1), (401, 1), (404, 1), (413, 1), (408, 2), (409, 2), (429, 2), (500, 2), (503, 2), (529, 2)],
)
async def test_what_no_second_try_would_mend_is_not_tried_again(
    provider: Provider, code: int, tries: int
) -> None:
    for _ in range(2):
        body = {"error": {"type": "api_error", "message": "no luck"}}
        provider.server.will(Reply(status=code, body=body, headers={"retry-after": "0"}))
    await failure(provider.model(max_retries=1))
    assert len(provider.server.requests) == tries


async def test_a_server_that_asks_for_more_than_a_minute_is_not_waited_for(provider: Provider) -> None:
    provider.server.will(provider.status(429, retry_after="3600"))
    error = await failure(provider.model(max_retries=2))
    assert (error.kind, error.retryable) == ("rate_limit", True)
    assert "wait 3600 s, then send again" in str(error)
    assert len(provider.server.requests) == 1


async def test_a_port_that_refuses_on_this_machine_is_not_tried_again(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "BACK_OFF", 50)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: refused
        port = held.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            events: list[ModelEvent] = []
            model = provider.model(base_url=f"http://{host}:{port}", max_retries=2)
            async with asyncio.timeout(20):
                with pytest.raises(
                    ModelError, match=f"could not be reached at {host}:{port}; check that it runs"
                ):
                    await ask(model, into=events)
            await model.aclose()
            assert events == []


async def test_stopping_it_while_it_waits_ends_it_at_once(provider: Provider) -> None:
    provider.server.will(provider.status(529, retry_after="50"))
    model = provider.model(max_retries=1)
    execution = App(Timeline, model=model).session().send("Hi")
    async with asyncio.timeout(20):
        async for event in execution:
            if isinstance(event, ModelWaiting):
                execution.abort()
        assert (await execution).stop_reason is StopReason.aborted
    await model.aclose()
    assert len(provider.server.requests) == 1


async def test_leaving_the_stream_closes_the_connection(provider: Provider) -> None:
    provider.server.will(broken(provider.text(LONG), 6, "stall"))
    model = provider.model()
    async with aclosing(model.stream(context())) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    assert await asyncio.to_thread(provider.server.disconnected.wait, 5)
    await model.aclose()


async def test_answers_one_after_another_share_a_connection(provider: Provider) -> None:
    model = provider.model()
    for _ in range(3):
        await ask(model)
    await model.aclose()
    assert (len(provider.server.requests), provider.server.connections) == (3, 1)


@pytest.mark.parametrize("closing", [True, False])
def test_a_model_may_be_used_from_one_event_loop_after_another(provider: Provider, closing: bool) -> None:
    model = provider.model()

    async def once(model: Any) -> list[Any]:
        events = await ask(model)
        if closing:
            await model.aclose()
        return finished(events)

    for _ in range(3):
        assert asyncio.run(once(model)) == [Text("Hello from the fake server.")]
    del model
    gc.collect()  # a connection that its loop did not close would warn now


# Where requests go


@pytest.mark.parametrize("code", [301, 307, 308])
async def test_nothing_is_sent_to_where_a_server_points(provider: Provider, code: int) -> None:
    with FakeMessages() as other:
        place = other.url.replace("127.0.0.1", "localhost")
        provider.server.will(Reply(status=code, body={}, headers={"location": f"{place}{provider.page}"}))
        error = await failure(provider.model())
        assert other.requests == []
    assert re.search(rf"was sent on from 127\.0\.0\.1:\d+ to localhost \({code}\)", str(error))
    assert "base_url=" in str(error)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_no_proxy_is_asked_for_a_server_on_this_machine(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with FakeMessages() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert await answered(provider, provider.text("Here.")) == [Text("Here.")]
        assert proxy.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "localhost:11434",
        "//localhost",
        "http://",
        "ftp://localhost",
        "http://[::1",
        "http://local host",
        "http://h:99999",
    ],
)
def test_what_is_no_url_is_refused_at_once(provider: Provider, url: str) -> None:
    with pytest.raises(ModelError, match="must be a URL such as 'http://localhost:11434', got ") as caught:
        provider.model(base_url=url)
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize("url", [f"http://user:{KEY}@127.0.0.1:9", f"user:{KEY}@host"])
def test_a_password_in_a_url_is_refused_and_not_shown(provider: Provider, url: str) -> None:
    with pytest.raises(
        ModelError, match="holds a user name or password; leave it out, and pass api_key="
    ) as caught:
        provider.model(base_url=url)
    assert KEY not in repr(caught.value)


# Keys


async def test_without_a_key_nothing_is_sent_and_the_remedies_are_named(provider: Provider) -> None:
    with pytest.raises(
        MissingKeyError,
        match=f'set {provider.variables}_API_KEY, pass api_key=, or use model="simulated" to go on without one',
    ):
        await ask(provider.adapter("test-1"))


async def test_key_and_place_of_the_environment_are_found_when_they_are_set(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = provider.adapter("test-1")
    with pytest.raises(MissingKeyError):
        await ask(model)
    monkeypatch.setenv(f"{provider.variables}_BASE_URL", provider.url)
    monkeypatch.setenv(f"{provider.variables}_API_KEY", f" {KEY}\n")
    await ask(model)
    await model.aclose()
    [request] = provider.server.requests
    assert (request.path, request.headers["authorization"]) == (provider.page, f"Bearer {KEY}")


@pytest.mark.parametrize("host", ["models.example", "notanthropic.com", "notopenai.com", "0.0.0.0"])
async def test_another_host_is_not_sent_the_key_in_the_environment(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv(f"{provider.variables}_API_KEY", KEY)
    with pytest.raises(
        MissingKeyError, match=rf"no API key for {re.escape(host)}: pass api_key= \(\w+ is not"
    ):
        await ask(provider.adapter("tiny", base_url=f"https://{host}/anthropic.com/openai.com"))


async def test_a_server_on_this_machine_needs_no_key_and_gets_none(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "ADMIN_KEY", "AUTH_TOKEN", "ORG_ID", "PROJECT_ID", "WEBHOOK_KEY"):
        monkeypatch.setenv(f"{provider.variables}_{name}", KEY)
    monkeypatch.setenv(f"{provider.variables}_CUSTOM_HEADERS", f"x-gate: {KEY}\nX-Other: {KEY}")
    model = provider.adapter("tiny", base_url=provider.url, prefix="vllm")
    await ask(model)
    await model.aclose()
    [request] = provider.server.requests
    assert KEY not in json.dumps([dict(request.headers), request.body])
    assert model.name == "vllm:tiny"


@pytest.mark.parametrize("key", [KEY, f"{KEY}\x7f", f"{KEY}é", f"{KEY}\nx"])
async def test_the_key_is_never_shown(provider: Provider, caplog: pytest.LogCaptureFixture, key: str) -> None:
    caplog.set_level(logging.DEBUG)
    model = provider.model(api_key=key)
    provider.server.will(provider.status(401, f"invalid key {key}"))
    with pytest.raises(ModelError) as caught:
        await ask(model)
    await model.aclose()
    error = caught.value
    assert error.kind == "authentication"
    shown = [repr(model), repr(vars(model)), repr(error), *traceback.format_exception(error)]
    assert error.__traceback__ is not None
    inside = error.__traceback__.tb_next  # without this function, which has the key in a variable
    shown += traceback.TracebackException(type(error), error, inside, capture_locals=True).format()
    assert KEY not in "".join(shown)
    assert KEY not in "".join([*caplog.messages, *map(repr, caplog.records)])


def test_a_model_needs_an_id(provider: Provider) -> None:
    with pytest.raises(ModelError, match="takes a model's id"):
        provider.adapter(" ")


def test_making_a_model_loads_no_sdk(provider: Provider) -> None:
    code = (
        f"import sys; from nbsession.models import {type(provider.model()).__name__} as Model; m = Model('x');"
        f"assert {provider.prefix!r} not in sys.modules and 'httpx2' not in sys.modules;"
        f"m.warm(); assert {provider.prefix!r} in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
