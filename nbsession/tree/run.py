"""Running one component's body, and what is said when that fails."""

from __future__ import annotations

from traceback import walk_tb
from typing import TYPE_CHECKING

from nbsession.errors import HookError, RenderError
from nbsession.tree.element import Component, Node
from nbsession.tree.fiber import REDEFINED, UNRENDERED, Fiber, shorten
from nbsession.tree.node import UNPACK
from nbsession.tree.rendering import Frame, HookMismatch

if TYPE_CHECKING:
    from types import TracebackType


def run(fiber: Fiber, frame: Frame) -> Node:
    """Call a component's function and return its node.

    Raises what the body raises, and ``HookError`` if the hooks differ from the last
    render's. After a failed first render, or a new definition, hooks that fit are
    found again, and otherwise all start anew.
    """
    count = fiber.cursor
    fiber.cursor = 0
    element = fiber.element
    frame.fiber = fiber
    try:
        node = fiber.type.function(*element.children, **element.props)
    except BaseException as error:
        frame.fiber = None
        if count >= 0:
            _drop_hooks(fiber, count)
        fiber.cursor = count
        if isinstance(error, HookMismatch) and count < 0:
            _drop_hooks(fiber, 0)
            fiber.cursor = UNRENDERED
            if count == REDEFINED:
                fiber.root.note(
                    f"{fiber.path} was defined anew with other hooks, so its state starts anew: {error}"
                )
            return run(fiber, frame)
        raise
    frame.fiber = None
    called = fiber.cursor
    if called != count:
        # Mostly a first render, with nothing to check and little to note.
        if count != UNRENDERED or (fiber.hooks is not None and len(fiber.hooks) != called):
            _settle_hooks(fiber, count)
        if fiber.type.identity is not None:
            fiber.root.types.add(fiber.type)
    return node


def _settle_hooks(fiber: Fiber, count: int) -> None:
    """Check or note the number of hooks after a body has run."""
    called = fiber.cursor
    if count >= 0:
        _drop_hooks(fiber, count)
        fiber.cursor = count
        raise HookError(
            f"{fiber.type.name} called {called} {'hook' if called == 1 else 'hooks'} this time and {count} last time; "
            "a hook may not sit behind an 'if'",
            path=fiber.path,
        )
    if fiber.hooks is not None and called < len(fiber.hooks):
        if count == REDEFINED:
            fiber.root.note(f"{fiber.path} was defined anew with fewer hooks; those beyond {called} are gone")
        _drop_hooks(fiber, called)


def _drop_hooks(fiber: Fiber, count: int) -> None:
    """Unmount the hooks from position ``count`` on."""
    hooks = fiber.hooks
    if hooks is None or len(hooks) <= count:
        return
    gone = hooks[count:]
    del hooks[count:]
    fiber.root.release(fiber, gone, count)


def explain(fiber: Fiber, error: Exception) -> Exception:
    """Return the error to raise for one that a component raised: it names the path."""
    path = fiber.path
    shown = shorten(path) or "the root"
    if isinstance(error, RenderError):
        if error.path:
            return error
        said = str(error)
        return type(error)(said if said.startswith(f"{shown} ") else f"{shown}: {said}", path=path)
    traceback = error.__traceback__
    # Two frames: ours and run's. Had the body begun, there were a third.
    called = traceback is not None and traceback.tb_next is not None and traceback.tb_next.tb_next is not None
    if isinstance(error, TypeError) and isinstance(fiber.type, Component) and not called:
        return RenderError(f"{shown} was called with other arguments than it takes: {error}", path=path)
    said = f"{shown} raised {type(error).__name__}: {error}{_line(fiber, traceback)}"
    if isinstance(error, TypeError | AttributeError) and "tuple" in str(error) and fiber.hooks:
        said += f"; {UNPACK}"
    return RenderError(said, path=path)


def _line(fiber: Fiber, traceback: TracebackType | None) -> str:
    """Name the line of a component's own file (or cell) in which it failed; where no traceback is shown, nothing else does."""
    code = getattr(fiber.type.function, "__code__", None) if isinstance(fiber.type, Component) else None
    lines = [] if code is None else [at for frame, at in walk_tb(traceback) if frame.f_code is code]
    return f" (in line {lines[-1]})" if lines else ""
