"""What of a list, dict or set tells later that it was changed in place, as by ``append``, which returns None."""

from __future__ import annotations

from typing import Any

CHANGEABLE: dict[type, str] = {list: "[*kept, item]", dict: "{**kept, key: value}", set: "{*kept, item}"}
"""What may be changed in place, and how a new one is written that has more."""

LONG = 1_000
"""Items of which no copy is made: of so many, it counts how many they are."""


def sketch(value: Any) -> Any:
    """Return of a list, dict or set what ``changed_in_place`` compares it with."""
    return value.copy() if len(value) < LONG else len(value)


def changed_in_place(value: Any, before: Any) -> bool:
    """Say whether a value is another one than when it was sketched; items are the same where they are identical."""
    if before is None:
        return False
    if isinstance(before, int):
        return len(value) != before
    if len(value) != len(before):
        return True
    if isinstance(value, set):
        return bool(value != before)
    if any(one is not other for one, other in zip(value, before, strict=True)):
        return True
    return isinstance(value, dict) and any(value[key] is not before[key] for key in before)
