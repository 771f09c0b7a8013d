"""Subscribers: every event once, in order, however late or slow its reader is."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbsession import App, Session, SessionError, Timeline, ToolContext, component, tool, use_on_tick_start
from nbsession.events import Event, EventStream, InputJsonDelta, TextDelta, TickEnd
from nbsession.session import feed as feeds
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import ScriptedModel, call
from tests.support.notepad import Notepad


@tool
async def count(to: int, context: ToolContext) -> str:
    """Count aloud."""
    for number in range(to):
        context.emit(number)
    return f"{to}"


def counting(store: Any, *responses: Any) -> Session:
    return App(Notepad, model=ScriptedModel(*responses), store=store, tools=[count]).session("s")


async def drain(reading: Any) -> list[Event]:
    """Read on to the end of an execution."""
    events = []
    async for event in reading:
        events.append(event)
        if event.type == "done":
            break
    return events


def numbers(events: list[Event]) -> list[int]:
    return [event.sequence for event in events if event.durable]


def texts(events: list[Event]) -> list[str]:
    """Return each block's text as its deltas give it; a delta that does not go on where the last one ended fails."""
    blocks: list[str] = []
    for event in events:
        if event.type == "content_block_start":
            blocks.append("")
        elif isinstance(event, TextDelta | InputJsonDelta):
            assert event.offset == len(blocks[-1])
            blocks[-1] += event.text if isinstance(event, TextDelta) else event.partial_json
    return blocks


@pytest.mark.parametrize("url", [None, "sqlite"])
async def test_a_reader_that_rested_too_long_goes_on_from_the_store(
    url: str | None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "KEPT", 50)
    store = MemoryStore() if url is None else SqlStore(f"sqlite:///{tmp_path / 's.db'}")
    session = counting(store, "one two three", [call("count", to=30)] * 8, "four five")
    reading = session.subscribe()
    await session.send("first")
    read = [await anext(reading) for _ in range(7)]
    await session.send("second")
    read += await drain(reading) + await drain(reading)
    await reading.aclose()
    assert numbers(read) == list(range(1, len(numbers(read)) + 1))
    assert len(numbers(read)) > 8 * 30
    assert texts(read)[0] == "one two three"
    assert texts(read)[-1] == "four five"
    await session.aclose()
    store.close()


async def test_a_reader_that_rested_within_a_block_gets_the_rest_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeds, "KEPT", 20)
    go_on = asyncio.Event()

    class Halting(ScriptedModel):
        async def stream(self, context: Any) -> Any:
            deltas = 0
            async for event in super().stream(context):
                yield event
                deltas += event.type == "text_delta"
                if deltas == 1:
                    await go_on.wait()

    store = MemoryStore()
    model = Halting("one two three four", [call("count", to=200)], "end")
    session = App(Notepad, model=model, store=store, tools=[count]).session("s")
    reading = session.subscribe()
    execution = session.send("go")
    read = []
    async for event in reading:
        read.append(event)
        if isinstance(event, TextDelta):
            break
    assert texts(read) != ["one two three four"]
    go_on.set()
    await execution
    await session.send("more")
    read += await drain(reading) + await drain(reading)
    await reading.aclose()
    assert texts(read)[0] == "one two three four"
    assert numbers(read) == list(range(1, len(numbers(read)) + 1))


async def test_without_a_store_a_reader_that_rested_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "KEPT", 20)
    session = counting(None, [call("count", to=100)], "end")
    reading = session.subscribe()
    execution = session.send("go")
    await anext(reading)
    await execution
    with pytest.raises(SessionError, match="no longer kept"):
        await drain(reading)


async def test_without_a_store_who_asks_for_events_that_are_gone_is_told_so_at_the_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeds, "KEPT", 20)
    session = counting(None, [call("count", to=100)], "end", "b")
    whole = session.subscribe(0)
    started = session.send("go")
    assert (await anext(whole)).sequence == 1
    await whole.aclose()
    await started
    kept = session.subscribe()
    first = (await anext(kept)).sequence
    await kept.aclose()
    assert first > 100
    for after in (0, 5, first - 2):
        with pytest.raises(
            SessionError, match=rf"events before number {first} are no longer kept.*subscribe\(\)"
        ):
            await anext(session.subscribe(after))
    read = await drain(session.subscribe(first - 1))
    assert numbers(read) == list(range(first, session._core.feed.sequence + 1))


async def test_any_number_of_readers_at_any_pace_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "KEPT", 30)
    session = counting(MemoryStore(), *[[call("count", to=20)], "a b c"] * 5)

    async def read(pace: int) -> list[Event]:
        reading, events = session.subscribe(), []
        for _ in range(5):
            async for event in reading:
                events.append(event)
                if event.sequence % pace == 0:
                    await asyncio.sleep(0)
                if event.type == "done":
                    break
        await reading.aclose()
        return events

    readers = [asyncio.create_task(read(pace)) for pace in (1, 2, 7, 1000)]
    for _ in range(5):
        await session.send("go")
    read_by_all = await asyncio.gather(*readers)
    assert len({tuple(numbers(events)) for events in read_by_all}) == 1
    assert len({tuple(texts(events)) for events in read_by_all}) == 1


@settings(max_examples=30, deadline=None)
@given(after=st.integers(0, 120), rests=st.lists(st.integers(1, 60), max_size=4))
def test_from_any_number_on_there_is_neither_gap_nor_duplicate(after: int, rests: list[int]) -> None:
    async def reading() -> None:
        session = counting(MemoryStore(), *[[call("count", to=5)], "a b c"] * (len(rests) + 3))
        session._core.feed._log._limit = 15  # so that most is in the store only
        for _ in range(3):
            await session.send("go")
        last = session._core.feed.sequence
        start = min(after, last)
        stream = session.subscribe(start)
        got: list[Event] = []
        for rest in rests:
            while rest and session._core.feed.sequence > max([start, *numbers(got)]):
                got.append(await anext(stream))
                rest -= 1
            await session.send("go")
        end = session._core.feed.sequence
        while max([start, *numbers(got)]) < end:
            got.append(await anext(stream))
        await stream.aclose()
        assert numbers(got) == list(range(start + 1, end + 1))

    asyncio.run(reading())


async def test_events_stay_in_memory_until_they_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "KEPT", 20)
    session = counting(MemoryStore(), [call("count", to=200)], "end")
    reading = session.subscribe()
    await asyncio.gather(session.send("go"), anext(reading))
    read = await drain(reading)
    assert numbers(read) == list(range(2, 2 + len(numbers(read))))
    assert len(read) > 200


async def test_readers_that_left_are_forgotten() -> None:
    session = counting(MemoryStore(), "a")
    reading = session.subscribe()
    await session.send("hi")
    await drain(reading)
    await reading.aclose()
    assert not session._core.feed._log._readers


async def test_a_session_is_an_event_stream() -> None:
    session = counting(None, "a")
    stream: EventStream = session
    await session.send("hi")
    assert numbers(await drain(stream.subscribe(after=2)))[0] == 3


async def test_a_tick_that_was_stopped_before_it_was_compiled_used_nothing_also_when_read_again() -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    @component
    def Agent() -> Any:
        async def begin() -> None:
            started.set()
            await stopped.wait()

        use_on_tick_start(begin)
        return Timeline()

    store = MemoryStore()
    session = App(Agent, model=ScriptedModel("one"), store=store).session("s")
    first = session.send("a")
    await started.wait()
    first.abort()
    await first
    stopped.set()
    await session.send("b")
    await session.aclose()
    again = App(Agent, model=ScriptedModel(), store=store).session("s")
    ends = [event async for event in again.executions[0] if isinstance(event, TickEnd)]
    assert [end.usage.output_tokens for end in ends] == [0]


async def test_an_observer_hears_each_durable_event_where_it_happens_until_it_is_taken_away() -> None:
    heard: list[tuple[str, Event]] = []
    task = contextvars.ContextVar("task", default="elsewhere")
    session = counting(None, call("count", to=2), "One.", "Two.")

    def observe(id: str, root: str) -> Any:
        assert (id, root) == ("s", "Notepad")
        return lambda event: heard.append((task.get(), event))

    session.observe(observe)
    task.set("the sender's")
    events = await drain(session.send("Count"))
    assert [event for _, event in heard] == [event for event in events if event.durable]
    assert {where for where, event in heard if event.type in ("execution_start", "tool_start")} == {
        "the sender's"
    }
    session.observe(None)
    await session.send("Again")
    assert len(heard) == len(numbers(events))
