"""The one loop on which an app's sessions change.

A session's state changes on its *home loop* only: the running loop in a plain
program, the engine's private one in a notebook. The core knows no threads; it
is given a loop, and carries calls from elsewhere over to it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


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
        self._thread: int | None = None

    def bind(
        self, loop: asyncio.AbstractEventLoop, *, user_loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """Make ``loop`` the home loop; a user's async tools run on ``user_loop``, if one is given."""
        if self.loop is not None and self.loop is not loop and not self.loop.is_closed():
            raise SessionError("these sessions live on another event loop that is still open; close it first")
        if self.loop is not loop:
            self._thread = None
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

    @property
    def _alive(self) -> bool:
        return self.loop is not None and not self.loop.is_closed() and self.loop.is_running()

    def call(self, fn: Callable[[], T]) -> T:
        """Call ``fn`` on the home loop and wait for what it returns or raises."""
        self._bind_default()
        if self.here or not self._alive:
            with self._lock:
                return fn()
        assert self.loop is not None
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

        def carried() -> None:
            try:
                outcome.set_result(fn())
            except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits
                outcome.set_exception(error)

        self.loop.call_soon_threadsafe(carried)
        return outcome.result()

    def post(self, fn: Callable[[], object]) -> None:
        """Call ``fn`` on the home loop, in the order posted, without waiting."""
        if self.here or not self._alive:
            with self._lock:
                fn()
        else:
            assert self.loop is not None
            self.loop.call_soon_threadsafe(fn)

    def run(self, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine to its end and wait for it, from wherever this is called.

        From another thread than the home loop's it waits; without any loop it
        makes one; on the running home loop itself, where nothing else can work,
        it nests (with nest-asyncio2, applied at that first use only).
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        self._bind_default()
        if self.loop is None and running is not None:
            self.bind(running)
        if self._alive and running is not self.loop:
            assert self.loop is not None
            return _wait(asyncio.run_coroutine_threadsafe(start(), self.loop))
        if running is None:
            return asyncio.run(start())
        return _nested(running, start())


def _wait(future: concurrent.futures.Future[T]) -> T:
    """Wait in slices, so that an interrupt is seen; it cancels what is waited for, and drains it."""
    try:
        while True:
            try:
                return future.result(timeout=0.05)
            except concurrent.futures.TimeoutError:
                if future.done():
                    raise
    except KeyboardInterrupt:
        future.cancel()
        concurrent.futures.wait([future], timeout=3)
        raise


def _nested(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine inside a running loop; an interrupt cancels it and leaves no request behind."""
    import nest_asyncio2  # type: ignore[import-untyped]  # it ships no types

    nest_asyncio2.apply(loop)
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except KeyboardInterrupt:
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        raise
