from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from nbsession import (
    Knobs,
    RenderError,
    Section,
    System,
    Timeline,
    component,
    tool,
    use_data,
    use_effect,
    use_knob,
    use_on_unmount,
    use_state,
)
from nbsession.content import Message, Text, Thinking, ToolCall
from nbsession.context import CompiledContext, context_of
from nbsession.errors import ModelError
from nbsession.events import ContentBlockStart, MessageDelta, TextDelta
from nbsession.models.base import ModelAdapter
from nbsession.stores import MemoryStore
from nbsession.testing import (
    EventRecorder,
    NetworkRefusedError,
    ScriptedModel,
    call,
    no_network,
    pause,
    render,
    store_contract,
)
from nbsession.usage import Usage

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


@component
def Notepad(title: str = "Notes") -> object:
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    notes, set_notes = use_state(["first"])

    @tool
    def add_note(note: str) -> str:
        """Keep a note."""
        set_notes(lambda kept: [*kept, note])
        return "Noted."

    body = Section("\n".join(notes), id="notes", title=title)
    return [System(f"You are {tone}."), add_note, body, Knobs(), Timeline()]


def test_a_tree_is_rendered_without_a_session() -> None:
    mounted = render(Notepad())

    assert "You are friendly." in mounted.context.system.text
    assert [spec.name for spec in mounted.context.tools] == ["add_note", "set_knob"]


def test_state_that_a_tool_sets_is_in_the_next_context() -> None:
    mounted = render(Notepad())
    before = mounted.context

    assert mounted.tools["add_note"]("second") == "Noted."

    assert "first\nsecond" in mounted.context.system.text
    assert mounted.context.diff(before).changed


def test_a_knob_that_is_set_is_in_the_next_context() -> None:
    mounted = render(Notepad())

    mounted.knobs["tone"] = "terse"

    assert "You are terse." in mounted.context.system.text
    assert 'tone = "terse"' in mounted.context.system.text


def test_rendering_again_keeps_state_and_takes_other_properties() -> None:
    mounted = render(Notepad())
    mounted.tools["add_note"]("second")

    context = mounted.rerender(Notepad(title="Memo")).context

    assert "## Memo\n\nfirst\nsecond" in context.system.text
    assert mounted.rerender().context == context


def test_unmounting_cleans_up_effects_and_calls_callbacks() -> None:
    happened = []

    @component
    def Watching() -> object:
        use_effect(lambda: lambda: happened.append("cleaned up"), [])
        use_on_unmount(lambda: happened.append("unmounted"))
        return System("I watch.")

    mounted = render(Watching())
    assert not happened

    mounted.unmount()

    assert happened == ["cleaned up", "unmounted"]


async def test_settling_awaits_data() -> None:
    async def fetch() -> str:
        await asyncio.sleep(0)
        return "fetched"

    @component
    def Data() -> object:
        return System(use_data("data", fetch))

    mounted = await render(Data()).settle()

    assert mounted.context.system.text == "fetched"


def test_a_component_that_raises_is_named() -> None:
    @component
    def Broken() -> object:
        raise ValueError("no")

    with pytest.raises(RenderError, match="Broken"):
        render(Broken())


def test_the_store_contract_is_at_hand() -> None:
    stores = [MemoryStore()]

    store_contract(lambda: stores[0])


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80), ("example.invalid", 443)])
def test_without_network_a_connection_outside_is_refused(address: tuple[str, int]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with (
        socket.socket(family) as client,
        no_network(),
        pytest.raises(NetworkRefusedError, match=r"no_network\(\) is active and refuses"),
    ):
        client.connect(address)


async def test_without_network_names_are_not_even_looked_up() -> None:
    with no_network(), pytest.raises(NetworkRefusedError, match=r"example\.invalid"):
        await asyncio.open_connection("example.invalid", 443)


async def test_without_network_this_machine_is_still_reached() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        await writer.drain()
        writer.close()

    with no_network():
        async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            assert await reader.readline() == b"hello\n"
            writer.close()
            await writer.wait_closed()


def test_afterwards_the_network_is_as_it_was() -> None:
    before = (socket.getaddrinfo, socket.socket.connect, socket.socket.__dict__.get("connect"))

    with no_network(), no_network():
        pass

    assert (socket.getaddrinfo, socket.socket.connect, socket.socket.__dict__.get("connect")) == before


def test_a_component_that_is_rendered_without_a_call_is_refused_in_one_breath() -> None:
    @component
    def Agent() -> str:
        return "x"

    with pytest.raises(RenderError, match=r"^the root got Agent itself; call it for an element: Agent\(\)$"):
        render(Agent)
