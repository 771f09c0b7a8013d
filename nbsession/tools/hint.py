"""A type hint in the form that pydantic takes it in."""

from __future__ import annotations

import collections.abc
import sys
import types
import typing
from typing import Annotated, Any, Literal, Union

_LISTS = (collections.abc.Iterable, collections.abc.Collection)
"""What pydantic refuses, or reads so late that its faults would seem the tool's own; a list is each of them."""


def readable(hint: Any) -> Any:
    """Return ``hint`` with what pydantic does not take, in any depth, as something equal that it takes.

    On Python 3.11 it takes ``TypedDict`` from ``typing_extensions`` only. Raises ``NameError`` for a
    ``TypedDict`` whose own hints cannot be read.
    """
    return _Reading().of(hint)


class _Reading:
    """One hint being read: the ``TypedDict``s met so far, which may name themselves."""

    def __init__(self, known: dict[type, Any] | None = None, values: dict[Any, Any] | None = None) -> None:
        self._known: dict[type, Any] = {} if known is None else known
        self._values = values or {}

    def of(self, hint: Any) -> Any:
        if hint is typing.LiteralString:
            return str
        if hint is typing.Final:
            return Any
        if hint in _LISTS:
            return list
        if _is_typed_dict(hint):
            return self._typed_dict(hint)
        if isinstance(hint, typing.TypeVar):
            return self._values.get(hint, hint)
        origin, found = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Final:  # with a default, pydantic takes it for a constant of the class
            return self.of(found[0])
        if origin is Annotated:
            return Annotated[(self.of(found[0]), *found[1:])]
        if origin is None or origin is Literal or origin is collections.abc.Callable:
            return hint
        arguments = tuple(self.of(argument) for argument in found)
        if origin in _LISTS:
            return types.GenericAlias(list, arguments) if arguments else list
        if _is_typed_dict(origin):
            return self._typed_dict(origin, dict(zip(origin.__parameters__, arguments, strict=True)))
        if all(new is old for new, old in zip(arguments, found, strict=True)):
            return hint
        if origin is types.UnionType:
            return Union[arguments]  # noqa: UP007  # it is a value, not an annotation
        return hint.copy_with(arguments) if hasattr(hint, "copy_with") else origin[arguments]

    def _typed_dict(self, of: Any, values: dict[Any, Any] | None = None) -> Any:
        from typing_extensions import TypedDict

        if values is None and of in self._known:
            return self._known[of]
        made: Any = TypedDict(of.__name__, {})  # type: ignore[misc]  # its keys follow: they may name it
        made.__doc__, made.__module__, made.__qualname__ = of.__doc__, of.__module__, of.__qualname__
        if values is None:
            self._known[of] = made
        inner = _Reading(self._known, values)
        required = set()
        for key, hint in typing.get_type_hints(of, include_extras=True).items():
            needed = key in of.__required_keys__
            origin = typing.get_origin(hint)
            if origin in (typing.Required, typing.NotRequired):  # in text, Python does not see it
                needed = origin is typing.Required
                (hint,) = typing.get_args(hint)
            made.__annotations__[key] = inner.of(hint)
            if needed:
                required.add(key)
        made.__required_keys__ = frozenset(required)
        made.__optional_keys__ = frozenset(made.__annotations__) - made.__required_keys__
        return made


def _is_typed_dict(hint: Any) -> bool:
    return sys.version_info < (3, 12) and isinstance(hint, type) and typing.is_typeddict(hint)
