"""The form of a JSON schema: whether it is one at all, to its last corner, before anybody goes by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from nbsession.content import bounded

_SHOWN = 60
_TYPES = frozenset({"string", "integer", "number", "boolean", "array", "object", "null"})

_SCHEMA = ("items", "contains", "propertyNames", "not", "if", "then", "else")
_TABLE = ("properties", "patternProperties", "$defs", "definitions")
_LIST = ("anyOf", "oneOf", "allOf", "prefixItems")


class _Form(NamedTuple):
    """What stands under a word, in words, and what is of it."""

    told: str
    takes: Callable[[Any], bool]


def form_fault(schema: Mapping[str, Any]) -> str:
    """Say what stands in a JSON schema where something else has to, the first of it; ``""`` where nothing does.

    What a word unknown here says is left alone. ``true`` and ``false`` are no schemas but as
    ``additionalProperties``: no provider takes them elsewhere.
    """
    left: list[tuple[str, Any]] = [("", schema)]
    while left:
        place, part = left.pop()
        if not isinstance(part, Mapping):
            return _said(place, "a schema", part)
        for word, value in part.items():
            form = _FORMS.get(word)
            if form is not None and not form.takes(value):
                return _said(f"{place}.{word}", form.told, value)
            left += _inside(f"{place}.{word}", word, value)
    return ""


def _inside(place: str, word: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Give the schemas that stand under a word, each with its place."""
    if word in _SCHEMA or (word == "additionalProperties" and not isinstance(value, bool)):
        yield place, value
    elif word in _TABLE:
        yield from ((f"{place}.{name}", inner) for name, inner in value.items())
    elif word in _LIST:
        yield from ((f"{place}[{n}]", inner) for n, inner in enumerate(value))


def _said(place: str, told: str, value: Any) -> str:
    return f"{place.removeprefix('.')} is to be {told}, got {bounded(repr(value), _SHOWN)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, (list, tuple)) else [value]
    return bool(names) and all(isinstance(name, str) and name in _TYPES for name in names)


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)


_OF_WORDS: Mapping[tuple[str, ...], _Form] = {
    _TABLE: _Form("an object of schemas", lambda value: isinstance(value, Mapping)),
    _LIST: _Form("a list of schemas", lambda value: isinstance(value, (list, tuple)) and len(value) > 0),
    ("title", "description", "$ref", "format", "pattern"): _Form(
        "a text", lambda value: isinstance(value, str)
    ),
    ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"): _Form(
        "a number", _is_number
    ),
    ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"): _Form(
        "a whole number, 0 or more", _is_count
    ),
    ("type",): _Form(f"one or several of {', '.join(sorted(_TYPES))}", _is_type),
    ("enum",): _Form("a list", lambda value: isinstance(value, (list, tuple))),
    ("required",): _Form("a list of names", _are_texts),
}
_FORMS = {word: form for words, form in _OF_WORDS.items() for word in words}
