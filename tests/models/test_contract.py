"""What every model adapter has to do, whatever stands behind it."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

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
    LocalModel,
    ModelAdapter,
    OpenAIModel,
    RecordedModel,
    SimulatedModel,
)
from nbsession.testing import ScriptedModel, call
from nbsession.usage import Usage
from tests.support import fake_chat, fake_responses
from tests.support.fake_messages import (
    FakeMessages,
    Reply,
    broken,
    message,
    status,
    text,
    text_block,
    tool_block,
    tool_use,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from nbsession.events import ModelEvent

NOTE = ToolSpec(
    "add_note",
    "Keep a note for later.",
    {"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]},
)
ASK = "Add a note: buy milk"


KINDS = ("authentication", "rate_limit", "overloaded", "connection", "timeout", "request", "server", "stream")
SCENES = ("calls", "words", "two calls", "cut call", "refusal", "early failure", "late failure", "slow")
WISHES = {
    "two calls": "Add a note: buy milk. Add a note: buy tea.",
    "cut call": "Simulate the token limit",
    "refusal": "Simulate a refusal",
    "early failure": "Simulate a wrong key",
    "late failure": "Simulate a cut connection",
}
"""What the simulated model is asked for a scene; the others answer it whatever is asked."""


class Subject:
    """An adapter under test: ``play`` gives a model whose next answer is the scene."""

    source = "simulated"

    def play(self, scene: str) -> ModelAdapter:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close what the models opened."""

    def hung_up(self) -> bool:
        """Wait until whoever answered has seen that nobody reads."""
        return True


class Live(Subject):
    source = "live"

    def __init__(self, server: FakeMessages, model: Any, replies: Mapping[str, Reply]) -> None:
        self.server = server
        self.model = model
        self.replies = replies

    def play(self, scene: str) -> ModelAdapter:
        self.server.will(self.replies[scene])
        return cast("ModelAdapter", self.model)

    async def aclose(self) -> None:
        await self.model.aclose()

    def hung_up(self) -> bool:
        return self.server.disconnected.wait(5)


MESSAGES = {
    "calls": tool_use("add_note", {"note": "buy milk"}),
    "words": text("I have noted it."),
    "two calls": message(
        tool_block("add_note", '{"note": "buy milk"}', "toolu_1"),
        tool_block("add_note", '{"note": "buy tea"}', "toolu_2"),
        stop_reason="tool_use",
    ),
    "cut call": message(
        text_block("I note."), tool_block("add_note", '{"note": "buy'), stop_reason="max_tokens"
    ),
    "refusal": message(stop_reason="refusal", stop_details={"type": "refusal", "explanation": "It harms."}),
    "early failure": status(401, "authentication_error"),
    "late failure": broken(text("Slow answer. " * 50), 20, "cut"),
    "slow": broken(text("Slow answer. " * 50), 20, "stall"),
}
CHAT = {
    "calls": fake_chat.tool_call("add_note", {"note": "buy milk"}),
    "words": fake_chat.text("I have noted it."),
    "two calls": fake_chat.answer(
        *fake_chat.calling("add_note", '{"note": "buy milk"}', "call_1", 0),
        *fake_chat.calling("add_note", '{"note": "buy tea"}', "call_2", 1),
        finish="tool_calls",
    ),
    "cut call": fake_chat.answer(
        *fake_chat.pieces("I note."), *fake_chat.calling("add_note", '{"note": "buy'), finish="length"
    ),
    "refusal": fake_chat.answer(*fake_chat.pieces("It harms.", "refusal")),
    "early failure": fake_chat.status(401, "invalid_api_key"),
    "late failure": broken(fake_chat.text("Slow answer. " * 50), 20, "cut"),
    "slow": broken(fake_chat.text("Slow answer. " * 50), 20, "stall"),
}

RESPONSES = {
    "calls": fake_responses.tool_call("add_note", {"note": "buy milk"}),
    "words": fake_responses.text("I have noted it."),
    "two calls": fake_responses.answer(
        fake_responses.calling("add_note", '{"note": "buy milk"}', "call_1"),
        fake_responses.calling("add_note", '{"note": "buy tea"}', "call_2"),
    ),
    "cut call": fake_responses.answer(
        fake_responses.said("I note."),
        fake_responses.calling("add_note", '{"note": "buy', status="incomplete"),
        incomplete="max_output_tokens",
    ),
    "refusal": fake_responses.answer(fake_responses.refused("It harms.")),
    "early failure": fake_responses.status(401, "invalid_api_key"),
    "late failure": broken(fake_responses.text("Slow answer. " * 50), 20, "cut"),
    "slow": broken(fake_responses.text("Slow answer. " * 50), 20, "stall"),
}


def script(scene: str, rate: float = 5) -> ScriptedModel:
    failed = ModelError("scripted failed; send again", retryable=True, kind="connection")
    refused = ModelError("scripted refused the key; set it", kind="authentication")
    note = call("add_note", note="buy milk")
    responses: dict[str, Any] = {
        "calls": note,
        "words": "I have noted it.",
        "two calls": [note, call("add_note", note="buy tea")],
        "cut call": ["I note.", MessageDelta("max_tokens", Usage(9, 9, estimated=True))],
        "refusal": [MessageDelta("refusal", Usage(9, 9, estimated=True), "It harms.")],
        "early failure": refused,
        "late failure": ["Slow answer.", failed],
        "slow": "Slow answer. " * 50,
    }
    return ScriptedModel(responses[scene], rate=rate if scene == "slow" else 0)


class Scripted(Subject):
    def play(self, scene: str) -> ModelAdapter:
        return script(scene)


class Simulated(Subject):
    def play(self, scene: str) -> ModelAdapter:
        return SimulatedModel(rate=5 if scene == "slow" else 0)


class Recorded(Subject):
    """Replays what a script gave; a failure is never kept, so it is seen where it is recorded."""

    source = "recorded"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def record(self) -> None:
        for scene in SCENES:
            if "failure" not in scene:
                recorder = RecordedModel(self.tape(scene), record="new", model=script(scene, rate=0))
                await answer(recorder, setting(scene))
        slow = self.tape("slow")
        paced = re.sub(r'"pace": .*?\]\]', '"pace": [[10, 5], [60000, 5]]', slow.read_text("utf-8"))
        slow.write_text(paced, "utf-8")

    def play(self, scene: str) -> ModelAdapter:
        if scene == "late failure":
            return RecordedModel(self.tape(scene), record="all", model=script(scene))
        return RecordedModel(self.tape(scene), rate=1 if scene == "slow" else 0)

    def tape(self, scene: str) -> Path:
        return self.folder / f"{scene}.jsonl"


@pytest.fixture(params=["anthropic", "chat", "local", "recorded", "responses", "scripted", "simulated"])
async def subject(
    request: pytest.FixtureRequest,
    messages_server: FakeMessages,
    chat_server: fake_chat.FakeChat,
    responses_server: fake_responses.FakeResponses,
    tmp_path: Path,
) -> AsyncIterator[Subject]:
    made: Subject
    if request.param == "anthropic":
        model = AnthropicModel("claude-test-1", base_url=messages_server.url, max_retries=0)
        made = Live(messages_server, model, MESSAGES)
    elif request.param == "local":
        made = Live(messages_server, LocalModel("ollama:tiny", messages_server.url, Capabilities()), MESSAGES)
    elif request.param == "chat":
        chat = OpenAIModel("gpt-test-1", base_url=chat_server.url, max_retries=0)
        made = Live(chat_server, chat, CHAT)
    elif request.param == "responses":
        responses = OpenAIModel("gpt-test-1", api="responses", base_url=responses_server.url, max_retries=0)
        made = Live(responses_server, responses, RESPONSES)
    elif request.param == "recorded":
        made = Recorded(tmp_path)
        await made.record()
    else:
        made = Scripted() if request.param == "scripted" else Simulated()
    yield made
    await made.aclose()


def setting(scene: str) -> CompiledContext:
    """Return the context of a scene."""
    if scene == "words":
        return answered([ToolCall("call_1", "add_note", {"note": "buy milk"})])
    return asked(WISHES.get(scene, ASK))


async def played(subject: Subject, scene: str) -> list[ModelEvent]:
    return await answer(subject.play(scene), setting(scene))


def asked(wish: str = ASK) -> CompiledContext:
    return context_of(["You keep notes."], [Message("user", (Text(wish),))], [NOTE])


def answered(calls: list[ToolCall]) -> CompiledContext:
    results = tuple(ToolResult(item.id, item.name, (Text("Noted."),)) for item in calls)
    messages = [Message("user", (Text(ASK),)), Message("assistant", tuple(calls)), Message("user", results)]
    return context_of(["You keep notes."], messages, [NOTE])


async def answer(
    model: ModelAdapter, context: CompiledContext, into: list[ModelEvent] | None = None
) -> list[ModelEvent]:
    events: list[ModelEvent] = [] if into is None else into
    async for event in model.stream(context):
        events.append(event)  # noqa: PERF401  # what came before a failure is looked at
    return events


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


def ending(events: list[ModelEvent]) -> MessageDelta:
    [delta] = [event for event in events if isinstance(event, MessageDelta)]
    return delta


async def test_an_adapter_says_what_it_is(subject: Subject) -> None:
    model = subject.play("words")
    assert isinstance(model, ModelAdapter)
    assert model.name
    assert model.source == subject.source
    assert isinstance(model.capabilities, Capabilities)
    assert model.name in repr(model) or type(model).__name__ in repr(model)


@pytest.mark.parametrize("scene", ["calls", "words", "two calls", "refusal"])
async def test_events_come_in_their_order(subject: Subject, scene: str) -> None:
    check_order(await played(subject, scene))


async def test_a_tool_call_comes_whole_and_stops_for_its_result(subject: Subject) -> None:
    events = await played(subject, "calls")
    [made] = calls_of(events)
    assert (made.name, dict(made.input)) == ("add_note", {"note": "buy milk"})
    assert ending(events).stop_reason == "tool_use"


async def test_several_calls_of_one_answer_keep_their_order_and_have_ids_of_their_own(
    subject: Subject,
) -> None:
    events = await played(subject, "two calls")
    calls = calls_of(events)
    assert [dict(made.input) for made in calls] == [{"note": "buy milk"}, {"note": "buy tea"}]
    assert len({made.id for made in calls}) == 2
    assert ending(events).stop_reason == "tool_use"


async def test_after_the_result_the_answer_is_in_words(subject: Subject) -> None:
    events = await played(subject, "words")
    assert any(isinstance(event, ContentBlockStop) and isinstance(event.content, Text) for event in events)
    assert ending(events).stop_reason == "end_turn"


async def test_a_call_that_was_cut_begins_and_does_not_end(subject: Subject) -> None:
    events = await played(subject, "cut call")
    assert (calls_of(events), ending(events).stop_reason) == ([], "max_tokens")
    assert isinstance(events[-1], MessageStop)
    assert any(isinstance(event, ContentBlockStop) and isinstance(event.content, Text) for event in events)


async def test_a_refusal_is_a_stop_reason_with_its_words(subject: Subject) -> None:
    delta = ending(await played(subject, "refusal"))
    assert delta.stop_reason == "refusal"
    assert delta.detail


async def test_every_answer_says_its_source_and_its_tokens(subject: Subject) -> None:
    events = await played(subject, "calls")
    start = next(event for event in events if isinstance(event, MessageStart))
    assert start.source == subject.source
    assert start.model
    usage = ending(events).usage
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0
    assert usage.input_tokens >= usage.cache_read_tokens + usage.cache_write_tokens
    assert usage.estimated is (subject.source != "live")


async def test_answering_leaves_the_context_as_it_is(subject: Subject) -> None:
    context = setting("calls")
    before: dict[str, Any] = context.to_dict()
    await answer(subject.play("calls"), context)
    assert context.to_dict() == before
    assert context.hash == asked().hash


async def test_a_failure_before_the_answer_is_a_model_error_and_nothing_else(subject: Subject) -> None:
    events: list[ModelEvent] = []
    error = await failing(subject, "early failure", events)
    assert events == []
    assert not error.retryable


async def test_a_failure_within_the_answer_leaves_what_came_and_may_be_retried(subject: Subject) -> None:
    events: list[ModelEvent] = []
    error = await failing(subject, "late failure", events)
    assert (error.kind, error.retryable) == ("connection", True)
    assert isinstance(events[0], MessageStart)
    assert any(isinstance(event, TextDelta) for event in events)
    assert not any(isinstance(event, (MessageDelta, MessageStop)) for event in events)


async def failing(subject: Subject, scene: str, events: list[ModelEvent]) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await answer(subject.play(scene), setting(scene), events)
    error = caught.value
    assert error.kind in KINDS
    assert "\n" not in str(error)
    assert ";" in str(error)  # behind it stands what to do
    assert error.__cause__ is error.__context__ is None
    return error


async def test_after_a_failure_the_same_model_answers(subject: Subject) -> None:
    await failing(subject, "late failure", [])
    check_order(await played(subject, "words"))


async def test_cancelling_stops_an_answer_at_once_and_hangs_up(subject: Subject) -> None:
    model = subject.play("slow")
    begun = asyncio.Event()

    async def read() -> None:
        async for event in model.stream(setting("slow")):
            if isinstance(event, TextDelta):
                begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    async with asyncio.timeout(2):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await asyncio.to_thread(subject.hung_up)


async def test_a_reader_may_leave_in_the_middle(subject: Subject) -> None:
    model = subject.play("slow")
    async with asyncio.timeout(2), aclosing(model.stream(setting("slow"))) as events:  # type: ignore[type-var]  # adapters are generators
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert await asyncio.to_thread(subject.hung_up)


async def test_an_answer_that_nobody_reads_on_does_not_hold_up_the_next(subject: Subject) -> None:
    model = subject.play("slow")
    async with aclosing(model.stream(setting("slow"))) as events:  # type: ignore[type-var]  # as above
        await anext(events)
        check_order(await played(subject, "words"))


async def test_what_is_new_in_a_protocol_is_passed_over(subject: Subject) -> None:
    if isinstance(subject, Live):  # the others speak our own events only
        whole = subject.replies["words"].events
        novelty = {
            "type": "weather_report",
            "sky": "blue",
            "choices": [],
            "model": "test",
            "more": {"a": [1]},
        }
        odd = [event for known in whole for event in (known, novelty)][:-1]
        subject.replies = {**subject.replies, "words": Reply(tuple(odd))}
    check_order(await played(subject, "words"))


async def test_a_script_that_is_at_its_end_is_a_model_error() -> None:
    with pytest.raises(ModelError):
        await answer(ScriptedModel(), asked())
