"""Generators as tools: progress while they run, a result at the end, and a clean end however it comes."""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pandas as pd
import pydantic
import pytest

from nbsession import App, Timeline
from nbsession.content import ToolCall
from nbsession.events import ToolEnd, ToolProgress, ToolStart
from nbsession.testing import EventRecorder, ScriptedModel, call
from nbsession.tools import Outcome, Tool, ToolContext, run_tool, tool


class Step(pydantic.BaseModel):
    done: int


class Told:
    """What a call told, and waiting for it."""

    def __init__(self) -> None:
        self.data: list[Any] = []
        self.first = threading.Event()

    def emit(self, data: Any) -> None:
        self.data.append(data)
        self.first.set()


async def run(made: Tool, told: Told, *, user_loop: Any = None, **arguments: Any) -> Outcome:
    context = ToolContext(None, "c1", made.name, emit=told.emit)
    return await run_tool(made, ToolCall("c1", made.name, arguments), context, user_loop=user_loop)


class TestResult:
    @pytest.mark.parametrize("thread", [True, False])
    async def test_what_a_generator_returns_is_the_result_and_what_it_yields_is_told(
        self, thread: bool
    ) -> None:
        @tool(thread=thread)
        def count(to: int) -> Generator[int, None, str]:
            """Count."""
            yield from range(to)
            return f"counted to {to}"

        told = Told()
        outcome = await run(count, told, to=3)
        assert (outcome.value, outcome.result.text, told.data) == ("counted to 3", "counted to 3", [0, 1, 2])
        assert list(count.spec.input_schema["properties"]) == ["to"]

    @pytest.mark.parametrize("thread", [True, False])
    async def test_or_else_the_last_that_it_yielded(self, thread: bool) -> None:
        @tool(thread=thread)
        def read() -> Iterator[str | None]:
            yield "one"
            yield None
            yield "two"
            yield None

        told = Told()
        assert ((await run(read, told)).value, told.data) == ("two", ["one", "two"])

    async def test_an_async_generators_last_value_is_the_result(self) -> None:
        @tool
        async def read() -> AsyncIterator[str]:
            yield "one"
            await asyncio.sleep(0)
            yield "two"

        told = Told()
        assert ((await run(read, told)).result.text, told.data) == ("two", ["one", "two"])

    async def test_one_that_yields_nothing_is_done(self) -> None:
        @tool
        def nothing() -> Iterator[str]:
            yield from ()

        told = Told()
        outcome = await run(nothing, told)
        assert (outcome.value, outcome.result.text, told.data) == (None, "done", [])

    @pytest.mark.parametrize("thread", [True, False])
    async def test_an_iterator_that_a_plain_function_returns_is_read_as_a_list(self, thread: bool) -> None:
        async def later() -> AsyncIterator[int]:
            yield 3
            yield 4

        async def awaited() -> Any:
            return iter_of(3, 4)

        async def awaited_later() -> Any:
            return later()

        def returned() -> Generator[str, None, Any]:
            yield "begun"
            return iter_of(3, 4)

        told = Told()
        handlers = (
            lambda: iter_of(3, 4),
            lambda: (number for number in (3, 4)),
            lambda: map(int, "34"),
            lambda: later(),  # noqa: PLW0108  # it is no generator function itself
            awaited,
            awaited_later,
            returned,
        )
        for handler in handlers:
            outcome = await run(Tool("f", handler=handler, thread=thread), told)
            assert (outcome.value, outcome.result.text) == ([3, 4], "[3,4]")
        assert told.data == ["begun"]

    async def test_an_endless_iterator_is_read_in_part_and_says_so(self) -> None:
        async def later() -> AsyncIterator[int]:
            for number in itertools.count():
                yield number

        for handler in (itertools.count, later):
            outcome = await run(Tool("count", handler=lambda handler=handler: handler()), Told())
            assert (len(outcome.value), outcome.value[999]) == (1001, 999)
            assert outcome.value[-1] == "(the items after the first 1,000 were not read)"
            assert outcome.result.text.endswith(',999,"(the items after the first 1,000 were not read)"]')

    async def test_an_error_in_an_iterator_is_the_tools(self) -> None:
        outcome = await run(Tool("f", handler=lambda: (1 // number for number in (1, 0))), Told())
        assert outcome.result.is_error
        assert outcome.result.text.startswith("ZeroDivisionError: ")

    async def test_a_decorated_generator_function_and_an_object_called_as_one_tell_their_steps(self) -> None:
        def decorated(function: Any) -> Any:
            @functools.wraps(function)
            def inner(*arguments: Any) -> Any:
                return function(*arguments)

            return inner

        @decorated
        def steps() -> Iterator[int]:
            yield 1
            yield 2

        class Steps:
            def __call__(self) -> Iterator[int]:
                return (yield from (1, 2))

        for handler in (steps, Steps(), functools.partial(steps.__wrapped__)):
            told = Told()
            outcome = await run(Tool("f", handler=handler), told)
            assert (outcome.value, told.data) == (2, [1, 2])

    async def test_what_a_decorator_makes_of_a_generator_is_the_result(self) -> None:
        def whole(function: Any) -> Any:
            @functools.wraps(function)
            def inner() -> list[int]:
                return list(function())

            return inner

        @whole
        def steps() -> Iterator[int]:
            yield from (1, 2)

        assert (await run(Tool("f", handler=steps), Told())).result.text == "[1,2]"

    @pytest.mark.parametrize("thread", [True, False])
    async def test_what_cannot_be_said_is_an_error_that_says_so(self, thread: bool) -> None:
        async def later() -> Any:
            return len

        for handler in (lambda: len, later, lambda: [{"size": len}]):
            outcome = await run(Tool("f", handler=handler, thread=thread), Told())
            assert (outcome.result.is_error, outcome.traceback) == (True, "")
            assert outcome.result.text == (
                "what the tool gave cannot be said: len is a builtin_function_or_method, "
                "and not what it gives; call it, and give what it returns"
            )

    async def test_an_error_after_some_progress_is_the_tools(self) -> None:
        @tool
        def fail() -> Iterator[int]:
            yield 1
            raise ValueError("no more")

        @tool
        async def fail_later() -> AsyncIterator[int]:
            yield 1
            raise ValueError("no more")

        for made in (fail, fail_later):
            told = Told()
            outcome = await run(made, told)
            assert (outcome.result.text, outcome.result.is_error, told.data) == (
                "ValueError: no more",
                True,
                [1],
            )
            assert "test_steps.py" in outcome.traceback.splitlines()[1]


def iter_of(*numbers: int) -> Iterator[int]:
    yield from numbers


class TestEnd:
    async def test_a_late_async_generator_is_closed(self) -> None:
        closed = asyncio.Event()

        @tool(timeout=0.01)
        async def wait() -> AsyncIterator[str]:
            try:
                yield "begun"
                await asyncio.Event().wait()
            finally:
                closed.set()

        told = Told()
        outcome = await run(wait, told)
        assert outcome.result.text == "wait took longer than 0.01 seconds and was given up"
        assert (told.data, closed.is_set()) == (["begun"], True)

    async def test_a_generator_in_a_thread_is_closed_at_its_next_step(self) -> None:
        release, closed = threading.Event(), threading.Event()

        @tool
        def work() -> Iterator[str]:
            try:
                yield "begun"
                release.wait(10)
                yield "dropped"
                yield "never"
            finally:
                closed.set()

        told = Told()
        task = asyncio.create_task(run(work, told))
        assert await asyncio.to_thread(told.first.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        assert await asyncio.to_thread(closed.wait, 10)
        assert told.data == ["begun"]

    async def test_one_on_the_loop_gives_it_a_turn_after_each_step_and_is_closed(self) -> None:
        third, closed, told = asyncio.Event(), asyncio.Event(), Told()

        @tool(thread=False)
        def work() -> Iterator[int]:
            try:
                number = 0
                while True:
                    yield (number := number + 1)
                    if number == 3:
                        third.set()
            finally:
                closed.set()

        task = asyncio.create_task(run(work, told))
        await third.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed.is_set()

    async def test_an_async_generator_runs_and_is_cancelled_on_the_users_loop(self) -> None:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        closed, told, where = threading.Event(), Told(), []

        @tool
        async def work() -> AsyncIterator[str]:
            where.append(asyncio.get_running_loop())
            try:
                yield "begun"
                await asyncio.Event().wait()
            finally:
                closed.set()

        try:
            task = asyncio.create_task(run(work, told, user_loop=loop))
            assert await asyncio.to_thread(told.first.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(closed.wait, 10)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            await asyncio.to_thread(thread.join, 10)
            loop.close()
        assert where == [loop]


class TestSession:
    @pytest.mark.parametrize("kind", ["thread", "loop", "async"])
    async def test_progress_is_seen_in_order_between_start_and_end(self, kind: str) -> None:
        @tool(name="load", thread=kind == "thread")
        def load() -> Iterator[Any]:
            yield {"share": 0.5}
            yield Step(done=1)
            yield pd.DataFrame({"town": ["Bern"]})
            yield "all of it"

        @tool(name="load")
        async def load_async() -> AsyncIterator[Any]:
            for value in load():
                yield value

        made = load_async if kind == "async" else load
        session = App(Timeline(), tools=[made], model=ScriptedModel(call("load"), "done")).session()
        recorder = await EventRecorder().record(session.send("go"))
        progress = [event.data for event in recorder.of(ToolProgress)]
        assert progress[:2] == [{"share": 0.5}, {"done": 1}]
        assert [str(item).splitlines()[0] for item in progress[2:]] == ["|  | town |", "all of it"]
        kinds = [
            type(event) for event in recorder.events if isinstance(event, (ToolStart, ToolProgress, ToolEnd))
        ]
        assert kinds == [ToolStart, *[ToolProgress] * 4, ToolEnd]
        assert session.timeline[2].text == "all of it"

    @pytest.mark.parametrize("kind", ["thread", "loop", "async"])
    async def test_a_step_that_has_only_an_address_is_named_and_one_at_the_end_is_refused_in_words(
        self, kind: str
    ) -> None:
        class Thing:
            pass

        @tool(name="load", thread=kind == "thread")
        def load(ends: bool) -> Iterator[Any]:
            yield Thing()
            if not ends:
                yield "all of it"

        @tool(name="load")
        async def load_async(ends: bool) -> AsyncIterator[Any]:
            for value in load(ends):
                yield value

        made = load_async if kind == "async" else load
        calls = [call("load", ends=False), call("load", ends=True)]
        session = App(Timeline(), tools=[made], model=ScriptedModel(calls, "done")).session()
        recorder = await EventRecorder().record(session.send("go"))
        assert next(event.data for event in recorder.of(ToolProgress)) == "(Thing)"
        whole, thing = (event for event in recorder.of(ToolEnd))
        assert whole.result.text == "all of it"
        assert thing.result.is_error
        assert thing.result.text.startswith(
            "what the tool gave cannot be said: Thing has no text of its own, only an address"
        )
        assert thing.traceback == ""

    async def test_a_user_who_dispatches_one_gets_its_last_value(self) -> None:
        @tool(audience="user")
        def load() -> Iterator[int]:
            yield from (1, 2)

        session = App(Timeline(), tools=[load], model=ScriptedModel()).session()
        assert await session.dispatch("load") == 2
