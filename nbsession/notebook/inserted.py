"""Expressions in a prompt: ``{{df.head()}}`` stands for what it gives, worked out once in the notebook's names.

Single braces stay as they are, and so does what was inserted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.content import Text, result_content
from nbsession.errors import NbsessionError, SessionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import CodeType

RAW = "--raw sends the braces as they stand"


class Inserted(NamedTuple):
    """An expression that a message was made with, and the size of what it gave, in words."""

    expression: str
    size: str = ""


class Filled(NamedTuple):
    """A message with its expressions worked out: a text, or a list of texts, frames, pictures and figures."""

    message: Any
    inserted: tuple[Inserted, ...] = ()


def filled(text: str, names: Mapping[str, Any]) -> Filled:
    """Work out the expressions of a text, each once, in order.

    A text stands where its expression stood, and so do numbers and data (as JSON); frames,
    pictures and figures become pieces of content there. Raises ``SessionError`` that names the expression where it cannot be read,
    raises, or gives what cannot be said; nothing is sent then.
    """
    pieces: list[Any] = []
    inserted: list[Inserted] = []
    for piece in _pieces(text):
        if isinstance(piece, str):
            said: Any = piece
        else:
            said, size = piece.said(names)
            inserted.append(Inserted(piece.source, size))
        if isinstance(said, str) and pieces and isinstance(pieces[-1], str):
            pieces[-1] += said
        else:
            pieces.append(said)
    whole = pieces[0] if len(pieces) == 1 and isinstance(pieces[0], str) else pieces
    return Filled(whole if pieces else text, tuple(inserted))


def size_of(value: Any) -> str:
    """Say how large a value is: rows of a frame, items of a collection, characters of a longer text."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape and all(isinstance(n, int) for n in shape):
        return _count(shape[0], "row") if len(shape) < 3 and hasattr(value, "iloc") else f"shape {shape}"
    if isinstance(value, str):
        return _count(len(value), "character") if len(value) > 40 else ""
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        return _count(len(value), "item")
    return "" if isinstance(value, (bool, int, float)) or value is None else type(value).__name__


class _Expression(NamedTuple):
    source: str
    code: CodeType

    def said(self, names: Mapping[str, Any]) -> tuple[Any, str]:
        """Return what stands for the expression, and the size of what it gave."""
        try:
            value = eval(self.code, dict(names))  # noqa: S307  # the cell's own author wrote it
        except Exception as error:
            raise self._fault(f"raised {_named(error)}") from error
        try:
            return _said(value), size_of(value)
        except NbsessionError as error:
            raise self._fault(f"cannot be said: {error}") from error
        except Exception as error:  # what an object's own methods raise
            raise self._fault(f"cannot be said: {_named(error)}") from error

    def _fault(self, told: str) -> SessionError:
        return SessionError(f"{{{{{self.source}}}}} {told}; nothing was sent ({RAW})")


def _pieces(text: str) -> Iterator[str | _Expression]:
    """Split a text into what stands as it is, and its expressions."""
    rest = text
    while True:
        before, opened, behind = rest.partition("{{")
        if before:
            yield before
        if not opened:
            return
        if "}}" not in behind:
            yield opened + behind
            return
        expression, rest = _read(behind)
        yield expression


def _read(behind: str) -> tuple[_Expression, str]:
    """Read an expression up to the first ``}}`` that ends one: it may hold braces itself."""
    fault: SyntaxError | None = None
    end = behind.find("}}")
    while end >= 0:
        # Of three braces the first is the expression's own: {{ {"a": 1}}}
        stop = end + 1 if behind[end + 2 : end + 3] == "}" and _is_whole(behind[: end + 1]) else end
        source = behind[:stop].strip()
        try:
            return _Expression(" ".join(source.split()), _compiled(source)), behind[stop + 2 :]
        except (SyntaxError, ValueError) as error:
            fault = fault or (error if isinstance(error, SyntaxError) else None)
        end = behind.find("}}", end + 1)
    first = behind[: behind.find("}}")].strip()
    why = f": {fault.msg}" if fault is not None and fault.msg else ""
    raise SessionError(f"{{{{{first}}}}} is no Python expression{why}; nothing was sent ({RAW})")


def _compiled(source: str) -> CodeType:
    """Compile an expression; lines of one go on as between parentheses."""
    whole = f"({source}\n)" if "\n" in source else source
    return compile(whole, "<prompt>", "eval")


def _is_whole(source: str) -> bool:
    try:
        _compiled(source.strip())
    except (SyntaxError, ValueError):
        return False
    return True


def _said(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (bool, int, float)):
        return str(value)
    content = result_content(value)
    if len(content) == 1 and isinstance(content[0], Text) and "\n" not in content[0].text:
        return content[0].text
    return list(content)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _count(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"
