"""The one loop on which an app's sessions change.

A session's state changes on its *home loop* only: the running loop in a plain
program, the engine's private one in a notebook. The core knows no threads; it
is given a loop, and carries calls from elsewhere over to it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from nbsession import threads
from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

SLICE = 0.05
"""Seconds between two looks at whether a loop that is waited for still runs."""
PATIENCE = 4.0
"""Seconds that carried work gets to wind up after an interrupt."""


class Home:
    """A home loop, bound at first use.

    It is bound again only when the loop it had is closed. While none is bound,
    calls run where they are made, one at a time. ``default``, where it is set,
    binds a home at its first use: the notebook so gives its engine's loop to
    every app.
    """

    default: ClassVar[Callable[[Home], None] | None] = None

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.user_loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.RLock()

    def bind(
        self, loop: asyncio.AbstractEventLoop, *, user_loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """Make ``loop`` the home loop; a user's async tools run on ``user_loop``, if one is given."""
        if self.loop is not None and self.loop is not loop and not self.loop.is_closed():
            raise SessionError("these sessions live on another event loop that is still open; close it first")
        self.loop = loop
        self.user_loop = user_loop

    def settle(self) -> asyncio.AbstractEventLoop:
        """Return the home loop, binding the running one when none is bound or the old one was closed."""
        self._bind_default()
        if self.loop is None or self.loop.is_closed():
            try:
                running = asyncio.get_running_loop()
            except RuntimeError:
                raise SessionError(
                    "no event loop is running here; await this inside an async function, "
                    "or use the blocking session.run(message)"
                ) from None
            self.bind(running)
        assert self.loop is not None
        if not self.loop.is_running():
            raise SessionError(
                "these sessions live on an event loop that is open but does not run; run it again, or close it first"
            )
        return self.loop

    def _bind_default(self) -> None:
        if Home.default is not None and (self.loop is None or self.loop.is_closed()):
            Home.default(self)

    @property
    def here(self) -> bool:
        """Whether the caller runs on the home loop."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def _alive(self) -> bool:
        return self.loop is not None and not self.loop.is_closed() and self.loop.is_running()

    def call(self, fn: Callable[[], T]) -> T:
        """Call ``fn`` on the home loop and wait for what it returns or raises."""
        self._bind_default()
        if self.here or not self._alive():
            return self._call_here(fn)
        assert self.loop is not None
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

        def carried() -> None:
            if not outcome.set_running_or_notify_cancel():
                return
            try:
                outcome.set_result(fn())
            except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits
                outcome.set_exception(error)

        try:
            self.loop.call_soon_threadsafe(carried)
        except RuntimeError:  # it was closed just now
            return self._call_here(fn)
        while True:
            concurrent.futures.wait([outcome], timeout=SLICE)
            if outcome.done():
                return outcome.result()
            if not self._alive() and outcome.cancel():
                return self._call_here(fn)

    def _call_here(self, fn: Callable[[], T]) -> T:
        with self._lock:
            return fn()

    def post(self, fn: Callable[[], object]) -> None:
        """Call ``fn`` on the home loop, in the order posted, without waiting."""
        if self.loop is not None and self._alive() and not self.here:
            try:
                self.loop.call_soon_threadsafe(fn)
            except RuntimeError:  # it was closed just now
                self._call_here(fn)
        else:
            self._call_here(fn)

    async def carry(self, start: Callable[[], Awaitable[T]]) -> T:
        """Await on the home loop what ``start`` makes there, from whichever loop this is."""
        home = self.settle()
        if self.here:
            return await start()

        async def carried() -> T:
            return await start()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(carried(), home))

    def run(self, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine to its end and wait for it, from wherever this is called.

        From another thread than the home loop's it waits; without any loop it
        makes one; on the running home loop itself, where nothing else can work,
        it nests (with nest-asyncio2, applied at that first use only). An interrupt
        from the keyboard cancels the coroutine and waits until it has wound up.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        self._bind_default()
        if running is not None and (self.loop is None or self.loop.is_closed()):
            self.bind(running)
        if self.loop is not None and self._alive() and running is not self.loop:
            return _Carried(self.loop, start()).wait()
        if running is not None:
            if not threads.can_start():  # such a loop is the browser's, and does not nest
                raise SessionError(
                    "nothing may block here, for there is one thread only; await session.send(...)"
                )
            return _nested(running, start())
        if self.loop is not None and not self.loop.is_closed():
            return self.loop.run_until_complete(start())
        return asyncio.run(start())


class _Carried(Generic[T]):
    """A coroutine on a loop of another thread, which waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self._loop = loop
        self._ended: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._task: asyncio.Task[T] | None = None
        loop.call_soon_threadsafe(self._start, work)

    def wait(self) -> T:
        """Wait in slices, so that an interrupt is seen; it cancels the work and lets it wind up."""
        try:
            while not self._ended.done():
                concurrent.futures.wait([self._ended], timeout=SLICE)
                if self._loop.is_closed() and not self._ended.done():
                    raise SessionError("the event loop of these sessions was closed before this ended")
            return self._ended.result()
        except KeyboardInterrupt:
            self._loop.call_soon_threadsafe(self._cancel)
            concurrent.futures.wait([self._ended], timeout=PATIENCE)
            raise

    def _start(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._finish)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _finish(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._ended.cancel()
            self._ended.set_running_or_notify_cancel()
        elif (error := task.exception()) is not None:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(task.result())


def _nested(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine inside a running loop; an interrupt cancels it and leaves no request behind."""
    import nest_asyncio2  # type: ignore[import-untyped]  # it ships no types

    run = asyncio.run
    nest_asyncio2.apply(loop)
    # Only this loop is to nest. The asyncio.run that comes with it neither cancels what is
    # left at its end nor closes its loop, and nobody here asked for that.
    asyncio.run = run
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except KeyboardInterrupt:
        task.cancel()
        loop.run_until_complete(asyncio.wait({task}, timeout=PATIENCE))
        raise
