"""A generator as a tool: each value it yields is told as progress, and the last of them, or what it returns, is the result.

A bare ``yield`` tells nothing. However the run ends, the generator is closed, so that its ``finally`` runs.
A generator that a plain function returns is data, as any iterator: the list of its items.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, closing
from itertools import islice
from typing import Any, TypeAlias

MOST_ITEMS = 1000
"""Items that are read of an iterator; what is said of the others is one more."""

_UNREAD = f"(the items after the first {MOST_ITEMS:,} were not read)"

Tell: TypeAlias = Callable[[Any], None]


def is_stepwise(handler: Callable[..., Any]) -> bool:
    """Say whether a tool's function, maybe under its decorators, is a generator function."""
    written = inspect.unwrap(handler)
    functions = (handler, written, type(written).__call__)
    return any(inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each) for each in functions)


def as_data(value: Any) -> Any:
    """Return an iterator as the list of its items, to be awaited of an async one; anything else as it is."""
    if isinstance(value, str) or inspect.isawaitable(value):
        return value
    if isinstance(value, Iterator):
        return _listed(list(islice(value, MOST_ITEMS + 1)))
    return _read(value) if isinstance(value, AsyncIterator) else value


async def _read(items: AsyncIterator[Any]) -> list[Any]:
    found = []
    try:
        async for item in items:
            found.append(item)
            if len(found) > MOST_ITEMS:
                break
    finally:
        if inspect.isasyncgen(items):
            await items.aclose()
    return _listed(found)


def _listed(items: list[Any]) -> list[Any]:
    return items if len(items) <= MOST_ITEMS else [*items[:MOST_ITEMS], _UNREAD]


def is_unfinished(value: Any) -> bool:
    """Say whether a value is still to be awaited, or a generator still to be run."""
    if isinstance(value, str):  # as most tools give, and abstract classes are slow to ask
        return False
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
