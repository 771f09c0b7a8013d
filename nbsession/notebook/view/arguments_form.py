"""The form by which a reader changes the arguments of a call that waits: native controls, made from the tool's schema."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind: TypeAlias = Literal["text", "long", "number", "flag", "choice", "json"]

LONG = 60
"""Characters from which a text gets more than one line."""

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Control:
    """One argument: how it is asked for, and ``value`` as it stands there, in text.

    ``options`` are a choice's values, each as JSON. ``fault`` says why the value was not taken.
    """

    name: str
    kind: Kind
    value: str = ""
    required: bool = False
    options: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    whole: bool = False
    hint: str = ""
    fault: str = ""


def controls_of(schema: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Control, ...]:
    """Make a control for each argument that a schema names, and for each that was given."""
    properties: Mapping[str, Any] = schema.get("properties") or {}
    required = schema.get("required") or ()
    names = [*properties, *(name for name in given if name not in properties)]
    return tuple(
        _control(name, properties.get(name) or {}, given.get(name, _MISSING), name in required)
        for name in names
    )


def filled(controls: Iterable[Control], fields: Mapping[str, Any]) -> tuple[Control, ...]:
    """Return the controls with what the reader wrote in them."""
    return tuple(
        replace(control, value=_written(fields[control.name]), fault="")
        if control.name in fields
        else control
        for control in controls
    )


def read(controls: Iterable[Control]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the arguments that the controls stand for, and by name the faults of those that cannot be read.

    An optional one that is left empty is not given.
    """
    found: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for control in controls:
        if not control.value and (control.kind != "text" or not control.required):
            continue
        if control.kind in ("text", "long"):
            found[control.name] = control.value
            continue
        try:
            found[control.name] = json.loads(control.value)
        except ValueError:
            what = "a number" if control.kind == "number" else "JSON"
            faults[control.name] = f"is to be {what}, got {control.value!r}"
    return found, faults


def faults_in(error: str) -> dict[str, str]:
    """Return the faults that a tool told of, by argument; ``""`` is for what belongs to none."""
    faults: dict[str, str] = {}
    for line in error.splitlines():
        place, separator, fault = line.removeprefix("- ").partition(": ")
        if line.startswith("- ") and separator:
            faults[place.partition(".")[0].partition("[")[0]] = fault
    return faults or {"": error}


def with_faults(controls: Iterable[Control], faults: Mapping[str, str]) -> tuple[Control, ...]:
    """Return the controls with what is wrong at each."""
    return tuple(replace(control, fault=faults.get(control.name, "")) for control in controls)


def _control(name: str, schema: Mapping[str, Any], given: Any, required: bool) -> Control:
    schema = _of_one_type(schema)
    value = schema.get("default") if given is _MISSING else given
    kind = _kind(schema, value)
    written = (
        "" if value is None else value if kind in ("text", "long") else json.dumps(value, ensure_ascii=False)
    )
    return Control(
        name,
        kind,
        str(written),
        required,
        options=tuple(json.dumps(option, ensure_ascii=False) for option in schema.get("enum") or ()),
        min=schema.get("minimum"),
        max=schema.get("maximum"),
        whole=schema.get("type") == "integer",
        hint=str(schema.get("description") or ""),
    )


def _of_one_type(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Look through ``X | None``."""
    others = [one for one in schema.get("anyOf") or () if one.get("type") != "null"]
    return {**schema, **others[0]} if len(others) == 1 else schema


def _kind(schema: Mapping[str, Any], value: Any) -> Kind:
    if schema.get("enum"):
        return "choice"
    match schema.get("type"):
        case "boolean":
            return "flag"
        case "integer" | "number":
            return "number"
        case "string" if value is None or isinstance(value, str):
            return "long" if value and (len(value) > LONG or "\n" in value) else "text"
    return "json"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
