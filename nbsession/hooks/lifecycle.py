"""The life-cycle hooks, and how what they register is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from nbsession.errors import HookError, SessionError
from nbsession.hooks.environment import environment
from nbsession.tree import Cell, Fiber, acting, current, use_cell

if TYPE_CHECKING:
    from nbsession.hooks.environment import Environment

Callback = TypeVar("Callback", bound=Callable[..., Any])


class CallbackCell(Cell):
    """A life-cycle callback; ``callback`` is the closure of the latest render."""

    __slots__ = ("callback", "environment", "fiber", "fired")

    def __init__(self, kind: str, fiber: Fiber, found: Environment) -> None:
        self.kind = kind
        self.fiber = fiber
        self.environment = found
        self.callback: Callable[..., Any] = nothing
        self.fired = False

    def unmount(self) -> None:
        if self.kind == "on_unmount":
            self.environment.unmounted.append(self.callback)

    def clone(self, fiber: Fiber) -> CallbackCell:
        return CallbackCell(self.kind, fiber, cast("Environment", fiber.root.environment))


def nothing() -> None:
    """Do nothing."""
    return


def _use_lifecycle(kind: str, callback: Callback) -> Callback:
    if not callable(callback):
        raise HookError(f"{current().path}: use_{kind} takes a function, got {type(callback).__name__}")
    found = environment()
    cell = use_cell(kind, lambda fiber: CallbackCell(kind, fiber, found))
    cell.callback = callback
    return callback


def use_on_mount(fn: Callback) -> Callback:
    """Call ``fn(session)`` (sync or async) once after the component was mounted, before the first tick start hooks."""
    return _use_lifecycle("on_mount", fn)


def use_on_unmount(fn: Callback) -> Callback:
    """Call ``fn(session)`` (sync or async) after the component was unmounted."""
    return _use_lifecycle("on_unmount", fn)


def use_on_execution_start(fn: Callback) -> Callback:
    """Call ``fn(execution, session)`` when an execution begins, after mounting."""
    return _use_lifecycle("on_execution_start", fn)


def use_on_execution_end(fn: Callback) -> Callback:
    """Call ``fn(result, session)`` once per execution, also after abort or error, before it is stored."""
    return _use_lifecycle("on_execution_end", fn)


def use_on_tick_start(fn: Callback) -> Callback:
    """Call ``fn(tick, session)`` at the start of every tick, before it is compiled."""
    return _use_lifecycle("on_tick_start", fn)


def use_on_tick_end(fn: Callback) -> Callback:
    """Call ``fn(tick, session)`` after a tick's response and tools."""
    return _use_lifecycle("on_tick_end", fn)


def use_after_compile(fn: Callback) -> Callback:
    """Call ``fn(context, session)`` after each compile and before the model call."""
    return _use_lifecycle("after_compile", fn)


def use_on_message(fn: Callback) -> Callback:
    """Call ``fn(entry, session)`` for each entry that is committed to the timeline."""
    return _use_lifecycle("on_message", fn)


def use_continuation(fn: Callback) -> Callback:
    """Let ``fn(tick, session)`` decide whether another tick follows.

    It returns ``None`` (no opinion), a bool, ``Stop(reason)`` or
    ``Continue(reason)``; ``tick.should_continue`` is the decision so far.
    Children are asked first, so the root speaks last, and the last opinion wins. Open gates (``use_gate``) are part
    of the decision that they see, and do not overrule theirs.
    """
    return _use_lifecycle("continuation", fn)


async def call_cell(cell: CallbackCell, *arguments: Any) -> Any:
    """Call a cell's callback as ``call_hook`` does; an error gets a note that says whose it is."""
    try:
        with acting(f"use_{cell.kind} of {cell.fiber.type.name}"):
            return await call_hook(cell.callback, *arguments)
    except Exception as error:
        error.add_note(f"raised in use_{cell.kind} of {cell.fiber.path}")
        raise


async def call_hook(callback: Callable[..., Any], *arguments: Any) -> Any:
    """Call a life-cycle callback with as many of ``arguments`` as it takes, and await what it returns."""
    result = callback(*takes(callback, arguments))
    if inspect.isawaitable(result):
        return await result
    return result


def takes(callback: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return as many of ``arguments``, from the first, as ``callback`` takes."""
    return arguments[: _arity(callback, len(arguments))]


def _arity(callback: Callable[..., Any], most: int) -> int:
    try:
        parameters = inspect.signature(callback).parameters.values()
    except (TypeError, ValueError):
        return most
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return most
    takes = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = sum(1 for parameter in takes if parameter.default is parameter.empty)
    if required > most:
        raise SessionError(
            f"{getattr(callback, '__qualname__', callback)} takes {required} arguments; {most} are given"
        )
    return min(len(takes), most)
