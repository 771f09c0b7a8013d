"""What made the tree another one since the last tick, as far as its reconciler and its knobs know."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

from nbsession.hooks import DataCell
from nbsession.timeline import Cause
from nbsession.tree import Component, Fiber, hook_names, unchanged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nbsession.hooks import Environment, Watchers
    from nbsession.knobs import Knobs
    from nbsession.tree import Cell, Trace

MOST_PROPERTIES = 100
"""Fibers of which it is kept which properties changed: a list of more was rendered as a whole."""

_BY = {"user": "the user", "model": "the model", "program": "the program"}
_MISSING: Any = object()


def causes_in(trace: Trace, environment: Environment, sent: Mapping[str, Any]) -> tuple[Cause, ...]:
    """Tell what a trace holds, and the knobs that are not as last ``sent``."""
    return (
        *[Cause(fiber.path, "definition") for fiber in trace.redefined],
        *_values(trace),
        *_knobs(environment.knobs, sent),
        *[
            Cause(fiber.path, "context", name, short(old), short(_provided(fiber, name)))
            for (fiber, name), old in trace.contexts.items()
        ],
        *_watching("timeline", environment.timeline_watchers),
        *_watching("usage", environment.usage_watchers),
        *_properties(trace),
    )


def short(value: Any) -> str:
    """Write a value in short: a longer collection as how many items it has."""
    if isinstance(value, (list, tuple, set, frozenset, dict)) and value:
        written = _SHORT.repr(value)
        whole = len(value) <= _SHORT.maxlist and len(written) <= _SHORT.maxstring
        return written if whole else f"{len(value):,} item{'s' * (len(value) != 1)}"
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 40
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = 3
_SHORT.maxlevel = 2


def _values(trace: Trace) -> Iterator[Cause]:
    for cell, (fiber, old, by) in trace.values.items():
        if isinstance(cell, DataCell):
            yield Cause(fiber.path, "data", cell.key, short(old), short(cell.data), by)
        elif not _equal(old, cell.value):
            yield Cause(fiber.path, "state", _name(cell, fiber), short(old), short(cell.value), by)


def _name(cell: Cell, fiber: Fiber) -> str:
    position = (fiber.hooks or []).index(cell) if cell in (fiber.hooks or ()) else -1
    names = hook_names(fiber.type.function) if isinstance(fiber.type, Component) else ()
    return names[position] if 0 <= position < len(names) and names[position] else f"state #{position}"


def _knobs(knobs: Knobs, sent: Mapping[str, Any]) -> Iterator[Cause]:
    changed = {
        name: value for name, value in knobs.values().items() if not unchanged(sent.get(name, value), value)
    }
    if not changed:
        return
    last = {setting.name: setting.by for setting in knobs.history}
    for name, value in changed.items():
        by = _BY.get(last.get(name, ""), "")
        for holder in knobs.holders(name):
            yield Cause(holder.path, "knob", name, short(sent[name]), short(value), by)


def _provided(fiber: Fiber, name: str) -> Any:
    found = next((provision for context, provision in fiber.scope.items() if context.name == name), None)
    return found.value if found is not None else None


def _watching(kind: Any, watchers: Watchers) -> Iterable[Cause]:
    return [Cause(fiber.path, kind) for fiber in watchers]


def _properties(trace: Trace) -> Iterator[Cause]:
    if len(trace.elements) > MOST_PROPERTIES:
        return
    for fiber, element in trace.elements.items():
        if not isinstance(fiber.type, Component):
            continue
        old, new = element.props, fiber.element.props
        for name in {**old, **new}:
            before, after = old.get(name, _MISSING), new.get(name, _MISSING)
            if not _equal(before, after):
                yield Cause(fiber.path, "property", name, _given(before), _given(after))


def _equal(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # noqa: BLE001  # a user's value may compare as it likes (an array as another array)
        return False


def _given(value: Any) -> str:
    return "nothing" if value is _MISSING else short(value)
