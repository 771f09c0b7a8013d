"""Telling one version of a function from another, also in the next process."""

from __future__ import annotations

import dis
import functools
import hashlib
from types import CodeType, MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PLAIN = (str, bytes, int, float, complex, bool, type(None))


def fingerprint(function: Any) -> str:
    """Return a hash (hex) of what a callable does, as far as that can be seen: its code, defaults and closure.

    Of the values it was made with, those count that cannot change, and what other
    callables among them do: those it decorates, closes over, binds or holds as an object.
    The same source gives the same hash in every process of one Python version; a
    callable without code of its own gives that of its type's name.
    """
    digest = hashlib.sha256()
    met = [function]
    for found in met:  # which grows: each callable counts once, however many hold it
        for piece in _pieces(found, met):
            digest.update(piece + b"\0")
    return digest.hexdigest()


def _pieces(function: Any, met: list[Any]) -> Iterator[bytes]:
    while isinstance(function, functools.partial):
        yield from _values([*function.args, *sorted(function.keywords.items())], met)
        function = function.func
    held = [value for value in _attributes(function) if _is_function(value)]
    function = getattr(function, "__func__", function)
    if not hasattr(function, "__code__"):
        yield type(function).__qualname__.encode()
        function = getattr(type(function).__call__, "__func__", type(function).__call__)
    code = getattr(function, "__code__", None)
    if code is not None:
        yield from _code(code, met)
        yield from _values(
            [*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items())], met
        )
        own = _rebound(code)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if name not in own:
                yield from _values([name, _content(cell)], met)
    yield from _values(held, met)


def _attributes(function: Any) -> Iterable[Any]:
    """Give what a callable has as attributes, ``__wrapped__`` where it decorates, and the object it is bound to."""
    held = list(getattr(function, "__dict__", {}).values())
    if isinstance(function, MethodType) and not isinstance(function.__self__, type):
        held += getattr(function.__self__, "__dict__", {}).values()
    return held


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, type)


def _code(code: CodeType, met: list[Any]) -> Iterator[bytes]:
    yield code.co_code
    yield from _values(code.co_names, met)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant, met)
        else:
            yield from _values([constant], met)


def _values(values: Iterable[Any], met: list[Any]) -> Iterator[bytes]:
    """Give what can be told of values that never change; of others, a list say, that they are there.

    Callables among them are met, and told after this.
    """
    for value in values:
        if isinstance(value, _PLAIN):
            yield repr(value).encode("utf-8", "surrogatepass")
        elif isinstance(value, tuple):
            yield from _values(value, met)
        elif isinstance(value, frozenset):
            yield from sorted(_values(value, met))
        else:
            yield type(value).__qualname__.encode()
            if _is_function(value) and not any(value is known for known in met):
                met.append(value)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _rebound(code: CodeType) -> set[str]:
    """Name the variables from around it that a function assigns itself, as a counter is."""
    return {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_DEREF"}
