"""When two values are the same for sure, so that rendering again can be left out.

The rule is sound by default: only immutable values count. A list, a dict or an
object of one's own may have been changed in place, so even the identical one
counts as another.
"""

from __future__ import annotations

from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, NoneType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_DISCRETE: frozenset[type] = frozenset({str, bytes, int, bool, NoneType, type(...)})
_FLOATING: frozenset[type] = frozenset({float, complex})


class Stable:
    """Base of values that are the same as long as they are the identical object."""

    __slots__ = ()


STABLE: set[type] = {*_DISCRETE, *_FLOATING, FunctionType, BuiltinFunctionType, MethodType, type}
"""Exact types whose identical object is the same; a shortcut before ``stable``."""


def unchanged(old: object, new: object) -> bool:
    """Say whether two values are equal immutable atoms: text, bytes, numbers, bools, None, tuples of those.

    The types have to be the same as well: ``1``, ``1.0`` and ``True`` differ.
    """
    kind = type(old)
    if kind is not type(new):
        return False
    if kind in _DISCRETE:
        return bool(old == new)
    if kind in _FLOATING:
        # 0.0 == -0.0, yet they read differently.
        return old is new or (old == new and repr(old) == repr(new))
    if isinstance(old, tuple) and isinstance(new, tuple) and kind is tuple:
        return len(old) == len(new) and all(map(unchanged, old, new))
    if isinstance(old, frozenset) and isinstance(new, frozenset) and kind is frozenset:
        return _discrete(old) == _discrete(new) is not None
    return False


def _discrete(values: frozenset[object]) -> set[tuple[type, object]] | None:
    """Return the values with their types, or None where one is not plainly comparable."""
    typed = {(type(value), value) for value in values}
    return typed if all(kind in _DISCRETE for kind, _ in typed) else None


def stable(value: object) -> bool:
    """Say whether ``value``, being the identical object, is the same: it cannot have been changed in place."""
    kind = type(value)
    if kind in STABLE:
        return True
    if isinstance(value, tuple) and kind is tuple:
        return all(map(stable, value))
    if isinstance(value, frozenset) and kind is frozenset:
        return _discrete(value) is not None
    return isinstance(value, (Stable, Enum, type))


def same(old: object, new: object) -> bool:
    """Say whether a property or child is the same for sure."""
    if old is new:
        return type(new) in STABLE or stable(new)
    if type(old) is tuple and type(new) is tuple:
        return same_items(old, new)
    return unchanged(old, new)


def same_items(old: Sequence[object], new: Sequence[object]) -> bool:
    """Say whether two sequences have the same items for sure."""
    return len(old) == len(new) and all(map(same, old, new))


def same_props(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Say whether two sets of properties are the same for sure."""
    if len(old) != len(new):
        return False
    try:
        for name, value in new.items():
            before = old[name]
            kind = type(value)
            # The first two are shortcuts: properties are mostly plain atoms.
            if before is value:
                if kind not in STABLE and not stable(value):
                    return False
            elif kind in _DISCRETE:
                if kind is not type(before) or before != value:
                    return False
            elif not same(before, value):
                return False
    except KeyError:
        return False
    return True


def same_deps(old: Sequence[object] | None, new: Sequence[object] | None) -> bool:
    """Say whether a hook's dependencies are the same: identical objects, as in React, or equal atoms."""
    if old is None or new is None or len(old) != len(new):
        return False
    return all(a is b or unchanged(a, b) for a, b in zip(old, new, strict=True))
