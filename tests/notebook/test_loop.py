"""The engine: work goes on in its own thread, and is waited for and cancelled from anywhere."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from nbsession.notebook.loop import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="none")


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.stop()


async def where() -> str:
    return threading.current_thread().name


async def test_work_runs_on_the_engines_thread_and_is_awaited_on_another_loop(engine: Engine) -> None:
    assert not engine.running
    assert await engine.submit(where()) == "nbsession"
    assert threading.current_thread().name != "nbsession"


async def test_two_loops_may_await_one_handle(engine: Engine) -> None:
    handle = engine.submit(where())
    elsewhere = await asyncio.to_thread(lambda: asyncio.run(_awaited(handle)))
    assert (await handle, elsewhere) == ("nbsession", "nbsession")


async def _awaited(handle: object) -> object:
    return await handle  # type: ignore[misc]  # any awaitable


def test_a_thread_without_a_loop_blocks_for_the_result(engine: Engine) -> None:
    assert engine.submit(where()).result(timeout=5) == "nbsession"


def test_context_variables_of_the_caller_reach_the_work(engine: Engine) -> None:
    async def read() -> str:
        return NAME.get()

    token = NAME.set("cell 7")
    try:
        handle = engine.submit(read())
    finally:
        NAME.reset(token)
    assert handle.result(timeout=5) == "cell 7"


async def test_a_failure_is_raised_where_the_handle_is_awaited(engine: Engine) -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await engine.submit(fail())


async def test_a_cancelled_handle_is_done_only_when_the_work_has_cleaned_up(engine: Engine) -> None:
    started, cleaned = threading.Event(), threading.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    handle = engine.submit(work())
    await asyncio.to_thread(started.wait)
    handle.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handle
    assert cleaned.is_set()


async def test_cancelling_who_waits_leaves_the_work_running(engine: Engine) -> None:
    gate = threading.Event()

    async def work() -> str:
        await asyncio.to_thread(gate.wait)
        return "done"

    handle = engine.submit(work())
    waiter = asyncio.ensure_future(_awaited(handle))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait({waiter})
    gate.set()
    assert await handle == "done"


def test_stopping_cancels_what_runs_and_the_engine_can_be_used_again(engine: Engine) -> None:
    handle = engine.submit(_for_ever())
    engine.submit(where()).result(timeout=5)
    engine.stop()
    with pytest.raises(asyncio.CancelledError):
        handle.result(timeout=5)
    assert not engine.running
    assert engine.submit(where()).result(timeout=5) == "nbsession"


async def _for_ever() -> None:
    await asyncio.Event().wait()


def test_a_program_that_ends_with_work_running_ends_quietly_and_cleans_up() -> None:
    program = """
import asyncio
from nbsession.notebook.loop import Engine
engine = Engine()
async def work(started):
    try:
        started.set_result(None)
        await asyncio.Event().wait()
    finally:
        print("cleaned")
async def main():
    started = asyncio.get_running_loop().create_future()
    asyncio.ensure_future(work(started))
    await started
engine.submit(main()).result()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert (ended.stdout, ended.stderr) == ("cleaned\n", "")
