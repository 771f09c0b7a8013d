"""Waiting, from any loop, for what goes on on the home loop, and stopping it with the task that waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable

T = TypeVar("T")


async def awaited(
    outcome: concurrent.futures.Future[T], abort: Callable[[str], object], patience: float
) -> T:
    """Wait for an outcome, and return or raise what it has.

    Where the task that waits is cancelled, ``abort`` is called with the reason, and what it stops gets ``patience`` seconds to wind up.
    """
    waiter = asyncio.wrap_future(outcome)
    try:
        return await asyncio.shield(waiter)
    except asyncio.CancelledError:
        if not outcome.done():
            abort("the task that awaited it was cancelled")
            await asyncio.wait({waiter}, timeout=patience)
        raise
    finally:
        if waiter.done() and not waiter.cancelled():
            waiter.exception()
