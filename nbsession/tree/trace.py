"""What made components render again: values that were set, properties that changed, and who did it."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbsession.tree.element import Element

_actor: ContextVar[str] = ContextVar("nbsession_actor", default="")


@contextmanager
def acting(who: str) -> Iterator[None]:
    """Let what is set in the block, also by the tasks and threads that it starts, be set by ``who``."""
    token = _actor.set(who)
    try:
        yield
    finally:
        # A coroutine that nobody finishes is closed in another context, where nothing was set.
        with suppress(ValueError):
            _actor.reset(token)


def actor() -> str:
    """Return who acts at this moment, in words (``"the tool search in tick 3"``); ``""`` where nobody said."""
    return _actor.get()


class ValueSet(NamedTuple):
    """A hook's value, as it was before, and who set it last."""

    fiber: Any
    old: Any
    by: str


class Trace:
    """What happened to a tree's fibers since it was begun: the first old value of each, not every step.

    ``values`` are the cells that were set, ``elements`` the fibers that got another
    element, with the one before, ``contexts`` the fibers that read a context of
    another value now, with its name and the value before, ``redefined`` the fibers
    whose component was defined anew.
    """

    __slots__ = ("contexts", "elements", "redefined", "values")

    def __init__(self) -> None:
        self.values: dict[Any, ValueSet] = {}
        self.elements: dict[Any, Element] = {}
        self.contexts: dict[tuple[Any, str], Any] = {}
        self.redefined: dict[Any, None] = {}

    def set(self, cell: Any, fiber: Any, old: Any, by: str) -> None:
        """Note that a hook's value is about to be another."""
        earlier = self.values.get(cell)
        self.values[cell] = ValueSet(fiber, old if earlier is None else earlier.old, by)
