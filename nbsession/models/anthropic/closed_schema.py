"""JSON schemas in the form that Anthropic's structured output takes.

Its objects are closed, and it knows few constraints. The others are told to the
model in the description: whoever reads the answer checks them anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbsession.errors import ModelError

_COMMON = ("$ref", "type", "enum", "const", "title", "description")
_FORMATS = (
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "uri",
    "ipv4",
    "ipv6",
    "uuid",
)


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``schema`` with closed objects and without the constraints that the API refuses.

    Raises ``ModelError`` for an object with free keys, which would come back empty.
    """
    return _closed(schema, "the answer")


def _closed(schema: Mapping[str, Any], place: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    told: list[str] = []
    for name, value in schema.items():
        if name in ("properties", "$defs"):
            result[name] = {key: _closed(item, repr(key)) for key, item in value.items()}
        elif name in ("anyOf", "oneOf", "allOf"):
            kind = "allOf" if name == "allOf" else "anyOf"
            result[kind] = [_closed(item, place) for item in value]
        elif name == "items" and isinstance(value, Mapping):
            result[name] = _closed(value, place)
        elif name in _COMMON or _is_known(name, value):
            result[name] = value
        elif name not in ("required", "additionalProperties", "discriminator"):
            told.append(f"{name}: {value}")
    if schema.get("type") == "object":
        if schema.get("additionalProperties"):
            raise ModelError(
                f"{place} is an object with free keys, which structured output cannot hold; "
                "name its fields, or make it a list of pairs",
                kind="request",
            )
        result["additionalProperties"] = False
        result["required"] = list(schema.get("required", ()))
    if "$ref" in result:
        return {"$ref": result["$ref"], **({"$defs": result["$defs"]} if "$defs" in result else {})}
    if told:
        said = f"({'; '.join(told)})"
        result["description"] = f"{result['description']} {said}" if "description" in result else said
    return result


def _is_known(name: str, value: Any) -> bool:
    return (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1))
