"""The hooks that read a session and declare knobs and gates; the plain ones are in ``nbsession.tree``.

Each reads the ``Environment`` of the tree that it renders in, so that a preview,
which has an environment of its own, needs no code of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from nbsession.errors import HookError
from nbsession.hooks.environment import Environment, SessionUsage, Watch, environment
from nbsession.hooks.gates import Gate, Gates
from nbsession.knobs import KnobSpec
from nbsession.tree import Cell, Fiber, current, use_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbsession.content import Entry
    from nbsession.session.session import Session
    from nbsession.timeline import Record

T = TypeVar("T")


def use_session() -> Session:
    """Return the session that this tree is bound to."""
    session = environment().session
    if session is None:
        raise HookError(f"{current().path} called use_session(), but this tree was mounted without a session")
    return cast("Session", session)


def use_timeline() -> Record:
    """Return the session's timeline: a sequence of entries. The component renders again when it grows."""
    found = environment()
    use_cell("use_timeline", lambda fiber: Watch("use_timeline", fiber, found.timeline_watchers))
    return found.record


def use_usage() -> SessionUsage:
    """Return tokens and cost so far, the model's window and the share of it in use."""
    found = environment()
    use_cell("use_usage", lambda fiber: Watch("use_usage", fiber, found.usage_watchers))
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

    def __repr__(self) -> str:
        return f"<the setter of knob {self.name!r}: value, set_value = use_knob(…)>"

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
    use_cell("use_knob_names", lambda fiber: Watch("use_knob_names", fiber, found.knob_watchers))
    return tuple(sorted(found.knobs.specs()))


class GateCell(Cell):
    """A component's hold on a gate."""

    __slots__ = ("fiber", "gate", "gates")

    def __init__(self, fiber: Fiber, gates: Gates) -> None:
        self.kind = "use_gate"
        self.fiber = fiber
        self.gates = gates
        self.gate: Gate | None = None
        if not fiber.root.previewing:
            gates.watchers.add(fiber)

    def hold(self, name: str, text: str, initial: bool) -> Gate:
        if self.gate is None or (self.gate.name, self.gate.text, self.gate._initial) != (name, text, initial):
            self.gate = Gate(self.gates, self.fiber, name, text, initial)
        return self.gate

    def unmount(self) -> None:
        self.gates.watchers.discard(self.fiber)

    def clone(self, fiber: Fiber) -> GateCell:
        return GateCell(fiber, cast("Environment", fiber.root.environment).gates)


def use_gate(name: str, text: str, *, open: bool = False) -> Gate:
    """Return a gate: while it is open, an execution does not end.

    Where a tick would be the last one, a further one follows that is shown ``text``, after the conversation,
    with the tool ``resolve_gate``: the model does what the text asks for, closes the gate, or puts it off with a
    reason, which lets this execution end; at the next one the gate is open again. A model that does neither is asked
    again, up to ``max_ticks``. ``gate.open_()`` and ``gate.close()`` may be called from anywhere, ``gate.open`` and
    ``gate.reason`` say how it stands; ``open`` is how it begins. It belongs to its name and is kept with the session.

    An answer that was cut or refused ends the execution all the same; ``use_continuation`` is asked after the gates,
    and has the last word. One name with two texts is a ``HookError`` that names both places.
    """
    if not name or not text.strip():
        raise HookError(
            f"{current().path}: use_gate takes a name and a text for the model, got {name!r}, {text!r}"
        )
    found = environment().gates
    return use_cell("use_gate", lambda fiber: GateCell(fiber, found)).hold(name, text, open)


def gates_in(cells: Sequence[GateCell]) -> dict[str, Gate]:
    """Return the gates of mounted components, by name; ``HookError`` where one name has two texts."""
    gates: dict[str, Gate] = {}
    for cell in cells:
        gate = cell.gate
        if gate is None:
            continue
        first = gates.setdefault(gate.name, gate)
        if not first.same(gate):
            raise HookError(
                f"gate {gate.name!r} is two gates: {first.text!r:.80} at {first.path}, {gate.text!r:.80} at {gate.path}; "
                "give both the same text and open=, or one of them another name"
            )
    return gates
