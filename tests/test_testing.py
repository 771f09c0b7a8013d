from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from nbsession.content import Message, Text, Thinking, ToolCall
from nbsession.context import CompiledContext, context_of
from nbsession.errors import ModelError
from nbsession.events import ContentBlockStart, MessageDelta, TextDelta
from nbsession.models.base import ModelAdapter
from nbsession.testing import EventRecorder, ScriptedModel, call, pause
from nbsession.tokens import Usage

if TYPE_CHECKING:
    from collections.abc import Callable


def asked(text: str = "Hello") -> CompiledContext:
    return context_of(["You are a test."], [Message("user", (Text(text),))])


async def played(model: ModelAdapter, context: CompiledContext | None = None) -> EventRecorder:
    return await EventRecorder().record(model.stream(context or asked()))


async def test_responses_come_in_order_and_the_contexts_are_kept() -> None:
    model = ScriptedModel("One.", "Two.")
    first, second = asked("a"), asked("b")

    assert (await played(model, first)).blocks == [Text("One.")]
    assert (await played(model, second)).blocks == [Text("Two.")]
    assert model.contexts == [first, second]
    assert isinstance(model, ModelAdapter)
    assert (model.name, model.source) == ("scripted", "simulated")


async def test_text_streams_in_a_few_deltas_whose_offsets_fit() -> None:
    seen = await played(ScriptedModel("A text that is long enough for some deltas."))

    deltas = seen.of(TextDelta)
    assert 2 <= len(deltas) <= 4
    assert seen.text == "A text that is long enough for some deltas."
    assert [delta.offset for delta in deltas] == [
        sum(len(d.text) for d in deltas[:n]) for n in range(len(deltas))
    ]
    assert seen.types == [
        "message_start",
        "content_block_start",
        "text_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert seen.of(MessageDelta)[0].stop_reason == "end_turn"
    assert seen.of(MessageDelta)[0].usage.estimated


async def test_with_a_rate_each_word_is_a_delta() -> None:
    seen = await played(ScriptedModel("one  two\nthree\n", rate=10_000))

    assert [delta.text for delta in seen.of(TextDelta)] == ["one", "  two", "\nthree", "\n"]


async def test_calls_get_ids_of_their_own_and_may_take_any_argument_name() -> None:
    seen = await played(ScriptedModel(["Wait.", call("set_knob", name="tone", tool="x"), call("other")]))

    text, first, second = seen.blocks
    assert text == Text("Wait.")
    assert isinstance(first, ToolCall)
    assert isinstance(second, ToolCall)
    assert (first.name, first.input) == ("set_knob", {"name": "tone", "tool": "x"})
    assert first.id
    assert first.id != second.id
    assert seen.of(MessageDelta)[0].stop_reason == "tool_use"


async def test_the_same_script_and_context_give_the_same_events() -> None:
    first, second = ScriptedModel(["x", call("t", a=1)]), ScriptedModel(["x", call("t", a=1)])

    assert (await played(first)).events == (await played(second)).events


async def later(context: CompiledContext) -> list[object]:
    await asyncio.sleep(0)
    return [Thinking("hm"), f"{len(context.messages)} message"]


@pytest.mark.parametrize("answer", [lambda context: f"{len(context.messages)} message", later])
async def test_a_response_may_be_a_function_of_the_context(
    answer: Callable[[CompiledContext], object],
) -> None:
    assert Text("1 message") in (await played(ScriptedModel(answer))).blocks


async def test_an_exception_is_raised_before_anything_is_said() -> None:
    stream = ScriptedModel(ModelError("overloaded", retryable=True)).stream(asked())

    with pytest.raises(ModelError, match="overloaded"):
        await anext(stream)


async def test_an_exception_after_a_text_cuts_the_text() -> None:
    seen = EventRecorder()
    with pytest.raises(ModelError, match="cut"):
        await seen.record(ScriptedModel(["Half a", ModelError("cut")]).stream(asked()))

    assert seen.text == "Half a"
    assert not seen.blocks


async def test_a_message_delta_among_the_items_is_the_end() -> None:
    model = ScriptedModel(["No.", MessageDelta("refusal", Usage(10, 2), "not that")])

    (delta,) = (await played(model)).of(MessageDelta)

    assert (delta.stop_reason, delta.usage, delta.detail) == ("refusal", Usage(10, 2), "not that")


async def test_a_call_too_many_says_how_many_responses_there_were() -> None:
    model = ScriptedModel("only one")
    await played(model)

    with pytest.raises(ModelError, match="has 1 responses and was asked for number 2"):
        await played(model)


async def test_what_no_model_may_answer_is_refused() -> None:
    with pytest.raises(ModelError, match="a scripted response is text"):
        await played(ScriptedModel([42]))  # type: ignore[list-item]  # the error is the test


async def test_a_pause_holds_the_response_in_the_middle_of_its_text() -> None:
    hold, seen = pause(), EventRecorder()
    stream = ScriptedModel(["Half ", hold, "and half."]).stream(asked())
    reading = asyncio.create_task(seen.record(stream))
    await hold.reached
    assert seen.text == "Half "
    assert not seen.blocks

    hold.release()
    await reading
    assert seen.blocks == [Text("Half and half.")]
    assert len(seen.of(ContentBlockStart)) == 1


async def test_a_held_response_can_be_cancelled() -> None:
    hold = pause()
    reading = asyncio.create_task(played(ScriptedModel(["Half ", hold])))
    await hold.reached

    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
    hold.release()
    await hold.reached


async def test_a_pause_can_be_awaited_and_released_from_another_thread() -> None:
    hold = pause()

    def release() -> None:
        assert hold.reached.wait(10)
        hold.release()

    thread = threading.Thread(target=release)
    thread.start()
    seen = await played(ScriptedModel([hold, call("go"), hold, "done"]))
    await asyncio.to_thread(thread.join)

    assert [type(block) for block in seen.blocks] == [ToolCall, Text]
