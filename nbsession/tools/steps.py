"""A generator as a tool: each value it yields is told as progress, and the last of them, or what it returns, is the result.

A bare ``yield`` tells nothing. However the run ends, the generator is closed, so that its ``finally`` runs.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, closing
from typing import Any, TypeAlias

Tell: TypeAlias = Callable[[Any], None]


def is_unfinished(value: Any) -> bool:
    """Say whether a value is still to be awaited, or a generator still to be run."""
    return inspect.isawaitable(value) or inspect.isgenerator(value) or inspect.isasyncgen(value)


async def finish(value: Any, tell: Tell) -> Any:
    """Await a value, or run a generator through, on this loop, which gets its turn after each step."""
    if inspect.isasyncgen(value):
        return await _run_async(value, tell)
    if inspect.isgenerator(value):
        return await _run_here(value, tell)
    awaitable: Awaitable[Any] = value
    return await awaitable


def run_through(steps: Generator[Any, Any, Any], tell: Tell, is_given_up: Callable[[], bool]) -> Any:
    """Run a generator through in this thread; one whose call was given up is closed at its next step."""
    last = None
    with closing(steps):
        while not is_given_up():
            try:
                last = _told(next(steps), last, tell)
            except StopIteration as end:
                return last if end.value is None else end.value
    return None


async def _run_here(steps: Generator[Any, Any, Any], tell: Tell) -> Any:
    last = None
    with closing(steps):
        while True:
            try:
                last = _told(next(steps), last, tell)
            except StopIteration as end:
                return last if end.value is None else end.value
            await asyncio.sleep(0)


async def _run_async(steps: AsyncGenerator[Any, Any], tell: Tell) -> Any:
    last = None
    async with aclosing(steps):
        async for value in steps:
            last = _told(value, last, tell)
    return last


def _told(value: Any, last: Any, tell: Tell) -> Any:
    if value is None:
        return last
    tell(value)
    return value
