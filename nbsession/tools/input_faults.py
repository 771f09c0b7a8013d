"""A tool input's faults, in words that a model can act on: one line each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nbsession.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

_SHOWN = 80


def unknown_parameters(given: Iterable[str], known: Collection[str]) -> list[str]:
    """Tell of each name that is none of the known ones."""
    return [
        f"{name}: unknown parameter{did_you_mean(str(name), sorted(known))}"
        for name in given
        if name not in known
    ]


def explain(errors: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tell pydantic's errors: the parameter, what was expected, what was given.

    Errors of a union's members, which all refuse one value, make one line.
    """
    groups: list[list[Mapping[str, Any]]] = []
    for error in errors:
        last = groups[-1][-1] if groups else None
        if last is not None and _same_value(last, error):
            groups[-1].append(error)
        else:
            groups.append([error])
    return [_line(group) for group in groups]


def _same_value(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    # A missing field's input is the object around it, which other fields of it share.
    if "missing" in (one["type"], other["type"]):
        return False
    return (
        one["input"] is other["input"] and one["loc"][:1] == other["loc"][:1] and one["loc"] != other["loc"]
    )


def _line(group: Sequence[Mapping[str, Any]]) -> str:
    first = group[0]
    place = first["loc"]
    for error in group[1:]:
        place = _common(place, error["loc"])
    where = _path(place) or "input"
    if first["type"] == "missing":
        return f"{where}: required, but not given"
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown parameter"
    expected = list(dict.fromkeys(_expectation(error["msg"]) for error in group))
    return f"{where}: {', or '.join(expected)}; got {_shown(first['input'])}"


def _common(one: Sequence[Any], other: Sequence[Any]) -> Sequence[Any]:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return one[:length]


def _path(place: Sequence[Any]) -> str:
    path = ""
    for step in place:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else str(step)
    return path


def _expectation(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if message.startswith("Input should be "):
        return "expected " + message.removeprefix("Input should be ")
    return message[:1].lower() + message[1:]


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
