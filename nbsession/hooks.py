"""The hooks that know sessions; the plain ones are in ``nbsession.tree``.

Each reads the ``Environment`` of the tree that it renders in, so that a preview,
which has an environment of its own, needs no code of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from nbsession.errors import HookError, NbsessionError, RenderError, SessionError
from nbsession.fetched import comparable, keep_data, read_data, readable
from nbsession.knobs import Knobs, KnobSpec
from nbsession.state import encode
from nbsession.tokens import Usage
from nbsession.tree import Cell, Fiber, current, use_cell

if TYPE_CHECKING:
    from nbsession.content import Entry
    from nbsession.fragment import ToolUse
    from nbsession.session import Session
    from nbsession.timeline import Record

T = TypeVar("T")
Callback = TypeVar("Callback", bound=Callable[..., Any])


class Watchers:
    """The fibers that read something outside the tree, to be marked when it changes."""

    __slots__ = ("_fibers", "marked")

    def __init__(self) -> None:
        self._fibers: dict[Fiber, None] = {}
        self.marked = False

    def add(self, fiber: Fiber) -> None:
        """Mark ``fiber`` from now on."""
        self._fibers[fiber] = None

    def discard(self, fiber: Fiber) -> None:
        """Mark it no longer."""
        self._fibers.pop(fiber, None)

    def mark(self) -> None:
        """Mark every fiber that watches, and remember that."""
        self.marked = True
        for fiber in tuple(self._fibers):
            fiber.mark()

    def __iter__(self) -> Iterator[Fiber]:
        return iter(tuple(self._fibers))


class Environment:
    """What the hooks of one mounted tree can reach.

    ``session`` is ``None`` in a tree without one; ``set_knob`` hands a value over
    to whoever owns the knobs and does not wait. ``shown`` are the entries that
    policies left of the timeline, ``None`` without policies; ``asked`` are the keys
    of the data that a preview would fetch.
    """

    def __init__(
        self,
        *,
        knobs: Knobs,
        record: Record,
        session: Session | None = None,
        usage: Callable[[], SessionUsage] | None = None,
        set_knob: Callable[[str, Any], None] | None = None,
    ) -> None:
        self.knobs = knobs
        self.record = record
        self.session = session
        self.usage = usage or SessionUsage
        self.set_knob = set_knob or knobs.set
        self.timeline_watchers = Watchers()
        self.knob_watchers = Watchers()
        self.usage_watchers = Watchers()
        self.shown: tuple[Entry, ...] | None = None
        self.unmounted: list[Callable[..., Any]] = []
        self.asked: list[str] = []
        self.collapsed: dict[Fiber, tuple[str, Callable[[Any], Any]]] = {}
        self.expand: ToolUse | None = None

    def preview(self, knobs: Knobs) -> Environment:
        """Return the same environment with other knobs, for a tree that is thrown away."""
        overlaid = Environment(
            knobs=knobs,
            record=self.record,
            session=self.session,
            usage=self.usage,
            set_knob=_ignore,
        )
        overlaid.shown = self.shown
        overlaid.expand = self.expand
        return overlaid


class SessionUsage:
    """Tokens and cost of a session so far.

    ``window`` is the model's window in tokens or ``None``; ``share`` is the share
    of it that the last context took, between 0 and 1, or ``None``. ``cost`` is in
    US dollars, ``None`` where a price is not known.
    """

    __slots__ = ("context_tokens", "cost", "total", "window")

    def __init__(
        self,
        total: Usage | None = None,
        *,
        cost: float | None = 0.0,
        window: int | None = None,
        context_tokens: int = 0,
    ) -> None:
        self.total = total or Usage()
        self.cost = cost
        self.window = window
        self.context_tokens = context_tokens

    @property
    def input_tokens(self) -> int:
        """Input tokens so far, cached ones included."""
        return self.total.input_tokens

    @property
    def output_tokens(self) -> int:
        """Output tokens so far."""
        return self.total.output_tokens

    @property
    def total_tokens(self) -> int:
        """Input and output tokens so far."""
        return self.total.total_tokens

    @property
    def share(self) -> float | None:
        """How full the window was at the last tick, between 0 and 1."""
        return self.context_tokens / self.window if self.window else None


def environment() -> Environment:
    """Return the environment of the tree that renders now."""
    found = current().root.environment
    if not isinstance(found, Environment):
        raise HookError(
            "this hook needs a session; mount the tree with App(...).session() or testing.render()"
        )
    return found


class _Watch(Cell):
    """Marks its fiber when what it watches changes."""

    __slots__ = ("fiber", "watchers")

    def __init__(self, kind: str, fiber: Fiber, watchers: Watchers) -> None:
        self.kind = kind
        self.fiber = fiber
        self.watchers = watchers
        watchers.add(fiber)

    def unmount(self) -> None:
        self.watchers.discard(self.fiber)

    def clone(self, fiber: Fiber) -> _Watch:
        return _Watch(self.kind, fiber, Watchers())


def use_session() -> Session:
    """Return the session that this tree is bound to."""
    session = environment().session
    if session is None:
        raise HookError(f"{current().path} called use_session(), but this tree was mounted without a session")
    return session


def use_timeline() -> Record:
    """Return the session's timeline: a sequence of entries. The component renders again when it grows."""
    found = environment()
    use_cell("use_timeline", lambda fiber: _Watch("use_timeline", fiber, found.timeline_watchers))
    return found.record


def use_usage() -> SessionUsage:
    """Return tokens and cost so far, the model's window and the share of it in use."""
    found = environment()
    use_cell("use_usage", lambda fiber: _Watch("use_usage", fiber, found.usage_watchers))
    return found.usage()


def use_shown_entries() -> tuple[Entry, ...] | None:
    """Return the entries that the app's policies left to show, ``None`` where it has no policies."""
    use_timeline()
    return environment().shown


class KnobCell(Cell):
    """A component's hold on a knob; calling it sets the knob."""

    __slots__ = ("arguments", "environment", "fiber", "name", "spec")

    def __init__(self, fiber: Fiber, found: Environment) -> None:
        self.kind = "use_knob"
        self.fiber = fiber
        self.environment = found
        self.name = ""
        self.arguments: dict[str, Any] = {}
        self.spec: KnobSpec | None = None

    def hold(self, name: str, default: Any, constraints: dict[str, Any]) -> Any:
        arguments = {"": default, **constraints}
        knobs = self.environment.knobs
        if self.spec is None or name != self.name or arguments != self.arguments:
            if self.name and name != self.name:
                knobs.retract(self.name, self.fiber)
            before = knobs.specs().get(name)
            spec = KnobSpec.of(name, default, **constraints)
            knobs.declare(spec, self.fiber)
            self.spec, self.name, self.arguments = spec, name, arguments
            if before != spec:
                self.environment.knob_watchers.mark()
        return knobs[name]

    def __call__(self, value: Any) -> None:
        """Set the knob to a value, or to what a function makes of the present one."""
        self.environment.set_knob(self.name, value)

    def unmount(self) -> None:
        self.environment.knobs.retract(self.name, self.fiber)
        self.environment.knob_watchers.mark()

    def clone(self, fiber: Fiber) -> KnobCell:
        copy = KnobCell(fiber, cast("Environment", fiber.root.environment))
        copy.name, copy.arguments, copy.spec = self.name, self.arguments, self.spec
        copy.environment.knobs.hand_over(self.name, self.fiber, fiber)
        return copy


def use_knob(
    name: str,
    default: T,
    *,
    min: float | None = None,
    max: float | None = None,
    step: float | None = None,
    options: Sequence[T] | Mapping[str, T] | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    validate: Callable[[T], Any] | None = None,
    description: str = "",
    group: str = "",
    momentary: bool = False,
) -> tuple[T, Callable[[T | Callable[[T], T]], None]]:
    """Return a knob's value and its setter.

    A knob is a named, typed, validated value of the session: users set it by a
    control, programs by ``session.knobs[name]``, the model by ``set_knob``. Its
    type is the default's, or one of ``options`` (values, or label → value).
    ``min``, ``max`` and ``step`` bound numbers, ``max_length`` (characters) and
    ``pattern`` (a regular expression, matched in full) bound text; ``validate``
    gets the value and raises ``ValueError`` or returns ``False`` or a complaint.
    ``group`` puts knobs together in panels; a ``momentary`` knob goes back to its
    default when the execution ends. Equal specs of one name share the knob,
    different ones are a ``KnobError`` that names both places. The value belongs
    to the name and survives unmounting.
    """
    constraints = {
        "min": min,
        "max": max,
        "step": step,
        "options": options,
        "max_length": max_length,
        "pattern": pattern,
        "validate": validate,
        "description": description,
        "group": group,
        "momentary": momentary,
    }
    given = {
        key: value
        for key, value in constraints.items()
        if value is not None and value is not False and value != ""
    }
    found = environment()
    cell = use_cell("use_knob", lambda fiber: KnobCell(fiber, found))
    return cell.hold(name, default, given), cell


def use_knob_names() -> tuple[str, ...]:
    """Return the names of the session's knobs, sorted; the component renders again when one is set, comes or goes."""
    found = environment()
    use_cell("use_knob_names", lambda fiber: _Watch("use_knob_names", fiber, found.knob_watchers))
    return tuple(sorted(found.knobs.specs()))


class DataCell(Cell):
    """What ``use_data`` fetched, or is to fetch.

    Kept with the state are what was fetched and the key and dependencies that it
    was fetched for; restored, it is fetched again only where those differ.
    """

    __slots__ = ("data", "deps", "fetched", "fetcher", "fiber", "keep", "key", "pending")

    def __init__(self, fiber: Fiber, *, keep: bool) -> None:
        self.fiber = fiber
        self.keep = keep
        self.key = ""
        self.data: Any = None
        self.deps: Any = None
        self.fetcher: Callable[[], Any] = _nothing
        self.fetched = self.pending = False

    @classmethod
    def mount(cls, fiber: Fiber, *, keep: bool) -> DataCell:
        """Return a cell with the data that was kept for this place, if any."""
        cell = cls(fiber, keep=keep)
        kept = fiber.root.restored(fiber, fiber.cursor, None) if keep and fiber.root.restore else None
        if isinstance(kept, dict) and readable(kept):
            cell.key, cell.deps, cell.data, cell.fetched = kept["key"], kept["deps"], read_data(kept), True
        return cell

    @property
    def persist(self) -> bool:  # type: ignore[override]  # a property, because it is known only once fetched
        """Whether there is something to keep."""
        return self.keep and self.fetched

    @property
    def value(self) -> Any:
        """What is kept."""
        return keep_data(self.key, self.deps, self.data)

    def ask(self, key: str, fetch: Callable[[], Any], deps: tuple[Any, ...]) -> Any:
        """Note what to fetch; it is due at first and when the key or a dependency changed."""
        self.fetcher = fetch
        wanted = comparable(deps) if self.keep else deps
        if key != self.key or wanted != self.deps or not self.fetched:
            self.key, self.deps, self.pending, self.fetched = key, wanted, True, False
        if self.pending and self.fiber.previewing:
            cast("Environment", self.fiber.root.environment).asked.append(key)
        return self.data

    async def fetch(self) -> None:
        """Fetch; a failure is a ``RenderError`` and leaves it to be tried again."""
        wanted = (self.key, self.deps)
        try:
            data = await call_hook(self.fetcher)
        except NbsessionError:
            raise
        except Exception as error:
            raise RenderError(
                f"use_data({self.key!r}) of {self.fiber.path} failed: {type(error).__name__}: {error}; "
                "the next send tries again",
                path=self.fiber.path,
            ) from error
        if self.keep:
            encode(data, f"state {self.key!r} (use_data) of {self.fiber.path}")
        if wanted != (self.key, self.deps):
            return
        self.data, self.pending, self.fetched = data, False, True
        root = self.fiber.root
        if self.keep and root.changes is not None:
            root.changes[self] = self.fiber
        self.fiber.mark()

    def clone(self, fiber: Fiber) -> DataCell:
        copy = DataCell(fiber, keep=self.keep)
        for name in ("key", "deps", "data", "fetcher", "pending", "fetched"):
            setattr(copy, name, getattr(self, name))
        return copy


def use_data(key: str, fetch: Callable[[], Any], deps: Sequence[Any] = (), *, persist: bool = True) -> Any:
    """Return what ``fetch()`` (sync or async) gave, ``None`` until it has.

    It is awaited before the model is called, at first and when ``key`` or ``deps``
    changed; meanwhile the last value stands. A failure fails that execution with a
    ``RenderError``, and the next one tries again. With ``persist`` the data (JSON, a
    pydantic model or a list of models) is part of the kept state: a restored or
    forked session has it without fetching.
    """
    cell = use_cell("use_data", lambda fiber: DataCell.mount(fiber, keep=persist))
    return cell.ask(key, fetch, tuple(deps))


class CallbackCell(Cell):
    """A life-cycle callback; ``callback`` is the closure of the latest render."""

    __slots__ = ("callback", "environment", "fiber", "fired")

    def __init__(self, kind: str, fiber: Fiber, found: Environment) -> None:
        self.kind = kind
        self.fiber = fiber
        self.environment = found
        self.callback: Callable[..., Any] = _nothing
        self.fired = False

    def unmount(self) -> None:
        if self.kind == "on_unmount":
            self.environment.unmounted.append(self.callback)

    def clone(self, fiber: Fiber) -> CallbackCell:
        return CallbackCell(self.kind, fiber, cast("Environment", fiber.root.environment))


def _nothing() -> None:
    return None


def _ignore(*_: Any) -> None:
    return None


def _register(kind: str, callback: Callback) -> Callback:
    if not callable(callback):
        raise HookError(f"{current().path}: use_{kind} takes a function, got {type(callback).__name__}")
    found = environment()
    cell = use_cell(kind, lambda fiber: CallbackCell(kind, fiber, found))
    cell.callback = callback
    return callback


def use_on_mount(fn: Callback) -> Callback:
    """Call ``fn(session)`` (sync or async) once after the component was mounted, before the first tick start hooks."""
    return _register("on_mount", fn)


def use_on_unmount(fn: Callback) -> Callback:
    """Call ``fn(session)`` (sync or async) after the component was unmounted."""
    return _register("on_unmount", fn)


def use_on_execution_start(fn: Callback) -> Callback:
    """Call ``fn(execution, session)`` when an execution begins, after mounting."""
    return _register("on_execution_start", fn)


def use_on_execution_end(fn: Callback) -> Callback:
    """Call ``fn(result, session)`` once per execution, also after abort or error, before it is stored."""
    return _register("on_execution_end", fn)


def use_on_tick_start(fn: Callback) -> Callback:
    """Call ``fn(tick, session)`` at the start of every tick, before it is compiled."""
    return _register("on_tick_start", fn)


def use_on_tick_end(fn: Callback) -> Callback:
    """Call ``fn(tick, session)`` after a tick's response and tools."""
    return _register("on_tick_end", fn)


def use_after_compile(fn: Callback) -> Callback:
    """Call ``fn(context, session)`` after each compile and before the model call."""
    return _register("after_compile", fn)


def use_on_message(fn: Callback) -> Callback:
    """Call ``fn(entry, session)`` for each entry that is committed to the timeline."""
    return _register("on_message", fn)


def use_continuation(fn: Callback) -> Callback:
    """Let ``fn(tick, session)`` decide whether another tick follows.

    It returns ``None`` (no opinion), a bool, ``Stop(reason)`` or
    ``Continue(reason)``; ``tick.should_continue`` is the decision so far.
    Children are asked first, so the root speaks last, and the last opinion wins.
    """
    return _register("continuation", fn)


async def call_cell(cell: CallbackCell, *arguments: Any) -> Any:
    """Call a cell's callback as ``call_hook`` does; an error gets a note that says whose it is."""
    try:
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
