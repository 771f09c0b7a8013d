"""Work beside the caller's own: in threads, and one thing after another where none can be started.

In a browser (Pyodide: JupyterLite) an interpreter has one thread only. What would
block another there blocks the caller, and all else is as it is elsewhere.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
A = TypeVar("A")

_started = False


def can_start() -> bool:
    """Say whether threads can be started here; found out by starting one."""
    global _started
    if not _started:
        try:
            threading.Thread(target=int, name="nbsession-first", daemon=True).start()
        except RuntimeError:
            return False
        _started = True
    return True


async def beside(fn: Callable[[], T]) -> T:
    """Call what blocks, in a thread where one can be started."""
    return await asyncio.to_thread(fn) if can_start() else fn()


def each(fn: Callable[[A], T], items: Iterable[A]) -> list[T]:
    """Call what blocks for each of a few items, all at once where threads can be started."""
    items = list(items)
    if not can_start():
        return [fn(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(fn, items))
