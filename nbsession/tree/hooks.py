"""The hooks: what a component may keep between renders.

Each takes the next position on the fiber that renders. At the first render it
makes its cell there; later it finds the cell again, so hooks have to be called
in the same order each time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from nbsession.errors import HookError
from nbsession.tree.effects import CleanUp, Effect
from nbsession.tree.equality import STABLE, Stable, same_deps, unchanged
from nbsession.tree.fiber import CLEAN, DEAD, Cell, Fiber
from nbsession.tree.rendering import frames, keep, mismatch, outside
from nbsession.tree.sketch import CHANGEABLE, changed_in_place, sketch
from nbsession.tree.trace import actor

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")
A = TypeVar("A")
C = TypeVar("C", bound=Cell)
F = TypeVar("F", bound=Callable[..., Any])


class State(Cell, Stable):
    """A state cell, which is its own setter: call it with a value, or with a function of the present one."""

    __slots__ = ("fiber", "initial", "persist", "sketched", "value")

    kind = "state"
    gave = "it was set to None"

    def __init__(self, fiber: Fiber, value: Any, persist: bool, initial: type) -> None:
        self.fiber = fiber
        self.value = value
        self.sketched = sketch(value) if type(value) in CHANGEABLE else None
        self.persist = persist
        self.initial = initial

    def __call__(self, value: Any) -> None:
        """Set the state; the component renders again at the next flush.

        Left out only where the old and the new value are equal immutable atoms. A value
        that the root's ``check`` refuses raises here, and the old one stays. ``None`` for a
        list, dict or set that was changed in place since it was set is what ``append`` or
        ``update`` returned, and a ``HookError``. May be called from any thread; from another
        than the root's owner it is handed over, in order. After unmounting it is a ``HookError``, or, where it was handed over,
        a note at the root.
        """
        if self.kind == "state" and not callable(value):
            if value is None:
                self._refuse_change_in_place()
            self._check(value)
        root = self.fiber.root
        by = "" if root.trace is None else actor()
        if root.admits(self._set_handed_over, value, by):
            self._set(value, by, self._check)

    def _set_handed_over(self, value: Any, by: str) -> None:
        try:
            self._set(value, by)  # without a check: whoever set it has gone on, and the next drain says it
        except HookError as error:
            self.fiber.root.note(str(error))

    def _check(self, value: Any) -> None:
        check = self.fiber.root.check
        if self.persist and check is not None:
            check(f"{self.fiber.path}#{(self.fiber.hooks or []).index(self)}", value)

    def _set(self, value: Any, by: str, check: Callable[[Any], None] | None = None) -> None:
        fiber = self.fiber
        root = fiber.root
        if fiber.status == DEAD:
            position = (fiber.hooks or []).index(self)
            raise HookError(
                f"{fiber.path} was unmounted before its hook {position + 1} (use_{self.kind}) was set; "
                "the value is dropped: cancel what sets it in the clean-up of an effect",
                path=fiber.path,
            )
        new = self._next(value)
        if new is None:
            self._refuse_change_in_place()
        if unchanged(self.value, new):
            return
        if check is not None and new is not value:
            check(new)
        if root.trace is not None:
            root.trace.set(self, fiber, self.value, by)
        self.value = new
        self.sketched = sketch(new) if type(new) in CHANGEABLE else None
        if self.persist:
            root.note_change(self, fiber)
        if fiber.status == CLEAN:
            root.enqueue(fiber)

    def _next(self, value: Any) -> Any:
        return value(self.value) if callable(value) else value

    def _refuse_change_in_place(self) -> None:
        value = self.value
        if not changed_in_place(value, self.sketched):
            return
        kind, fiber = type(value).__name__, self.fiber
        position = (fiber.hooks or []).index(self)
        raise HookError(
            f"hook {position + 1} (use_{self.kind}) of {fiber.path} would lose its {kind}: {self.gave}, and the {kind} was "
            "changed in place, as append, update or sort do, which return None; give a new one instead, such as "
            f"{self._remedy(CHANGEABLE[type(value)])}",
            path=fiber.path,
        )

    def _remedy(self, new: str) -> str:
        return f"set_value(lambda kept: {new})"

    def clone(self, fiber: Fiber) -> Self:
        return type(self)(fiber, self.value, self.persist, self.initial)

    def __repr__(self) -> str:
        return f"<{self.kind} of {self.fiber.type.name}: {self.value!r}>"


class Reduced(State):
    """A reducer's cell, which is its own dispatch function."""

    __slots__ = ("reducer",)

    kind = "reducer"
    gave = "its reducer returned None"

    reducer: Callable[[Any, Any], Any]

    def _next(self, value: Any) -> Any:
        return self.reducer(self.value, value)

    def _remedy(self, new: str) -> str:
        return f"return {new}"

    def clone(self, fiber: Fiber) -> Self:
        cell = super().clone(fiber)
        cell.reducer = self.reducer
        return cell


class Memo(Cell):
    """A kept value and the dependencies it was made from."""

    __slots__ = ("deps", "kind", "value")

    def __init__(self, kind: str, value: Any, deps: Sequence[Any] | None) -> None:
        self.kind = kind
        self.value = value
        # A copy: the caller's list may change.
        self.deps = None if deps is None else tuple(deps)

    def clone(self, fiber: Fiber) -> Memo:
        return Memo(self.kind, self.value, self.deps)


class Ref(Cell, Generic[T]):
    """A box that stays the same over renders; writing to ``current`` renders nothing."""

    __slots__ = ("current",)

    kind = "ref"

    def __init__(self, current: T) -> None:
        self.current = current

    def clone(self, fiber: Fiber) -> Ref[T]:
        return Ref(self.current)

    def __repr__(self) -> str:
        return f"Ref({self.current!r})"


STABLE.update({State, Reduced})


@overload
def use_state(initial: Callable[[], T], *, persist: bool = True) -> tuple[T, State]: ...
@overload
def use_state(initial: T, *, persist: bool = True) -> tuple[T, State]: ...
def use_state(initial: Any, *, persist: bool = True) -> tuple[Any, State]:
    """Keep a value; return it and its setter, which stays the same object over renders.

    ``initial`` may be a function, called at the first render. The setter takes a
    value or a function of the present one, from any thread. Give it a new list rather than a
    changed one: ``set_notes(lambda kept: [*kept, note])``. With ``persist`` the
    value is part of the root's kept state.
    """
    fiber = frames.frame.fiber
    if fiber is None:
        raise outside("use_state")
    at = fiber.cursor
    hooks = fiber.hooks
    if hooks is not None and at < len(hooks):
        cell = hooks[at]
        if type(cell) is not State:
            raise mismatch(fiber, at, "state")
        fiber.cursor = at + 1
        return cell.value, cell
    value = initial() if callable(initial) else initial
    begun_with = value.__class__
    if persist and fiber.root.restore:
        value = fiber.root.restored(fiber, at, value)
    state = State(fiber, value, persist, begun_with)
    if hooks is None:
        fiber.hooks = [state]
    else:
        hooks.append(state)
    if persist and fiber.root.changes is not None:
        fiber.root.changes[state] = fiber
    fiber.cursor = at + 1
    return value, state


def use_reducer(
    reducer: Callable[[T, A], T], initial: T | Callable[[], T], *, persist: bool = True
) -> tuple[T, Callable[[A], None]]:
    """Keep a value that changes by actions; return it and the function that takes one.

    ``reducer(value, action)`` gives the next value; the latest render's is used.
    """
    fiber, at, found = _next_hook("reducer", Reduced)
    if found is None:
        value: Any = initial() if callable(initial) else initial
        begun_with = value.__class__
        if persist and fiber.root.restore:
            value = fiber.root.restored(fiber, at, value, "reducer")
        found = Reduced(fiber, value, persist, begun_with)
        keep(fiber, found)
    found.reducer = reducer
    fiber.cursor = at + 1
    return found.value, found


def use_memo(fn: Callable[[], T], deps: Sequence[Any] | None) -> T:
    """Return ``fn()``, worked out again only when ``deps`` changed (identity, or equal atoms); None: each time."""
    return cast("T", _memo("memo", fn, deps, call=True))


def use_callback(fn: F, deps: Sequence[Any] | None) -> F:
    """Return ``fn``, the same object as long as ``deps`` are the same."""
    return cast("F", _memo("callback", fn, deps, call=False))


def _memo(kind: str, fn: Callable[..., Any], deps: Sequence[Any] | None, *, call: bool) -> Any:
    fiber, at, found = _next_hook(kind, Memo)
    if found is None:
        found = Memo(kind, fn() if call else fn, deps)
        keep(fiber, found)
    elif not same_deps(found.deps, deps):
        found.value = fn() if call else fn
        found.deps = None if deps is None else tuple(deps)
    fiber.cursor = at + 1
    return found.value


def use_ref(initial: T | None = None) -> Ref[Any]:
    """Return a box with ``current``, the same one at each render. Not kept with the state."""
    fiber, at, found = _next_hook("ref", Ref)
    if found is None:
        found = Ref(initial)
        keep(fiber, found)
    fiber.cursor = at + 1
    return found


def use_effect(fn: Callable[[], CleanUp | Any | None], deps: Sequence[Any] | None = None) -> None:
    """Run ``fn`` after the commit, and again when ``deps`` changed; with ``None`` after each render.

    ``fn`` may return a clean-up, run before the next time and at unmount. An async
    function is refused: an effect is done when it returns.
    """
    if inspect.iscoroutinefunction(fn):
        raise HookError(
            f"use_effect got the async function {fn.__name__!r}; use use_data to fetch data, "
            "or use_on_mount for async work when the component mounts"
        )
    fiber, at, found = _next_hook("effect", Effect)
    if found is None:
        found = Effect(fn, deps)
        keep(fiber, found)
        fiber.root.kinds.setdefault("effect", {})[fiber] = None
        fiber.root.effects.append(fiber)
    elif not same_deps(found.deps, deps):
        found.function = fn
        found.deps = None if deps is None else tuple(deps)
        if not found.pending:
            found.pending = True
            fiber.root.effects.append(fiber)
    fiber.cursor = at + 1


def use_cell(kind: str, make: Callable[[Fiber], C]) -> C:
    """Return the cell kept at this hook position; for hooks defined elsewhere.

    ``make`` gets the fiber and makes the cell at the first render. In a preview
    (``fiber.previewing``) it may start nothing. ``root.cells(kind)`` lists the
    mounted cells.
    """
    fiber, at, found = _next_hook(kind, Cell)
    if found is None:
        found = make(fiber)
        if getattr(found, "kind", None) != kind:
            found.kind = kind
        keep(fiber, found)
        fiber.root.kinds.setdefault(kind, {})[fiber] = None
    fiber.cursor = at + 1
    return cast("C", found)


def _next_hook(kind: str, expected: type[C]) -> tuple[Fiber, int, C | None]:
    """Return the rendering fiber, the hook's position, and its cell if it was there at the last render."""
    fiber = frames.frame.fiber
    if fiber is None:
        raise outside(kind if kind.startswith("use_") else f"use_{kind}")
    at = fiber.cursor
    hooks = fiber.hooks
    if hooks is None or at >= len(hooks):
        return fiber, at, None
    cell = hooks[at]
    if cell.kind != kind or not isinstance(cell, expected):
        raise mismatch(fiber, at, kind)
    return fiber, at, cell
