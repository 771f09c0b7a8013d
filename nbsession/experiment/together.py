"""Several pieces of work at the same time, of which none is left behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

T = TypeVar("T")


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all at once, and return what they give, in their order.

    Where one fails, or who awaits them is stopped, the others are stopped and waited for before that is raised.
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await stopped(tasks)


async def stopped(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Stop tasks, and wait until they have wound up; what they raise is nobody's any more."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
