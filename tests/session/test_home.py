"""Sessions and event loops: any thread, any loop, one after another, and none at all."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from nbsession import App, Session, SessionError, StopReason, System, Timeline, component, tool, use_state
from nbsession.session import Home
from nbsession.testing import ScriptedModel, call, pause
from tests.support.notepad import Notepad


@component
def Root() -> Any:
    return Timeline()


def agent(*responses: Any, **options: Any) -> Session:
    return App(Root, model=ScriptedModel(*responses), **options).session()


def test_a_session_made_before_any_loop_runs_on_each_that_comes() -> None:
    session = App(Notepad, model=ScriptedModel("a", "b", "c")).session()
    session.knobs["tone"] = "terse"
    assert "terse" in str(session.compile().system)
    session.queue("first")

    async def send(text: str) -> str:
        return (await session.send(text)).text

    assert asyncio.run(send("one")) == "a"
    session.knobs["tone"] = "friendly"
    assert "friendly" in str(session.compile().system)
    assert asyncio.run(send("two")) == "b"
    assert session.run("three").text == "c"
    assert [entry.text for entry in session.timeline if entry.role == "user"] == [
        "one",
        "first",
        "two",
        "three",
    ]


def test_what_a_blocking_run_raises_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="no answer"):
        agent(ValueError("no answer")).run("hi")
    gc.collect()
    assert caplog.messages == []


def test_sending_without_a_loop_says_what_to_do_instead() -> None:
    session = agent("a")
    with pytest.raises(SessionError, match=r"session\.run\(message\)"):
        session.send("hi")


def test_a_home_loop_that_is_open_is_not_taken_from_its_sessions() -> None:
    session = agent("a", "b")
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_send(session))

    async def elsewhere() -> None:
        session.send("two")

    with pytest.raises(SessionError, match="open but does not run"):
        asyncio.run(elsewhere())
    assert session.run("two").text == "b"  # on its own loop
    loop.close()


async def _send(session: Session) -> None:
    await session.send("one")


async def test_an_execution_can_be_awaited_and_read_from_another_loop() -> None:
    held = pause()
    session = agent(["a", held, "b"])
    execution = session.send("hi")
    texts: list[str] = []

    async def elsewhere() -> None:
        kinds = [event.type async for event in execution]
        texts.append(kinds[-1])
        texts.append((await execution).text)

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    await held.reached
    held.release()
    await execution
    await asyncio.to_thread(thread.join)
    assert texts == ["done", "ab"]


async def test_everything_can_be_called_from_threads_while_an_execution_runs() -> None:
    held = pause()
    app = App(Notepad, model=ScriptedModel(["a", held, call("add_note", note="n")], "b", "c"))
    session = app.session()
    execution = session.send("go")
    await held.reached
    seen: dict[str, Any] = {}

    def work() -> None:
        session.knobs["tone"] = "terse"
        seen["tone"] = session.knobs["tone"]
        seen["compiled"] = str(session.compile().system)
        seen["preview"] = session.preview(tone="friendly").knobs
        seen["fork"] = session.fork()
        seen["state"] = session.state
        session.steer("also this")
        seen["status"] = session.status

    await asyncio.to_thread(work)
    held.release()
    result = await execution
    assert "terse" in seen["compiled"]
    assert "terse" in str(result.ticks[1].context.system)
    assert "also this" in str(result.ticks[1].context.messages[-1])
    assert (seen["tone"], seen["status"]) == ("terse", "running")
    assert [entry.text for entry in seen["fork"].timeline] == ["go"]


async def test_setters_of_a_thread_are_applied_in_order_and_are_in_the_next_compile() -> None:
    setter: list[Any] = []

    @component
    def Counter() -> Any:
        count, set_count = use_state(0)
        setter[:] = [set_count]
        return [System(f"count {count}"), Timeline()]

    session = App(Counter, model=ScriptedModel("a")).session()
    await session.send("hi")

    def work() -> None:
        for _ in range(500):
            setter[0](lambda n: n + 1)
        setter[0](lambda n: n * 2)

    await asyncio.to_thread(work)
    assert str(session.compile().system) == "count 1000"


async def test_blocking_runs_inside_a_running_loop_and_from_its_threads() -> None:
    session = agent("a", "b", "c")
    assert session.run("one").text == "a"
    assert (await asyncio.to_thread(session.run, "two")).text == "b"
    assert (await session.send("three")).text == "c"


async def test_a_call_to_a_loop_that_ends_meanwhile_is_made_all_the_same() -> None:
    home = Home()
    loop = asyncio.new_event_loop()
    home.bind(loop)
    entered, leave = threading.Event(), threading.Event()

    def block_and_stop() -> None:
        entered.set()
        leave.wait(5)
        loop.stop()

    def run() -> None:
        loop.call_soon(block_and_stop)
        loop.run_forever()
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    entered.wait(5)
    asking = asyncio.get_running_loop().run_in_executor(None, home.call, lambda: "answered")
    leave.set()
    assert await asking == "answered"
    await asyncio.to_thread(thread.join)


async def test_context_variables_reach_tools_of_either_kind_and_the_hooks() -> None:
    word: contextvars.ContextVar[str] = contextvars.ContextVar("word")
    heard: list[str] = []

    @tool
    def in_a_thread() -> str:
        """Run in a thread."""
        heard.append(word.get())
        return "x"

    @tool
    async def on_the_loop() -> str:
        """Run on the loop."""
        heard.append(word.get())
        return "x"

    session = agent([call("in_a_thread"), call("on_the_loop")], "done", tools=[in_a_thread, on_the_loop])
    word.set("abracadabra")
    await session.send("hi")
    assert heard == ["abracadabra", "abracadabra"]


async def test_a_tool_that_awaits_its_own_session_is_told_that_it_would_wait_for_itself() -> None:
    sessions: list[Session] = []

    @tool
    async def ask_again() -> str:
        """Ask the session that is busy with this very call."""
        return (await sessions[0].send("inner")).text

    @tool
    def run_again() -> str:
        """The same, blocking."""
        return sessions[0].run("inner too").text

    session = agent(
        [call("ask_again"), call("run_again")], "outer", "one", "two", tools=[ask_again, run_again]
    )
    sessions.append(session)
    result = await asyncio.wait_for(session.send("go"), 5)
    for run in result.tool_calls:
        assert run.result is not None
        assert "would wait for itself" in run.result.text
    for execution in session.executions[1:]:
        await execution
    assert [e.text for e in session.timeline if e.role == "user"] == ["go", "inner", "inner too"]


def test_an_interrupt_from_the_keyboard_inside_a_running_loop_leaves_no_request_behind() -> None:
    ended: list[str] = []

    async def answer(context: Any) -> str:
        signal.raise_signal(signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("request")
        return "never"

    session = agent(answer, "fine")

    async def main() -> None:
        with pytest.raises(KeyboardInterrupt):
            session.run("hi")
        assert ended == ["request"] or session.executions[0].done
        assert session.status == "idle"
        assert session.executions[0].partial.stop_reason is StopReason.aborted
        assert (await session.send("again")).text == "fine"

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()


PROGRAM = """
import asyncio, atexit, os, signal, threading
from nbsession import App, Timeline, component
from nbsession.testing import ScriptedModel

@component
def Root():
    return Timeline()

async def answer(context):
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        await asyncio.Event().wait()
    finally:
        print("request ended", flush=True)

session = App(Root, model=ScriptedModel(answer, "fine")).session()
WHERE
"""
WHERE = {
    "plain": "call = lambda: session.run('hi')",
    "another thread": """
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
session.app.home.bind(loop)
call = lambda: session.run('hi')
""",
    "nested": """
loop = asyncio.new_event_loop()
atexit.register(loop.close)
async def main():
    return session.run('hi')
call = lambda: loop.run_until_complete(main())
""",
}


@pytest.mark.parametrize("where", list(WHERE))
def test_an_interrupt_drains_the_request_wherever_it_is_waited_for(where: str) -> None:
    program = PROGRAM.replace("WHERE", WHERE[where]) + (
        "\ntry:\n    call()\nexcept KeyboardInterrupt:\n"
        "    print(session.status, session.executions[0].partial.stop_reason)\n"
        "    print(session.run('again').text)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.split("\n"), done.stderr) == (["request ended", "idle aborted", "fine", ""], "")


async def test_a_blocking_run_inside_a_loop_leaves_asyncio_run_as_it_was() -> None:
    before = asyncio.run
    assert agent("a").run("hi").text == "a"
    assert asyncio.run is before


def test_a_blocking_run_inside_a_loop_leaves_later_loops_to_close_their_generators() -> None:
    closed = []

    async def connection() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            closed.append(asyncio.current_task() is not None)

    async def block() -> str:
        return agent("a").run("hi").text

    opened = connection()

    async def use() -> None:
        await anext(opened)

    assert asyncio.run(block()) == "a"
    asyncio.run(use())
    assert closed == [True]


def shared(*responses: Any) -> App:
    return App(Root, model=ScriptedModel(*responses))


def held(text: str, asked: threading.Event, released: threading.Event) -> Any:
    async def answer(_: Any) -> str:
        asked.set()
        await asyncio.to_thread(released.wait, 10)
        return text

    return answer


def test_blocking_runs_of_several_threads_all_have_their_results_on_sessions_of_one_app() -> None:
    for _ in range(10):
        app = shared(*["a"] * 8)
        with ThreadPoolExecutor(4) as pool:
            texts = list(pool.map(lambda number: app.session(f"s{number}").run("x").text, range(8)))  # noqa: B023
        assert texts == ["a"] * 8


def test_blocking_runs_of_several_threads_on_one_session_take_turns() -> None:
    session = shared(*map(str, range(8))).session()
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda _: session.run("x").text, range(8)))
    assert sorted(texts) == list("01234567")
    assert [entry.role for entry in session.timeline] == ["user", "assistant"] * 8


def test_one_request_from_several_threads_is_sent_once() -> None:
    session = shared("once").session()
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda _: session.run("x", request_id="r").text, range(8)))
    assert texts == ["once"] * 8
    assert len(session.timeline) == 2


def test_a_session_opened_by_several_threads_is_one_session() -> None:
    app = shared(*["a"] * 8)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: app.session("one").run("x"), range(8)))
    assert [result.text for result in results] == ["a"] * 8
    assert len(app.session("one").timeline) == 16


def test_a_blocking_run_returns_when_its_own_work_has_ended_and_the_others_go_on() -> None:
    asked, released = ([threading.Event() for _ in range(2)] for _ in range(2))
    app = shared(*[held(str(n), asked[n], released[n]) for n in range(2)], "after")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: app.session("first").run("x").text)
        assert asked[0].wait(10)
        second = pool.submit(lambda: app.session("second").run("x").text)
        assert asked[1].wait(10)
        released[0].set()
        assert first.result(10) == "0"
        assert not second.done()
        released[1].set()
        assert second.result(10) == "1"
    assert app.session("first").run("again").text == "after"


@pytest.mark.parametrize("swept", [False, True])
def test_a_blocking_run_stays_until_what_another_loop_sent_has_its_answer(swept: bool) -> None:
    asked, released = ([threading.Event() for _ in range(2)] for _ in range(2))

    async def once_the_other_has_ended(_: Any) -> str:
        asked[1].set()
        await app.session("first").executions[0].settled()
        before = asyncio.all_tasks()
        # Until its thread takes the loop up anew, for this answer.
        while asyncio.all_tasks() <= before:  # noqa: ASYNC110  # no event tells of that
            await asyncio.sleep(0)
        return "1"

    app = App(Notepad, model=ScriptedModel(held("0", asked[0], released[0]), once_the_other_has_ended))

    async def elsewhere() -> str:
        second = app.session("second")
        if not swept:
            return (await second.send("x", request_id="r")).text
        (row,) = (await second.sweep("x", tone=["terse"])).rows
        return "" if row.result is None else row.result.text

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: app.session("first").run("x").text)
        assert asked[0].wait(10)
        second = pool.submit(lambda: asyncio.run(elsewhere()))
        assert asked[1].wait(10)
        released[0].set()
        assert (first.result(10), second.result(10)) == ("0", "1")


def test_a_tool_in_a_thread_runs_another_session_on_the_loop_of_the_run_that_called_it() -> None:
    @tool
    def ask_other(word: str) -> str:
        """Ask another session."""
        return app.session("other").run(word).text

    app = App(Root, model=ScriptedModel([call("ask_other", word="x")], "inner", "outer"), tools=[ask_other])
    result = app.session().run("go")
    assert [run.result.text for run in result.tool_calls if run.result] == ["inner"]
    assert result.text == "outer"


def test_an_interrupt_of_one_blocking_run_leaves_those_of_other_threads_running() -> None:
    asked, released = threading.Event(), threading.Event()

    async def interrupted(_: Any) -> str:
        asked.set()
        await asyncio.to_thread(other_asked.wait, 10)
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()
        return "never"

    other_asked = threading.Event()
    app = shared(interrupted, held("other", other_asked, released), "fine")

    def beside() -> str:
        asked.wait(10)
        return app.session("other").run("x").text

    session = app.session("interrupted")
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(beside)
        with pytest.raises(KeyboardInterrupt):
            session.run("hi")
        assert session.executions[0].partial.stop_reason is StopReason.aborted
        assert not other.done()
        released.set()
        assert other.result(10) == "other"
    assert session.run("again").text == "fine"
