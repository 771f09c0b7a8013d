"""Effects: what runs after the commit, and what is run before the next time."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from nbsession.errors import HookError, RenderError
from nbsession.tree.fiber import CLEAN, DEAD, Cell, Fiber, post_order, shorten
from nbsession.tree.trace import acting

CleanUp = Callable[[], object]


class Effect(Cell):
    """A component's effect and its clean-up."""

    __slots__ = ("cleanup", "deps", "function", "pending")

    kind = "effect"

    def __init__(self, function: Callable[[], Any], deps: Sequence[Any] | None) -> None:
        self.function = function
        self.deps = None if deps is None else tuple(deps)
        self.cleanup: CleanUp | None = None
        self.pending = True

    def clone(self, fiber: Fiber) -> Effect:
        return Effect(self.function, self.deps)


class Effects:
    """A tree's effects that wait to be run, the clean-ups of those that went, and what they raised."""

    __slots__ = ("_cleanups", "_waiting", "errors")

    def __init__(self) -> None:
        self._waiting: list[Fiber] = []
        self._cleanups: deque[tuple[Fiber, Effect]] = deque()
        self.errors: list[RenderError] = []

    def __bool__(self) -> bool:
        return bool(self._waiting or self._cleanups)

    def append(self, fiber: Fiber) -> None:
        """Let a fiber's pending effects run after the commit."""
        self._waiting.append(fiber)

    def leave(self, fiber: Fiber, effect: Effect) -> None:
        """Let an effect that is gone clean up after the commit."""
        if effect.cleanup is not None:
            self._cleanups.append((fiber, effect))

    def clear(self) -> None:
        """Forget the effects that wait, but no clean-up."""
        self._waiting.clear()

    def run(self) -> None:
        """Run the clean-ups of unmounted and changed effects, then the effects, children first.

        Those below a boundary that shows its fallback, and those whose render
        failed, wait on. What is raised is kept in ``errors``, and an effect that
        raised stays pending.
        """
        waiting, self._waiting = self._waiting, []
        ready = post_order(fiber for fiber in waiting if fiber.status == CLEAN)
        due = set(ready)
        self._waiting = [fiber for fiber in waiting if fiber not in due and fiber.status != DEAD]
        pending = [
            (fiber, cell)
            for fiber in ready
            for cell in fiber.hooks or ()
            if isinstance(cell, Effect) and cell.pending
        ]
        try:
            while self._cleanups:
                self._clean_up(*self._cleanups.popleft())
            for fiber, effect in pending:
                self._clean_up(fiber, effect)
            for fiber, effect in pending:
                self._run_one(fiber, effect)
        finally:
            self._waiting += dict.fromkeys(fiber for fiber, effect in pending if effect.pending)

    def _run_one(self, fiber: Fiber, effect: Effect) -> None:
        try:
            with acting(f"an effect of {fiber.type.name}"):
                result = effect.function()
        except Exception as error:  # noqa: BLE001 - raised once all effects have run
            self.fail(fiber, "an effect", error)
            return
        effect.pending = False
        if callable(result):
            effect.cleanup = result
        elif result is not None:
            if inspect.iscoroutine(result):
                result.close()
            name = type(result).__name__
            refused = HookError(f"it returned {name}; an effect returns None or its clean-up, a function")
            self.fail(fiber, "an effect", refused)

    def _clean_up(self, fiber: Fiber, effect: Effect) -> None:
        cleanup, effect.cleanup = effect.cleanup, None
        if cleanup is None:
            return
        try:
            cleanup()
        except Exception as error:  # noqa: BLE001 - raised once all clean-ups have run
            self.fail(fiber, "the clean-up of an effect", error)

    def fail(self, fiber: Fiber, what: str, error: Exception) -> None:
        """Keep an error until everything else is done."""
        path = fiber.path
        failure = RenderError(f"{what} of {shorten(path)} raised {type(error).__name__}: {error}", path=path)
        failure.__cause__ = error
        self.errors.append(failure)

    def raise_first(self) -> None:
        """Raise the first error that was kept, with a note of each other one."""
        if not self.errors:
            return
        first, *others = self.errors
        self.errors.clear()
        for other in others:
            first.add_note(f"also: {other}")
        raise first
