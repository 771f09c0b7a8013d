"""Connections that break, and servers that are started again: no event is lost, none is given twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbsession import App
from nbsession.client import AsyncClient, pace
from nbsession.content import ToolCall
from nbsession.events import ContentBlockStop, Done, ExecutionStart, InputJsonDelta, TextDelta
from nbsession.protocol import event_to_wire
from nbsession.server import stream
from nbsession.testing import ScriptedModel, call, pause
from tests.client.conftest import TOKEN, Cutting, serving
from tests.server.conftest import notepad
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbsession.events import Event
    from nbsession.server import Server


@pytest.fixture(autouse=True, scope="module")
def _soon() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "FIRST", 0.01)
        yield


def whole(events: list[Event]) -> None:
    """Hold events to what they promise: numbers without gap, and deltas that make the blocks that stop."""
    numbers = [event.sequence for event in events if event.durable]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    said: dict[int, str] = {}
    for event in events:
        if isinstance(event, (TextDelta, InputJsonDelta)):
            assert event.offset == len(said.get(event.index, ""))
            text = event.text if isinstance(event, TextDelta) else event.partial_json
            said[event.index] = said.get(event.index, "") + text
        elif isinstance(event, ContentBlockStop):
            told = said.pop(event.index, "")
            if not isinstance(event.content, ToolCall):
                assert told == "" or told == str(event.content)


def durable(events: list[Event]) -> list[Any]:
    return [event_to_wire(event) for event in events if event.durable]


SAID = " ".join(f"word {n}" for n in range(120))


def answer(context: Any) -> Any:
    """Ask for a tool after a message, and after its result say much in many pieces."""
    if any(block.to_dict()["type"] == "tool_result" for block in context.messages[-1].content):
        return SAID
    return ["Let me see. ", "I note it. ", call("add_note", note="a" * 40)]


@pytest.fixture(scope="module")
def talking() -> Iterator[Server]:
    """A server whose model says much, and asks its readers to come back soon."""
    with (
        pytest.MonkeyPatch.context() as patch,
        serving(App(Notepad, model=ScriptedModel(*[answer] * 1000, rate=4000))) as server,
    ):
        patch.setattr(stream, "RETRY", b"retry: 1\n\n")
        yield server


CUTS = st.lists(st.integers(0, 12_000), min_size=1, max_size=6)


@settings(max_examples=15, deadline=None)
@given(cuts=CUTS)
def test_however_a_stream_is_cut_its_reader_has_what_it_would_have_uncut(
    talking: Server, cuts: list[int]
) -> None:
    async def run() -> None:
        async with (
            AsyncClient(talking.url, token=TOKEN) as near,
            Cutting(talking.url, cuts) as proxy,
            AsyncClient(proxy.url, token=TOKEN) as client,
        ):
            session = await near.create()
            execution = client.session(session.id).send("hi")
            events = [event async for event in execution]
            uncut = [
                event async for event in near.session(session.id).send("hi", request_id=execution.request_id)
            ]
            assert durable(events) == durable(uncut)
            assert (await execution).text == SAID
            assert (await session.info()).entries == 4
            whole(events)

    asyncio.run(run())


@settings(max_examples=10, deadline=None)
@given(cuts=CUTS)
def test_however_a_subscription_is_cut_it_goes_on_where_it_was(talking: Server, cuts: list[int]) -> None:
    async def run() -> None:
        async with (
            AsyncClient(talking.url, token=TOKEN) as near,
            Cutting(talking.url, cuts) as proxy,
            AsyncClient(proxy.url, token=TOKEN) as client,
        ):
            session = await near.create()
            execution = session.send("hi")
            events: list[Event] = []
            async with aclosing(client.session(session.id).subscribe()) as coming:
                async for event in coming:
                    events.append(event)
                    if isinstance(event, Done):
                        break
            await execution
            assert durable(events) == durable([event async for event in execution])
            whole(events)

    asyncio.run(run())


async def test_a_message_whose_answer_was_cut_before_it_began_is_one_message() -> None:
    app = notepad("once", "twice")
    with serving(app) as server:
        async with Cutting(server.url, [0, 0, 10]) as proxy, AsyncClient(proxy.url, token=TOKEN) as client:
            async with AsyncClient(server.url, token=TOKEN) as other:
                await other.create("s")
            assert (await client.session("s").send("hi")).text == "once"
            assert proxy.made >= 4
        assert [entry.text for entry in app.opened["s"].timeline] == ["hi", "once"]


PROGRAM = "tests.client.killed"


def started(url: str, port: int) -> subprocess.Popen[str]:
    """Start a server in a process of its own; returns when it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", PROGRAM, url, str(port)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'sessions.db'}"


@pytest.fixture
def port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    return number


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


async def test_a_server_that_is_killed_in_mid_stream_and_started_again_ends_what_it_had_begun(
    store: str, port: int
) -> None:
    first = started(store, port)
    events: list[Event] = []
    async with AsyncClient(f"http://127.0.0.1:{port}", token=TOKEN) as client:
        session = await client.create("s")
        execution = session.send("slowly")
        second = None
        try:
            async for event in execution:
                events.append(event)
                if second is None and isinstance(event, TextDelta):
                    kill(first)
                    second = await asyncio.to_thread(started, store, port)
            result = await execution
            again = await session.send("and now?")
            kept = [event async for event in _history(session)]
        finally:
            kill(second or first)
    assert (str(result.stop_reason), result.reason) == ("aborted", "the process ended while it ran")
    assert isinstance(events[-1], Done)
    assert [event.type for event in events].count("execution_start") == 1
    assert again.text.startswith("word ")
    mine = [event for event in events if event.durable]
    # What came and was not stored yet when the process was killed is followed by how the session has it.
    stored = list(first_of(kept))
    assert [event for event in stored if event not in mine] == []
    assert mine[-1] == stored[-1]
    assert all(mine.count(event) == 1 for event in mine)


def first_of(events: list[Event]) -> Iterator[Event]:
    """Give the durable events of the first execution."""
    for event in events:
        if event.durable:
            yield event
        if isinstance(event, Done):
            return


async def _history(session: Any) -> Any:
    async with aclosing(session.subscribe()) as events:
        done = 0
        async for event in events:
            yield event
            done += isinstance(event, Done)
            if done == 2:
                return


async def test_a_server_that_is_started_again_is_waited_for_by_all_that_is_asked_of_it(
    store: str, port: int
) -> None:
    first = started(store, port)
    async with AsyncClient(f"http://127.0.0.1:{port}", token=TOKEN) as client:
        session = await client.create("s")
        await session.knobs.set("tone", "terse")
        kill(first)
        asked = asyncio.ensure_future(session.knobs.values())
        sent = session.send("hi")
        second = await asyncio.to_thread(started, store, port)
        try:
            assert await asked == {"tone": "terse"}
            assert (await sent).text.startswith("word ")
        finally:
            kill(second)


async def test_a_reader_that_stands_beyond_what_was_stored_is_told_and_goes_on(store: str, port: int) -> None:
    server = started(store, port)
    try:
        async with AsyncClient(f"http://127.0.0.1:{port}", token=TOKEN) as client:
            session = await client.create("s")
            types: list[str] = []
            async with aclosing(session.subscribe(10_000)) as events:
                async for event in events:
                    types.append(event.type)
                    if event.type == "resync_required":
                        session.send("hi")
                    if isinstance(event, Done):
                        break
        assert types[:2] == ["resync_required", ExecutionStart.type]
    finally:
        kill(server)


async def test_a_server_that_closes_in_order_lets_its_readers_come_back_to_the_next_one() -> None:
    held = pause()
    app = notepad(["one ", held, "two"])
    with serving(app) as server:
        port = int(server.url.rpartition(":")[2])
        async with AsyncClient(server.url, token=TOKEN) as client:
            execution = (await client.create("s")).send("hi")
            async for event in execution:
                if isinstance(event, TextDelta):
                    break
            closing = asyncio.ensure_future(asyncio.to_thread(server.close))
            held.release()
            await closing
            with serving(notepad(store=app.store), port=port):
                assert (await execution).text == "one two"
