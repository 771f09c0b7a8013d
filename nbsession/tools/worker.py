"""Worker threads for blocking tools: a call can be left behind, because no thread can be stopped."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from nbsession import threads

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_MOST_IDLE = 8


class _Worker:
    """A daemon thread that takes calls one at a time and waits for more.

    Not ``asyncio.to_thread``: its few threads would be used up by calls left
    behind, and the interpreter waits for each of them at its end.
    """

    __slots__ = ("calls", "thread")

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="nbsession-tool", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        while True:
            call = self.calls.get()
            call()
            del call  # or the last call's arguments would live until the next
            if len(_idle) >= _MOST_IDLE:
                return
            _idle.append(self)


_idle: list[_Worker] = []


async def in_thread(fn: Callable[[], T]) -> T:
    """Call ``fn`` in a worker thread, with a copy of the present context variables.

    Cancelling this leaves the thread behind: it runs to its end, and what comes
    of it is dropped. ``fn`` must not raise. Where no thread can be started, nothing else
    goes on meanwhile.
    """
    if not threads.can_start():
        return contextvars.copy_context().run(fn)
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def call() -> None:
        result = context.run(fn)
        try:
            loop.call_soon_threadsafe(_settle, future, result)
        except RuntimeError:  # the loop was closed meanwhile: nobody waits
            pass

    _free_worker().calls.put(call)
    return await future


def _free_worker() -> _Worker:
    while True:
        try:
            worker = _idle.pop()
        except IndexError:
            return _Worker()
        if worker.thread.is_alive():  # it is not in a process that was forked off
            return worker


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)
