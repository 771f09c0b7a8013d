"""What is said of a value that is no data: its own text, where it has one."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from nbsession.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Callable

_ADDRESS = re.compile(r"<.* at 0x[0-9a-fA-F]+>", re.DOTALL)


def own_text(value: Any) -> str:
    """Return the repr of ``value``, or its ``str`` where that alone says something.

    Raises ``CompileError``, which says what to do, for what has no text of its own: a function, an iterator,
    what is still to be awaited, and an object of which only an address is known.
    """
    kind = type(value).__name__
    if inspect.isroutine(value) or isinstance(value, functools.partial):
        name = getattr(getattr(value, "func", value), "__name__", "it")
        raise CompileError(f"{name} is a {kind}, and not what it gives; call it, and give what it returns")
    if inspect.isawaitable(value):
        raise CompileError(f"{safe_repr(value)} is not awaited yet; await it, and give what comes of it")
    if isinstance(value, Iterator):
        raise CompileError(f"an iterator ({kind}) gives its items only once; give list(…) of it")
    if isinstance(value, AsyncIterator):
        raise CompileError(f"an iterator ({kind}) gives its items only once; give [item async for item in …]")
    said = safe_repr(value)
    if _ADDRESS.fullmatch(said) and _ADDRESS.fullmatch(said := safe_repr(value, str)):
        raise CompileError(
            f"{kind} has no text of its own, only an address: {said}; give what of it is to be read, or a __repr__"
        )
    return said


def safe_repr(value: Any, text: Callable[[Any], str] = repr) -> str:
    """Return the repr of ``value``, or what that raised: a broken one must not lose a tool's result."""
    try:
        return text(value)
    except Exception as error:  # noqa: BLE001  # whatever the author's own method raises is what is told
        return f"({type(value).__name__}, whose {text.__name__} raised {type(error).__name__}: {error})"
