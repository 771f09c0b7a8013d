"""Events: numbered without gaps, nested, replayable to anybody, bounded."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Session, SessionError, Timeline, component, tool
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    Done,
    Event,
    InputJsonDelta,
    MessageStart,
    Ping,
    TextDelta,
    ToolProgress,
)
from nbsession.record import EventLog
from nbsession.stores import MemoryStore
from nbsession.testing import EventRecorder, ScriptedModel, call, pause
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from nbsession.tools import ToolContext


@tool
def look(query: str, context: ToolContext) -> str:
    """Look something up."""
    context.emit({"half": query})
    return query


@component
def Root() -> Any:
    return [look, Timeline()]


def agent(*responses: Any, **options: Any) -> Session:
    return App(Root, model=ScriptedModel(*responses), **options).session("s")


TWO_TICKS = (["let me see", call("look", query="x")], "it is x")


async def test_an_executions_events_come_in_their_order() -> None:
    session = agent(*TWO_TICKS)
    recorder = await EventRecorder().record(session.send("hi"))
    assert recorder.types == [
        "execution_start",
        "entry_committed",
        "tick_start",
        "tick_context",
        "message_start",
        "content_block_start",
        "text_delta",
        "content_block_stop",
        "content_block_start",
        "input_json_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "entry_committed",
        "tool_start",
        "tool_progress",
        "tool_end",
        "entry_committed",
        "tick_end",
        "tick_start",
        "tick_context",
        "message_start",
        "content_block_start",
        "text_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "entry_committed",
        "tick_end",
        "execution_end",
        "done",
    ]
    assert [event.data for event in recorder.of(ToolProgress)] == [{"half": "x"}]


async def test_durable_events_are_numbered_through_the_session_without_gaps() -> None:
    session = agent(*TWO_TICKS, "more")
    recorder = EventRecorder()
    for message in ("one", "two"):
        await recorder.record(session.send(message))
    numbers = [event.sequence for event in recorder.events if event.durable]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_every_reader_gets_the_same_whenever_and_wherever_it_reads() -> None:
    held = pause()
    session = agent(["Hello ", held, "there"], "x")
    execution = session.send("hi")
    early = asyncio.create_task(EventRecorder().record(execution))
    elsewhere: list[EventRecorder] = []

    def on_another_loop() -> None:
        elsewhere.append(asyncio.run(EventRecorder().record(execution)))

    thread = threading.Thread(target=on_another_loop)
    await held.reached
    middle = asyncio.create_task(EventRecorder().record(execution))
    thread.start()
    held.release()
    await execution
    await asyncio.to_thread(thread.join)
    recorders = [await early, await middle, elsewhere[0], await EventRecorder().record(execution)]
    for recorder in recorders:
        assert recorder.text == "Hello there"
        assert recorder.types == recorders[0].types
        offset = 0
        for delta in recorder.of(TextDelta):
            assert delta.offset == offset
            offset += len(delta.text)


async def test_a_reader_that_never_reads_on_holds_nobody_up() -> None:
    session = agent("Hello there, how are you?")
    execution = session.send("hi")
    stuck = aiter(execution)
    await anext(stuck)
    assert (await execution).text == "Hello there, how are you?"
    rest = [event async for event in stuck]
    assert [event.text for event in rest if isinstance(event, TextDelta)] == ["Hello there, how are you?"]


async def test_a_subscriber_goes_on_after_a_number_without_gap_or_duplicate() -> None:
    session = agent(*TWO_TICKS, "more")
    await session.send("one")
    first = [event async for event in _until_done(session.subscribe())]
    last = first[-1].sequence
    late = asyncio.create_task(_collect(session.subscribe(after=last)))
    await session.send("two")
    events = await late
    numbers = [event.sequence for event in [*first, *events] if event.durable]
    assert numbers == list(range(1, len(numbers) + 1))
    middle = [event async for event in _until_done(session.subscribe(after=5))]
    assert [event.sequence for event in middle if event.durable] == list(range(6, last + 1))


@pytest.mark.parametrize("kept", [True, False])
async def test_knobs_set_between_executions_are_events_of_the_session(kept: bool) -> None:
    app = App(Notepad, model=ScriptedModel("a"), store=MemoryStore() if kept else None)
    session = app.session("s")
    session.compile()
    subscription = session.subscribe()
    session.knobs["tone"] = "terse"
    event = await anext(subscription)
    assert (event.type, event.sequence) == ("knob_set", 1)
    await session.send("hi")
    assert (await anext(subscription)).type == "execution_start"


async def _until_done(stream: Any) -> Any:
    async for event in stream:
        yield event
        if isinstance(event, Done):
            return


async def _collect(stream: Any) -> list[Event]:
    return [event async for event in _until_done(stream)]


def test_a_log_keeps_no_more_than_its_limit() -> None:
    log = EventLog(limit=100)
    for number in range(1000):
        event = Ping()
        event.sequence = number
        log.append(event)
    assert len(log._items) <= 110
    assert log.first is not None
    assert log.first >= 890


async def test_a_reader_that_fell_too_far_behind_is_told_so() -> None:
    log = EventLog(limit=10)
    _fill(log, range(1, 6))
    reader = log.read()
    assert (await anext(reader)).sequence == 1
    assert [(await anext(reader)).sequence for _ in range(4)] == [2, 3, 4, 5]
    _fill(log, range(6, 100))
    with pytest.raises(SessionError, match="no longer kept"):
        await anext(reader)
    with pytest.raises(SessionError, match="no longer kept"):
        await anext(log.read(after=7))
    assert (await anext(log.read())).sequence == log.first


def _fill(log: EventLog, numbers: range) -> None:
    for number in numbers:
        event = Done()
        event.sequence = number
        log.append(event)


async def test_blocks_of_two_messages_with_the_same_index_stay_apart() -> None:
    log = EventLog()
    for text in ("first", "second"):
        for event in (
            MessageStart("m", "simulated"),
            ContentBlockStart(0, "text"),
            TextDelta(0, text[:2]),
            TextDelta(0, text[2:]),
        ):
            log.append(event)
    log.close()
    events = [event async for event in log.read()]
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["first", "second"]


def test_readers_on_other_threads_lose_nothing_while_a_block_grows() -> None:
    log, feed = EventLog(), EventLog()
    texts: dict[str, str] = {}

    async def read(name: str, source: EventLog) -> None:
        pieces: list[str] = []
        async for event in source.read():
            if isinstance(event, InputJsonDelta):
                assert event.offset == sum(len(piece) for piece in pieces)
                pieces.append(event.partial_json)
        texts[name] = "".join(pieces)

    threads = [
        threading.Thread(target=lambda n=f"{n}", s=source: asyncio.run(read(n, s)))
        for n, source in enumerate((log, log, feed, feed))
    ]
    for thread in threads:
        thread.start()
    written = []
    for number in range(20_000):
        delta = InputJsonDelta(0, f"{number},")
        written.append(f"{number},")
        feed.grow(delta, log.grow(delta))
    for source in (log, feed):
        source.append(ContentBlockStop(0, None))  # type: ignore[arg-type]  # nobody looks at it
        source.close()
    for thread in threads:
        thread.join()
    assert set(texts.values()) == {"".join(written)}
