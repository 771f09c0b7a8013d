"""A tool's parameters, read from its JSON schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.models.simulated.words import words

if TYPE_CHECKING:
    from nbsession.content import ToolSpec

DEEPEST = 6
"""References that are followed one after another."""


class Parameter(NamedTuple):
    """One parameter. ``kind`` is its JSON type, ``"enum"``, or ``""`` where the schema says none."""

    name: str
    kind: str
    required: bool
    description: str
    options: tuple[Any, ...] = ()
    format: str = ""
    items: str = ""

    @property
    def label(self) -> str:
        """The name as words."""
        return " ".join(words(self.name)).lower()


def parameters(spec: ToolSpec) -> list[Parameter]:
    """Read the parameters of a tool; what is not understood is a parameter of no kind."""
    schema = _mapping(spec.input_schema)
    definitions = _mapping(schema.get("$defs")) or _mapping(schema.get("definitions"))
    required = schema.get("required")
    names = required if isinstance(required, (list, tuple)) else ()
    return [
        _parameter(str(name), _mapping(inner), definitions, required=name in names)
        for name, inner in _mapping(schema.get("properties")).items()
    ]


def _parameter(
    name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], *, required: bool
) -> Parameter:
    inner = _resolved(schema, definitions)
    options = _options(inner)
    kind = "enum" if options else _kind(inner)
    items = _resolved(_mapping(inner.get("items")), definitions)
    description = schema.get("description") or inner.get("description") or ""
    return Parameter(
        name,
        kind,
        required,
        str(description),
        options or _options(items),
        str(inner.get("format") or ""),
        "enum" if _options(items) else _kind(items),
    )


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
    """Follow references, and of several forms take the first that is not null."""
    if depth > DEEPEST:
        return {}
    if isinstance(reference := schema.get("$ref"), str):
        return _resolved(_mapping(definitions.get(reference.rsplit("/", 1)[-1])), definitions, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        forms = schema.get(key)
        if isinstance(forms, Sequence) and not isinstance(forms, str):
            for form in forms:
                inner = _resolved(_mapping(form), definitions, depth + 1)
                if inner and _kind(inner) != "null":
                    return inner
    return schema


def _options(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    options = schema.get("enum")
    if isinstance(options, (list, tuple)):
        return tuple(option for option in options if option is not None)
    return (schema["const"],) if schema.get("const") is not None else ()


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "")
    if isinstance(kind, (list, tuple)):
        kind = next((one for one in kind if one != "null"), "")
    return kind if isinstance(kind, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
