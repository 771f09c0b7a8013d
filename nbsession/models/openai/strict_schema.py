"""JSON schemas in the narrower form that strict structured output asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TABLES = ("properties", "$defs", "definitions")
_UNIONS = ("anyOf", "oneOf")
_NEVER = ("allOf", "prefixItems", "patternProperties", "not", "if")
_LEFT_OUT = ("default", "discriminator", "uniqueItems")
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")


class _Loose(Exception):
    """The schema has no strict form."""


def strict(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return ``schema`` with every object closed and every property required, or ``None``.

    A property with a default is then always written, which the model class takes
    as well. There is no strict form of what is not an object, of objects with free
    keys, of tuples, and of a reference that would have to be written out within itself.
    """
    try:
        result = _strict(schema, schema, ())
    except _Loose:
        return None
    return result if result.get("type") == "object" else None


def _strict(schema: Mapping[str, Any], root: Mapping[str, Any], inside: tuple[str, ...]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is not None and len(schema) > 1:
        # Beside a reference nothing else may stand, so it is written out.
        if reference in inside:
            raise _Loose
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        return _strict({**_at(root, reference), **beside}, root, (*inside, reference))
    result: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _NEVER:
            raise _Loose
        if name in _TABLES:
            result[name] = {key: _strict(item, root, inside) for key, item in value.items()}
        elif name in _UNIONS:
            result["anyOf"] = [_strict(item, root, inside) for item in value]
        elif name == "items":
            result[name] = _strict(value, root, inside)
        elif name not in _LEFT_OUT and (name != "format" or value in _FORMATS):
            result[name] = value
    if schema.get("type") == "object":
        if schema.get("additionalProperties"):
            raise _Loose
        result["properties"] = result.get("properties", {})
        result["required"] = list(result["properties"])
        result["additionalProperties"] = False
    return result


def _at(root: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    found: Any = root
    try:
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
    except (LookupError, TypeError):
        raise _Loose from None
    if not isinstance(found, Mapping):
        raise _Loose
    return found
