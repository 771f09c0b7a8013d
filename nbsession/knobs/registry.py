"""Knobs: named, typed, validated values that users, programs and models set.

A ``KnobSpec`` says what a knob may be; ``Knobs`` is one session's registry of
them. Components declare knobs while they render; the value belongs to the name
and outlives them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from nbsession.errors import KnobError, did_you_mean
from nbsession.knobs.spec import KnobSpec
from nbsession.tree import unchanged

By: TypeAlias = Literal["program", "user", "model"]
"""Who set a knob."""

HISTORY = 1000
NOTES = 100


class Holder(Hashable, Protocol):
    """What holds a knob: a mounted component's fiber."""

    @property
    def path(self) -> str:
        """Where it stands in the tree."""

    def mark(self) -> None:
        """Render it again."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One change of a knob's value: who made it, and when (seconds since the epoch)."""

    name: str
    value: Any
    previous: Any
    by: By
    at: float


class _Knob:
    """A knob as declared now. ``touched``: its value was set, so that a new default leaves it alone."""

    __slots__ = ("holders", "spec", "touched", "value")

    def __init__(self, spec: KnobSpec) -> None:
        self.spec = spec
        self.value = spec.default
        self.touched = False
        self.holders: dict[Holder, KnobSpec] = {}


class Knobs:
    """The knobs of one session, in the order of their declaration.

    Not thread-safe: its owner calls it on one loop. ``on_set`` gets every
    ``Setting`` after it took effect. ``values`` are kept for knobs that are
    declared later (a restored session's), and checked then. ``notes`` tells, in
    sentences, which values gave way to a changed spec.
    """

    def __init__(
        self, on_set: Callable[[Setting], None] | None = None, values: Mapping[str, Any] | None = None
    ) -> None:
        self._on_set = on_set
        self._knobs: dict[str, _Knob] = {}
        self._kept: dict[str, Any] = dict(values or {})
        self._unclaimed = set(self._kept)
        self._history: deque[Setting] = deque(maxlen=HISTORY)
        self._read_only = False
        self._momentary_ended = False
        self.notes: list[str] = []

    def declare(self, spec: KnobSpec, holder: Holder) -> None:
        """Let ``holder`` hold the knob that ``spec`` describes.

        An equal spec shares the knob. Another spec takes effect at once: a value
        that no longer fits becomes the new default, which ``notes`` and
        ``history`` tell. Whether all holders agree in the end is for ``check``.
        """
        knob = self._knobs.get(spec.name)
        if knob is None:
            self._unclaimed.discard(spec.name)
            knob = self._knobs[spec.name] = _Knob(spec)
            knob.holders[holder] = spec
            if spec.name in self._kept:
                kept = self._kept.pop(spec.name)
                if spec.momentary and self._momentary_ended:
                    self._tell(Setting(spec.name, spec.default, kept, "program", time.time()))
                else:
                    self._fit(knob, kept)
        else:
            knob.holders[holder] = spec
            self._respecify(knob, spec, holder)

    def retract(self, name: str, holder: Holder) -> None:
        """End ``holder``'s hold on a knob. With the last one the knob goes; its value is kept for its return."""
        knob = self._knobs.get(name)
        if knob is None or knob.holders.pop(holder, None) is None:
            return
        if not knob.holders:
            del self._knobs[name]
            if knob.touched:
                self._kept[name] = knob.value
        elif knob.spec not in knob.holders.values():
            self._respecify(knob, list(knob.holders.values())[-1], None)

    def hand_over(self, name: str, holder: Holder, to: Holder) -> None:
        """Let ``to`` hold a knob in place of ``holder``."""
        knob = self._knobs.get(name)
        if knob is not None and holder in knob.holders:
            knob.holders[to] = knob.holders.pop(holder)

    @property
    def unclaimed(self) -> Mapping[str, Any]:
        """The values this began with whose knobs no component has declared so far."""
        return {name: value for name, value in self._kept.items() if name in self._unclaimed}

    @property
    def undeclared(self) -> Mapping[str, Any]:
        """The values that are kept for knobs which no component declares now."""
        return dict(self._kept)

    def check(self) -> None:
        """Raise ``KnobError``, naming both paths, if two holders of one knob have different specs.

        To be called once the tree is at rest: while it renders, holders that agree
        declare a change one after the other, and one that takes another's place
        declares before that one is unmounted.
        """
        for knob in self._knobs.values():
            if len(knob.holders) > 1:
                (first, one), *others = knob.holders.items()
                for second, other in others:
                    if other != one:
                        raise _conflict(one, first, other, second)

    def __getitem__(self, name: str) -> Any:
        return self._find(name).value

    def __setitem__(self, name: str, value: Any) -> None:
        self.set(name, value)

    def __contains__(self, name: object) -> bool:
        return name in self._knobs

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._knobs))

    def __len__(self) -> int:
        return len(self._knobs)

    def __repr__(self) -> str:
        return "Knobs(" + ", ".join(f"{name}={knob.value!r}" for name, knob in self._knobs.items()) + ")"

    def get(self, name: str, default: Any = None) -> Any:
        """Return a knob's value, or ``default`` where there is no such knob."""
        knob = self._knobs.get(name)
        return default if knob is None else knob.value

    def specs(self) -> dict[str, KnobSpec]:
        """Return the specs by name, in the order of declaration."""
        return {name: knob.spec for name, knob in self._knobs.items()}

    def values(self) -> dict[str, Any]:
        """Return the values by name, in the order of declaration."""
        return {name: knob.value for name, knob in self._knobs.items()}

    def holders(self, name: str) -> tuple[Holder, ...]:
        """Return what holds a knob: what a change of it would render again."""
        return tuple(self._find(name).holders)

    @property
    def history(self) -> list[Setting]:
        """The latest changes, oldest first (at most 1,000)."""
        return list(self._history)

    def set(self, name: str, value: Any, by: By = "program") -> Any:
        """Set a knob to a value, or to what a function makes of the present one, and return the new value.

        Every holder is marked. An equal value changes nothing. Raises
        ``KnobError`` for an unknown name and a value that the spec refuses.
        """
        self.set_many({name: value}, by)
        return self._knobs[name].value

    def set_many(self, values: Mapping[str, Any], by: By = "program") -> None:
        """Set several knobs, all or none. Raises one ``KnobError`` that tells every fault."""
        if self._read_only:
            raise KnobError(
                "these are the knobs of a preview, which nothing can set; set session.knobs instead"
            )
        self._apply(self._checked(values), by)

    def reset(self, *names: str, by: By = "program") -> None:
        """Set knobs back to their defaults; all of them when none is named."""
        chosen = [self._find(name) for name in names] if names else list(self._knobs.values())
        self._apply([(knob, knob.spec.default) for knob in chosen], by)
        for knob in chosen:
            knob.touched = False
        for name in () if names else tuple(self._kept):
            del self._kept[name]

    def reset_momentary(self) -> None:
        """Set the momentary knobs back to their defaults, as at the end of an execution."""
        momentary = [name for name, knob in self._knobs.items() if knob.spec.momentary]
        if momentary:
            self.reset(*momentary)

    def end_momentary(self) -> None:
        """Let momentary knobs that are declared later begin with their defaults, whatever value was kept."""
        self._momentary_ended = True

    def overlay(self, values: Mapping[str, Any]) -> Knobs:
        """Return a read-only copy with other values, for a preview.

        What is declared there stays there, and no holder of these is marked.
        Raises ``KnobError`` as ``set_many`` does; the value of a knob that went
        may be named, and applies where it comes back.
        """
        declared = {
            name: value for name, value in values.items() if name not in self._kept or name in self._knobs
        }
        checked = {knob.spec.name: value for knob, value in self._checked(declared)}
        copy = Knobs(values={**self._kept, **{k: v for k, v in values.items() if k not in declared}})
        copy._read_only = True
        for name, knob in self._knobs.items():
            copied = copy._knobs[name] = _Knob(knob.spec)
            copied.value = checked.get(name, knob.value)
            copied.holders = dict(knob.holders)
            copied.touched = knob.touched or not unchanged(copied.value, knob.value)
        return copy

    def _find(self, name: str) -> _Knob:
        knob = self._knobs.get(name)
        if knob is None:
            hint = did_you_mean(name, self._knobs) or "; no component declares one"
            raise KnobError(f"no knob is named {name!r}{hint}", knob=name)
        return knob

    def _checked(self, values: Mapping[str, Any]) -> list[tuple[_Knob, Any]]:
        checked = []
        faults: list[KnobError] = []
        for name, value in values.items():
            try:
                knob = self._find(name)
                checked.append((knob, knob.spec.check(value(knob.value) if callable(value) else value)))
            except KnobError as error:
                faults.append(error)
        if len(faults) == 1:
            raise faults[0]
        if faults:
            raise KnobError("; and ".join(str(fault) for fault in faults), knob=faults[0].knob)
        return checked

    def _apply(self, values: Iterable[tuple[_Knob, Any]], by: By) -> None:
        """Set checked values, then mark their holders, then tell of it."""
        at = time.time()
        changed = []
        for knob, value in values:
            knob.touched = True
            if not unchanged(value, knob.value):
                changed.append((knob, Setting(knob.spec.name, value, knob.value, by, at)))
                knob.value = value
        for knob, _ in changed:
            for holder in tuple(knob.holders):
                holder.mark()
        for _, setting in changed:
            self._tell(setting)

    def _respecify(self, knob: _Knob, spec: KnobSpec, holder: Holder | None) -> None:
        """Give a knob another spec, and the other holders its value where that had to change."""
        if knob.spec == spec:
            return
        before, knob.spec = knob.value, spec
        if knob.touched:
            self._fit(knob, before)
        else:
            knob.value = spec.default
        if not unchanged(knob.value, before):
            for other in tuple(knob.holders):
                if other != holder:
                    other.mark()

    def _fit(self, knob: _Knob, wanted: Any) -> None:
        """Set a value that was chosen under another spec, or the default where it does not fit this one."""
        spec = knob.spec
        try:
            knob.value, knob.touched = spec.check(wanted), True
        except KnobError as error:
            knob.value, knob.touched = spec.default, False
            self.notes.append(f"{error}; it is {spec.default!r} now")
            del self.notes[:-NOTES]
            self._tell(Setting(spec.name, spec.default, wanted, "program", time.time()))

    def _tell(self, setting: Setting) -> None:
        self._history.append(setting)
        if self._on_set is not None:
            self._on_set(setting)


def _conflict(one: KnobSpec, holder: Holder, other: KnobSpec, second: Holder) -> KnobError:
    differing = ", ".join(one.differences(other))
    return KnobError(
        f"knob {one.name!r} has two specs that differ in {differing}: one at {holder.path}, one at {second.path}; "
        "give both the same constraints, or one of them another name",
        knob=one.name,
    )


__all__ = ["By", "Holder", "KnobSpec", "Knobs", "Setting"]
