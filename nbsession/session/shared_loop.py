"""A loop for blocking runs, made for the first of them and closed after the last."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

SLICE = 0.05
"""Seconds that a wait lasts at most before it is taken up again: one that is not sliced hears no interrupt on Windows."""
PATIENCE = 4.0
"""Seconds that carried work gets to wind up after an interrupt."""


class Carried(Generic[T]):
    """A coroutine on a loop that another thread may run, and its outcome."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self.ended: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._loop = loop
        self._task: asyncio.Task[T] | None = None
        self._cancelled = False
        try:
            loop.call_soon_threadsafe(self._start, work)
        except RuntimeError:
            work.close()
            raise self._closed() from None

    def wait(self) -> T:
        """Wait in slices, so that an interrupt is seen; it cancels the work and lets it wind up."""
        try:
            while not self.ended.done():
                concurrent.futures.wait([self.ended], timeout=SLICE)
                if self._loop.is_closed() and not self.ended.done():
                    raise self._closed()
            return self.result()
        except KeyboardInterrupt:
            self.cancel()
            concurrent.futures.wait([self.ended], timeout=PATIENCE)
            raise

    def result(self) -> T:
        """Return what the ended work did, or raise its error."""
        if self.ended.cancelled() and not self._cancelled:
            raise self._closed()
        return self.ended.result()

    def cancel(self) -> None:
        """Ask the work to stop."""
        self._cancelled = True
        self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())

    def _start(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.ended.cancel()
            self.ended.set_running_or_notify_cancel()
        elif (error := task.exception()) is not None:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(task.result())

    @staticmethod
    def _closed() -> SessionError:
        return SessionError("the event loop of these sessions was closed before this ended; run it again")


class SharedLoop:
    """The loop of all blocking runs at one time.

    The thread of one of them leads it, until its own run has ended; then the next one's
    does. So each returns when its own work has ended, and none takes the loop from
    another. The last one waits for work that other loops and threads brought (``keep``).
    """

    def __init__(self, lock: threading.RLock, let_go: Callable[[], None]) -> None:
        self._let_go = let_go
        self._changed = threading.Condition(lock)
        self._runner: asyncio.Runner | None = None
        self._runs = 0
        self._led = self._closing = False
        self._kept: set[concurrent.futures.Future[Any]] = set()

    def holds(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Whether ``loop`` is this one and will run for all that is brought to it now."""
        return self._runs > 0 and self._runner is not None and self._runner.get_loop() is loop

    def settle(self) -> None:
        """Wait until a loop that nobody runs any more is let go; the lock is held when this returns."""
        while self._runner is not None and not self._runs:
            self._changed.wait(SLICE)

    def join(self) -> asyncio.AbstractEventLoop:
        """Count a run in, which ``run`` counts out, and return the loop."""
        with self._changed:
            self.settle()
            if self._runner is None:
                self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
            self._runs += 1
            return self._runner.get_loop()

    def keep(self, work: concurrent.futures.Future[Any]) -> None:
        """Let the loop stay until ``work`` is done, too."""
        with self._changed:
            self._kept.add(work)
        work.add_done_callback(self._drop)

    def run(self, carried: Carried[T]) -> T:
        """Wait for the work of a run that has joined, and lead the loop where nobody else does."""
        stay = True
        try:
            self._wait(carried.ended)
            return carried.result()
        except KeyboardInterrupt:
            stay = False
            carried.cancel()
            self._wait(carried.ended)
            raise
        finally:
            self._leave(stay=stay)

    def _wait(self, ended: concurrent.futures.Future[Any]) -> None:
        ended.add_done_callback(self._notify)
        while self._takes_lead(ended):
            assert self._runner is not None
            try:
                self._runner.run(_until(ended), context=contextvars.copy_context())
            finally:
                with self._changed:
                    self._led = False
                    self._changed.notify_all()

    def _takes_lead(self, ended: concurrent.futures.Future[Any]) -> bool:
        """Wait for the end, or for the lead, and say whether it is the lead."""
        with self._changed:
            while self._led and not ended.done():
                self._changed.wait(SLICE)
            if ended.done():
                return False
            self._led = True
            return True

    def _leave(self, *, stay: bool) -> None:
        """Go; the last one stays for what was brought, and closes the loop."""
        while (kept := self._stays_for(stay=stay)) is not None:
            try:
                self._wait(kept)
            except KeyboardInterrupt:
                self._leave(stay=False)
                raise
        with self._changed:
            if (
                self._runs or self._closing or self._runner is None
            ):  # another one that came and went has closed it
                return
            self._closing = True
        self._close()

    def _stays_for(self, *, stay: bool) -> concurrent.futures.Future[Any] | None:
        """Count a run out, unless it is the last and there is work to stay for, which is returned then."""
        with self._changed:
            kept = next(iter(self._kept), None)
            if kept is not None and self._runs == 1 and stay:
                return kept
            self._runs -= 1
            return None

    def _close(self) -> None:
        assert self._runner is not None
        try:
            self._runner.run(_wind_up())
        finally:
            with self._changed:
                runner, self._runner, self._closing = self._runner, None, False
                self._let_go()
                self._changed.notify_all()
            runner.close()

    def _notify(self, _: object) -> None:
        with self._changed:
            self._changed.notify_all()

    def _drop(self, work: concurrent.futures.Future[Any]) -> None:
        with self._changed:
            self._kept.discard(work)
            self._changed.notify_all()


async def _until(ended: concurrent.futures.Future[Any]) -> None:
    waiter = asyncio.wrap_future(ended)
    waiter.add_done_callback(
        lambda done: done.cancelled() or done.exception()
    )  # it is raised to whoever waits for ``ended``
    await asyncio.wait({waiter})


async def _wind_up() -> None:
    """Cancel what nobody waits for."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=PATIENCE)
