"""The one loop on which an app's sessions change.

A session's state changes on its *home loop* only: the running loop in a plain
program, the engine's private one in a notebook. The core knows no threads; it
is given a loop, and carries calls from elsewhere over to it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from nbsession import threads
from nbsession.errors import SessionError
from nbsession.session.shared_loop import PATIENCE, SLICE, Carried, SharedLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

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
        self._shared = SharedLoop(self._lock, self._let_go)

    def bind(
        self, loop: asyncio.AbstractEventLoop, *, user_loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """Make ``loop`` the home loop; a user's async tools run on ``user_loop``, if one is given."""
        if self.loop is not None and self.loop is not loop and not self.loop.is_closed():
            raise SessionError("these sessions live on another event loop that is still open; close it first")
        self.loop = loop
        self.user_loop = user_loop

    def settle(self, work: concurrent.futures.Future[Any] | None = None) -> asyncio.AbstractEventLoop:
        """Return the home loop, binding the running one when none is bound or the old one was closed.

        ``work`` is what is brought to it: the loop of blocking runs stays until that is done.
        """
        self._bind_default()
        with self._lock:
            if not self.here:
                self._shared.settle()
            if self._unbound:
                self.bind(_loop_to_bind())
            if work is not None and self._shared.holds(self.loop):
                self._shared.keep(work)
        assert self.loop is not None
        if not self._alive():
            raise SessionError(
                "these sessions live on an event loop that is open but does not run; run it again, or close it first"
            )
        return self.loop

    def _let_go(self) -> None:
        self.loop = None

    def _bind_default(self) -> None:
        if Home.default is not None and self._unbound:
            Home.default(self)

    @property
    def _unbound(self) -> bool:
        return self.loop is None or self.loop.is_closed()

    @property
    def here(self) -> bool:
        """Whether the caller runs on the home loop."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def _alive(self) -> bool:
        return self.loop is not None and (self.loop.is_running() or self._shared.holds(self.loop))

    def call(self, fn: Callable[[], T]) -> T:
        """Call ``fn`` on the home loop and wait for what it returns or raises."""
        self._bind_default()
        if self.here:
            return fn()
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

        def carried() -> None:
            if not outcome.set_running_or_notify_cancel():
                return
            try:
                outcome.set_result(fn())
            except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits
                outcome.set_exception(error)

        with self._lock:  # no blocking run begins a loop while a call is made here
            self._shared.settle()
            if not self._hand_over(carried):
                return fn()
            if self._shared.holds(self.loop):
                self._shared.keep(outcome)
        while True:
            concurrent.futures.wait([outcome], timeout=SLICE)
            if outcome.done():
                return outcome.result()
            if not self._alive() and outcome.cancel():
                with self._lock:
                    return fn()

    def post(self, fn: Callable[[], object]) -> None:
        """Call ``fn`` on the home loop, in the order posted, without waiting."""
        if self.here:
            fn()
        else:
            with self._lock:
                self._shared.settle()
                if not self._hand_over(fn):
                    fn()

    def _hand_over(self, fn: Callable[[], object]) -> bool:
        """Have the home loop call ``fn``, unless it is to be called here."""
        if self.loop is None or not self._alive():
            return False
        try:
            self.loop.call_soon_threadsafe(fn)
        except RuntimeError:  # it was closed just now
            return False
        return True

    async def carry(self, start: Callable[[], Awaitable[T]]) -> T:
        """Await on the home loop what ``start`` makes there, from whichever loop this is."""
        brought: concurrent.futures.Future[None] = concurrent.futures.Future()
        home = self.settle(None if self.here else brought)
        if home is asyncio.get_running_loop():
            return await start()

        async def carried() -> T:
            return await start()

        try:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(carried(), home))
        finally:
            brought.set_result(None)

    def run(self, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine to its end and wait for it, from wherever this is called.

        From another thread than the home loop's it waits; without any loop it
        makes one, which all that run at the same time share; on the running home
        loop itself, where nothing else can work, it nests (with nest-asyncio2,
        applied at that first use only). Where it blocks the loop of a user's async tools, these
        run on the home loop meanwhile. An interrupt from the keyboard cancels the
        coroutine and waits until it has wound up.
        """
        running = _running_loop()
        self._bind_default()
        with self._lock:
            self._shared.settle()
            if self._unbound and running is not None:
                self.bind(running)
            shares = running is None and (self._unbound or self._shared.holds(self.loop))
            if shares:
                self.bind(self._shared.join())
            loop = self.loop
            assert loop is not None
            carried = None
            if shares or (running is not loop and self._alive()):
                carried = Carried(loop, start())
            if carried is not None and not shares and self._shared.holds(loop):
                self._shared.keep(carried.ended)
        if carried is not None:
            with self._without(running):
                return self._shared.run(carried) if shares else carried.wait()
        if running is None:
            return loop.run_until_complete(start())
        if not threads.can_start():  # such a loop is the browser's, and does not nest
            raise SessionError(
                "nothing may block here, for there is one thread only; await session.send(...)"
            )
        return _nested(running, start())

    @contextmanager
    def _without(self, blocked: asyncio.AbstractEventLoop | None) -> Iterator[None]:
        """Give no async tool to a loop that is blocked: it would wait for ever."""
        theirs = self.user_loop
        if blocked is not None and blocked is theirs:
            self.user_loop = None
        try:
            yield
        finally:
            self.user_loop = theirs


def _loop_to_bind() -> asyncio.AbstractEventLoop:
    running = _running_loop()
    if running is None:
        raise SessionError(
            "no event loop is running here; await this inside an async function, "
            "or use the blocking session.run(message)"
        )
    return running


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


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
