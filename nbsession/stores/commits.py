"""Writes that several threads hand in at the same moment, as one transaction: its commit costs more than a write."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    Transaction = Callable[[], AbstractContextManager[Connection]]

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Write:
    make: Callable[[Connection], Any]
    made: Future[Any] = field(default_factory=Future)


class Commits:
    """Makes writes for threads that take turns: who has the turn makes all that wait, in the order they came."""

    def __init__(self, turn: AbstractContextManager[object]) -> None:
        self._turn = turn
        self._waiting: list[_Write] = []

    def make(self, write: Callable[[Connection], T], transaction: Transaction) -> T:
        """Make a write, which is durable when this returns; what it raises is raised here, and nothing of it is kept.

        It may be called twice: together with others, and again by itself where one of them failed.
        """
        mine = _Write(write)
        self._waiting.append(mine)
        with self._turn:
            if not mine.made.done():
                together = self._waiting[:]
                try:
                    _make(together, transaction)
                finally:  # also where this thread is interrupted: then the others make theirs
                    for one in together:
                        if one is mine or one.made.done():
                            self._waiting.remove(one)
        made: T = mine.made.result()
        return made


def _make(writes: Sequence[_Write], transaction: Transaction) -> None:
    try:
        with transaction() as connection:
            results = [write.make(connection) for write in writes]
    except Exception as error:  # noqa: BLE001  # raised by ``make`` in the thread whose write it is
        if len(writes) == 1:
            writes[0].made.set_exception(error)
            return
        for write in writes:
            _make([write], transaction)
    else:
        for write, result in zip(writes, results, strict=True):
            write.made.set_result(result)
