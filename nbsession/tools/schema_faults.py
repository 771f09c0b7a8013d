"""What a JSON schema does not take in a value: the words that pydantic makes schemas of, and a sentence for each fault."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

from nbsession.content import bounded

_SHOWN = 80
_LISTED = 500
_NOTHING = object()


class Fault(NamedTuple):
    """What is wrong at a place in a value; ``wanted`` is what is to stand there."""

    path: tuple[str | int, ...]
    wanted: str
    got: Any = _NOTHING

    def within(self, steps: int) -> Fault:
        """Return it as seen from some steps further in."""
        return self._replace(path=self.path[steps:])

    def __str__(self) -> str:
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        got = "" if self.got is _NOTHING else f", got {_shown(self.got)}"
        return f"{place.removeprefix('.')}: is to be {self.wanted}{got}".removeprefix(": ")


def faults_against(schema: Any, value: Any) -> list[Fault]:
    """Return what a schema does not take in a value, which is JSON data.

    A word that pydantic does not use is left unchecked, as is a reference out of the schema.
    """
    return list(_Schema(schema).faults(schema, value, ()))


class _Schema:
    """A whole schema, in which references are looked up."""

    def __init__(self, root: Any) -> None:
        self._root = root

    def faults(self, schema: Any, value: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
        if isinstance(schema, bool):
            if not schema:
                yield Fault(path, "left out", value)
            return
        if "$ref" in schema:
            yield from self.faults(self._at(schema["$ref"]), value, path)
        for part in schema.get("allOf", ()):
            yield from self.faults(part, value, path)
        for word in ("anyOf", "oneOf"):
            if word in schema:
                yield from self._of_any(schema[word], value, path)
        wanted = _wanted(schema, value)
        if wanted:
            yield Fault(path, wanted, value)
        elif isinstance(value, Mapping):
            yield from self._of_object(schema, value, path)
        elif isinstance(value, list):
            first = schema.get("prefixItems", ())
            for n, item in enumerate(value):
                inner = first[n] if n < len(first) else schema.get("items", True)
                yield from self.faults(inner, item, (*path, n))

    def _of_object(self, schema: Any, value: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
        properties, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield Fault((*path, name), "filled in")
        for name, item in value.items():
            yield from self.faults(schema.get("propertyNames", True), name, (*path, name))
            inner = [part for pattern, part in patterns.items() if _matches(pattern, name)]
            if name in properties:
                inner.append(properties[name])
            for part in inner or [schema.get("additionalProperties", True)]:
                yield from self.faults(part, item, (*path, name))

    def _of_any(self, parts: Any, value: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
        """Give what the nearest of several schemas does not take, or what all of them want."""
        tried = [list(self.faults(part, value, path)) for part in parts]
        if all(tried):
            near = [faults for faults in tried if all(fault.path != path for fault in faults)]
            here = dict.fromkeys(fault.wanted for faults in tried for fault in faults if fault.path == path)
            yield from min(near, key=len) if near else [Fault(path, " or ".join(here), value)]

    def _at(self, reference: str) -> Any:
        found = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            found = found.get(step.replace("~1", "/").replace("~0", "~"), True)
            if found is True:
                break
        return found if reference.startswith("#") else True


def _wanted(schema: Mapping[str, Any], value: Any) -> str:
    """Say what is to stand in place of a value, whatever is inside it; ``""`` where the value may."""
    types = schema.get("type", ())
    kinds = [_TYPES.get(name, _ANYTHING) for name in ([types] if isinstance(types, str) else types)]
    if kinds and not any(kind.takes(value) for kind in kinds):
        return " or ".join(kind.told for kind in kinds)
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if choices is not None and not any(_same(value, choice) for choice in choices):
        listed = bounded(", ".join(_shown(choice) for choice in choices), _LISTED)
        return f"one of {listed}" if len(choices) > 1 else listed
    for word, (kind, fits, told) in _BOUNDS.items():
        bounds = word in schema and isinstance(value, kind) and not isinstance(value, bool)
        if bounds and not fits(value, schema[word]):
            return told.format(schema[word])
    of_format = _FORMATS.get(schema.get("format", ""))
    if of_format is not None and isinstance(value, str) and not _reads(of_format[0], value):
        return of_format[1]
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class _Kind(NamedTuple):
    """A type of JSON, in words, and what is of it."""

    told: str
    takes: Callable[[Any], bool]


_ANYTHING = _Kind("anything", lambda _: True)

_TYPES = {
    "string": _Kind("a text", lambda value: isinstance(value, str)),
    "integer": _Kind("a whole number", lambda value: _is_number(value) and value == value // 1),
    "number": _Kind("a number", _is_number),
    "boolean": _Kind("true or false", lambda value: isinstance(value, bool)),
    "array": _Kind("a list, as JSON", lambda value: isinstance(value, list)),
    "object": _Kind("an object, as JSON", lambda value: isinstance(value, dict)),
    "null": _Kind("null", lambda value: value is None),
}

_BOUNDS: dict[str, tuple[Any, Callable[[Any, Any], bool], str]] = {
    "minimum": ((int, float), lambda value, bound: value >= bound, "at least {}"),
    "exclusiveMinimum": ((int, float), lambda value, bound: value > bound, "more than {}"),
    "maximum": ((int, float), lambda value, bound: value <= bound, "at most {}"),
    "exclusiveMaximum": ((int, float), lambda value, bound: value < bound, "less than {}"),
    "multipleOf": (
        (int, float),
        lambda value, step: Fraction(str(value)) % Fraction(str(step)) == 0,
        "a multiple of {}",
    ),
    "minLength": (str, lambda value, least: len(value) >= least, "at least {} characters long"),
    "maxLength": (str, lambda value, most: len(value) <= most, "at most {} characters long"),
    "pattern": (str, lambda value, pattern: _matches(pattern, value), "a text that matches {}"),
    "minItems": (list, lambda value, least: len(value) >= least, "a list of at least {} items"),
    "maxItems": (list, lambda value, most: len(value) <= most, "a list of at most {} items"),
    "uniqueItems": (list, lambda value, once: not once or _unlike(value), "a list that has no item twice"),
    "minProperties": (dict, lambda value, least: len(value) >= least, "an object of at least {} fields"),
    "maxProperties": (dict, lambda value, most: len(value) <= most, "an object of at most {} fields"),
}

_FORMATS: dict[str, tuple[Any, str]] = {
    "date": (dt.date, "a date, as 2026-01-31"),
    "date-time": (dt.datetime, "a date and time, as 2026-01-31T12:00:00"),
    "time": (dt.time, "a time, as 12:00:00"),
    "duration": (dt.timedelta, "a length of time, as PT1H30M"),
    "uuid": (uuid.UUID, "a UUID"),
}


def _same(one: Any, other: Any) -> bool:
    """Say whether two values are one in JSON, where ``true`` is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _unlike(items: list[Any]) -> bool:
    return len({json.dumps(item, sort_keys=True) for item in items}) == len(items)


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:  # pydantic's own patterns know words that Python's do not
        return True


@cache
def _adapter(hint: Any) -> Any:
    from pydantic import TypeAdapter  # heavy, and here already as a rule

    return TypeAdapter(hint)


def _reads(hint: Any, text: str) -> bool:
    try:
        _adapter(hint).validate_json(json.dumps(text), strict=True)
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    return bounded(json.dumps(value, ensure_ascii=False), _SHOWN)
