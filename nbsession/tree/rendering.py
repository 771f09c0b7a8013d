"""The component that renders at this moment, on each thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from nbsession.errors import HookError

if TYPE_CHECKING:
    from nbsession.tree.fiber import Cell, Fiber


class Frame:
    """Holds the fiber whose body runs, or ``None``."""

    __slots__ = ("fiber",)

    def __init__(self) -> None:
        self.fiber: Fiber | None = None


class _Frames(threading.local):
    """One frame a thread: two sessions may render at once, each on its own."""

    def __init__(self) -> None:
        self.frame = Frame()


frames = _Frames()


class HookMismatch(HookError):
    """Another kind of hook stood here at the last render."""


def outside(hook: str) -> HookError:
    """Return the error of a hook that was called while no component renders."""
    return HookError(
        f"{hook} was called outside a component; call hooks in a component's body, while it renders, "
        "and neither in a tool, an effect or a callback nor before the first render"
    )


def mismatch(fiber: Fiber, at: int, kind: str) -> HookMismatch:
    """Return the error of a hook that is not the one of the last render."""
    expected = (fiber.hooks or [])[at].kind
    return HookMismatch(
        f"{fiber.type.name} called {hook_name(kind)} as hook {at + 1}, where {hook_name(expected)} stood last time; "
        "a hook may not sit behind an 'if'",
        path=fiber.path,
    )


def hook_name(kind: str) -> str:
    """Return the function's name of a kind of hook."""
    return kind if kind.startswith("use_") else f"use_{kind}"


def current() -> Fiber:
    """Return the fiber of the component that renders now; ``HookError`` where none does."""
    fiber = frames.frame.fiber
    if fiber is None:
        raise outside("a hook")
    return fiber


def keep(fiber: Fiber, cell: Cell) -> None:
    """Put a new cell at the end of a fiber's hooks."""
    if fiber.hooks is None:
        fiber.hooks = [cell]
    else:
        fiber.hooks.append(cell)
    if cell.persist and fiber.root.changes is not None:
        fiber.root.changes[cell] = fiber
