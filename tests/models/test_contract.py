"""What every model adapter has to do, whatever stands behind it."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from nbsession.content import Message, Text, Thinking, ToolCall, ToolResult, ToolSpec
from nbsession.context import CompiledContext, context_of
from nbsession.errors import ModelError
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    TextDelta,
)
from nbsession.models import (
    AnthropicModel,
    Capabilities,
    ModelAdapter,
    OpenAIModel,
    RecordedModel,
    SimulatedModel,
)
from nbsession.testing import ScriptedModel, call
from tests.support import fake_chat
from tests.support.fake_messages import FakeMessages, broken, status, text, tool_use

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from nbsession.events import ModelEvent

NOTE = ToolSpec(
    "add_note",
    "Keep a note for later.",
    {"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]},
)
ASK = "Add a note: buy milk"


class Subject(NamedTuple):
    """An adapter that calls ``add_note`` first and then answers in words; ``slow`` gives one that takes its time."""

    model: ModelAdapter
    slow: Callable[[], ModelAdapter]


@pytest.fixture(params=["anthropic", "openai", "recorded", "scripted", "simulated"])
async def subject(
    request: pytest.FixtureRequest,
    messages_server: FakeMessages,
    chat_server: fake_chat.FakeChat,
    tmp_path: Path,
) -> AsyncIterator[Subject]:
    if request.param == "openai":
        chat = OpenAIModel("gpt-test-1", base_url=chat_server.url, max_retries=0)
        yield talking(chat_server, chat)
        await chat.aclose()
        return
    if request.param == "recorded":
        yield await recorded(tmp_path)
        return
    if request.param == "scripted":
        replies = (call("add_note", note="buy milk"), "I have noted it.")
        yield Subject(ScriptedModel(*replies), lambda: ScriptedModel("Slow answer. " * 50, rate=5))
        return
    if request.param == "simulated":
        yield Subject(SimulatedModel(rate=0), lambda: SimulatedModel(rate=5))
        return
    live = AnthropicModel("claude-test-1", base_url=messages_server.url, max_retries=0)
    messages_server.will(tool_use("add_note", {"note": "buy milk"}), text("I have noted it."))

    def slow() -> AnthropicModel:
        messages_server.replies.clear()
        messages_server.will(broken(text("Slow answer. " * 50), 20, "stall"))
        return live

    yield Subject(live, slow)
    await live.aclose()


def talking(server: fake_chat.FakeChat, chat: OpenAIModel) -> Subject:
    server.will(fake_chat.tool_call("add_note", {"note": "buy milk"}), fake_chat.text("I have noted it."))

    def slow() -> OpenAIModel:
        server.replies.clear()
        server.will(broken(fake_chat.text("Slow answer. " * 50), 20, "stall"))
        return chat

    return Subject(chat, slow)


async def recorded(folder: Path) -> Subject:
    script = ScriptedModel(call("add_note", note="buy milk"), "I have noted it.")
    quick, slow = folder / "quick.jsonl", folder / "slow.jsonl"
    recorder = RecordedModel(quick, record="new", model=script)
    await answer(recorder, answered(calls_of(await answer(recorder, asked()))))
    await answer(
        RecordedModel(slow, record="new", model=ScriptedModel("Slow answer. " * 50, rate=0)), asked()
    )
    slow.write_text(
        re.sub(r'"pace": .*?\]\]', '"pace": [[10, 5], [60000, 5]]', slow.read_text("utf-8")), "utf-8"
    )
    return Subject(RecordedModel(quick), lambda: RecordedModel(slow, rate=1))


def asked() -> CompiledContext:
    return context_of(["You keep notes."], [Message("user", (Text(ASK),))], [NOTE])


def answered(calls: list[ToolCall]) -> CompiledContext:
    results = tuple(ToolResult(item.id, item.name, (Text("Noted."),)) for item in calls)
    messages = [Message("user", (Text(ASK),)), Message("assistant", tuple(calls)), Message("user", results)]
    return context_of(["You keep notes."], messages, [NOTE])


async def answer(model: ModelAdapter, context: CompiledContext) -> list[ModelEvent]:
    return [event async for event in model.stream(context)]


def calls_of(events: list[ModelEvent]) -> list[ToolCall]:
    blocks = [event.content for event in events if isinstance(event, ContentBlockStop)]
    return [block for block in blocks if isinstance(block, ToolCall)]


def check_order(events: list[ModelEvent]) -> None:
    """Check that blocks open, grow and close between one start and one end."""
    events = [event for event in events if not isinstance(event, Ping)]
    kinds = [type(event) for event in events]
    assert kinds[0] is MessageStart
    assert kinds[-2:] == [MessageDelta, MessageStop]
    assert [kinds.count(kind) for kind in (MessageStart, MessageDelta, MessageStop)] == [1, 1, 1]
    pieces: dict[int, str] = {}
    closed: set[int] = set()
    for event in events[1:-2]:
        if isinstance(event, ContentBlockStart):
            assert event.index not in pieces.keys() | closed
            pieces[event.index] = ""
        elif isinstance(event, (TextDelta, InputJsonDelta)):
            piece = event.text if isinstance(event, TextDelta) else event.partial_json
            assert event.offset == len(pieces[event.index])
            assert piece
            pieces[event.index] += piece
        elif isinstance(event, ContentBlockStop):
            check_block(event, pieces.pop(event.index))
            closed.add(event.index)
    assert not pieces


def check_block(event: ContentBlockStop, joined: str) -> None:
    if isinstance(event.content, ToolCall):
        assert event.content.id
        assert (json.loads(joined) if joined else {}) == dict(event.content.input)
    else:
        assert isinstance(event.content, (Text, Thinking))
        assert event.content.text == joined


async def test_an_adapter_says_what_it_is(subject: Subject) -> None:
    assert isinstance(subject.model, ModelAdapter)
    assert subject.model.name
    assert subject.model.source in ("live", "recorded", "simulated")
    assert isinstance(subject.model.capabilities, Capabilities)


async def test_a_tool_call_comes_whole_and_stops_for_its_result(subject: Subject) -> None:
    events = await answer(subject.model, asked())
    check_order(events)
    [made] = calls_of(events)
    assert (made.name, dict(made.input)) == ("add_note", {"note": "buy milk"})
    assert [event.stop_reason for event in events if isinstance(event, MessageDelta)] == ["tool_use"]


async def test_after_the_result_the_answer_is_in_words(subject: Subject) -> None:
    calls = calls_of(await answer(subject.model, asked()))
    events = await answer(subject.model, answered(calls))
    check_order(events)
    assert any(isinstance(event, ContentBlockStop) and isinstance(event.content, Text) for event in events)
    assert [event.stop_reason for event in events if isinstance(event, MessageDelta)] == ["end_turn"]


async def test_every_answer_says_its_source_and_its_tokens(subject: Subject) -> None:
    events = await answer(subject.model, asked())
    start = next(event for event in events if isinstance(event, MessageStart))
    assert start.source == subject.model.source
    assert start.model
    usage = next(event.usage for event in events if isinstance(event, MessageDelta))
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0
    assert usage.input_tokens >= usage.cache_read_tokens + usage.cache_write_tokens
    assert usage.estimated is (subject.model.source != "live")


async def test_answering_leaves_the_context_as_it_is(subject: Subject) -> None:
    context = asked()
    before: dict[str, Any] = context.to_dict()
    await answer(subject.model, context)
    assert context.to_dict() == before
    assert context.hash == asked().hash


async def test_cancelling_stops_an_answer_at_once(subject: Subject) -> None:
    begun = asyncio.Event()

    async def read() -> None:
        async for event in subject.slow().stream(asked()):
            if isinstance(event, TextDelta):
                begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    async with asyncio.timeout(2):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_reader_may_leave_in_the_middle(subject: Subject) -> None:
    async with asyncio.timeout(2), aclosing(subject.slow().stream(asked())) as events:  # type: ignore[type-var]  # adapters are generators
        async for event in events:
            if isinstance(event, TextDelta):
                break


async def test_a_failure_of_the_server_is_a_model_error(
    messages_server: FakeMessages, chat_server: fake_chat.FakeChat
) -> None:
    messages_server.will(status(500))
    chat_server.will(status(500))
    for model in (
        AnthropicModel("claude-test-1", base_url=messages_server.url, max_retries=0),
        OpenAIModel("gpt-test-1", base_url=chat_server.url, max_retries=0),
    ):
        with pytest.raises(ModelError):
            await answer(model, asked())
        await model.aclose()


async def test_a_script_that_is_at_its_end_is_a_model_error() -> None:
    with pytest.raises(ModelError):
        await answer(ScriptedModel(), asked())
