"""One private thread with its own event loop, where a notebook's sessions live.

A kernel runs its cells on its own loop, which a blocking cell blocks and which
an interrupt does not wake. Work submitted here goes on whatever the cell does,
and can be waited for, and cancelled, from any thread and any loop.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextvars
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nbsession import threads
from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

T = TypeVar("T")

STOP_SECONDS = 3.0


class Handle(Generic[T]):
    """Work that runs on an engine's loop.

    ``await`` it on any loop for its result. Cancelling who awaits leaves the
    work running: use :meth:`cancel`, after which the handle is done as soon as
    the work has really ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ended: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._task: asyncio.Task[T] | None = None
        self._cancelled = False

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    def done(self) -> bool:
        """Whether the work has ended."""
        return self._ended.done()

    def result(self, timeout: float | None = None) -> T:
        """Block for the result, at most ``timeout`` seconds.

        Raises ``TimeoutError`` after that, ``asyncio.CancelledError`` where the
        work was cancelled, and otherwise what the work raised.
        """
        try:
            return self._ended.result(timeout)
        except concurrent.futures.CancelledError:
            raise asyncio.CancelledError from None

    def cancel(self) -> None:
        """Ask the work to stop; from any thread, and as often as wanted."""
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:  # the loop is closed: nothing runs on it any more
            self._ended.cancel()

    async def _wait(self) -> T:
        # Shielded: wrap_future would pass the waiter's cancellation on, and then
        # count the work as ended while it still cleans up.
        return await asyncio.shield(asyncio.wrap_future(self._ended))

    def _start(self, work: Coroutine[Any, Any, T]) -> None:
        if self._cancelled:
            work.close()
            self._ended.cancel()
            return
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._finish)

    def _cancel(self) -> None:
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def _finish(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._ended.cancel()
        elif (error := task.exception()) is not None:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(task.result())


class Engine:
    """A daemon thread that runs one event loop, started at first use.

    Where no thread can be started, it is the loop that cells run on: then nothing may
    block for what runs here. Stopped at the interpreter's exit: what still runs is cancelled and gets
    three seconds to clean up. A stopped engine starts afresh when used again.
    """

    def __init__(self, name: str = "nbsession") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The engine's loop, running."""
        with self._lock:
            if self._loop is None or self._loop.is_closed():
                self._loop = self._start() if threads.can_start() else _of_the_cell()
            return self._loop

    @property
    def is_the_cells(self) -> bool:
        """Whether its loop is the one that cells run on, so that a cell that blocks would wait for itself."""
        return self._thread is None and not threads.can_start()

    @property
    def running(self) -> bool:
        """Whether the thread was started and not stopped."""
        return self._loop is not None

    @property
    def here(self) -> bool:
        """Whether the caller runs on the engine's thread."""
        return threading.current_thread() is self._thread

    def submit(self, work: Coroutine[Any, Any, T]) -> Handle[T]:
        """Run a coroutine on the engine's loop, with the caller's context variables.

        Display output of the work so reaches the cell that submitted it.
        """
        loop = self.loop
        handle: Handle[T] = Handle(loop)
        loop.call_soon_threadsafe(handle._start, work, context=contextvars.copy_context())
        return handle

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Cancel what runs, wait at most ``timeout`` seconds for it, and end the thread."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        atexit.unregister(self.stop)
        if loop is None or thread is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(lambda: loop.create_task(_wind_up(loop, timeout)))
        thread.join(timeout + 1)

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=_run, args=(loop, ready), name=self._name, daemon=True)
        self._thread.start()
        ready.wait()
        atexit.register(self.stop)
        return loop


def _of_the_cell() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise SessionError(
            "no thread can be started here and no event loop is running; put this in a cell, or in an async function"
        ) from None


def _run(loop: asyncio.AbstractEventLoop, ready: threading.Event) -> None:
    asyncio.set_event_loop(loop)
    loop.call_soon(ready.set)
    try:
        loop.run_forever()
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _wind_up(loop: asyncio.AbstractEventLoop, timeout: float) -> None:
    others = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=timeout)
    await loop.shutdown_asyncgens()
    loop.stop()
