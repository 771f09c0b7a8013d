"""Which of a server's tools a tree takes, and which of them ask first: names, or shell patterns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeAlias

from nbsession.content import bounded, visible
from nbsession.errors import RenderError, did_you_mean

if TYPE_CHECKING:
    from nbsession.mcp.listing import Listed
    from nbsession.tools.tool import Confirm

Asking: TypeAlias = "Confirm | Collection[str]"
"""Whether a call has to be allowed first: for all tools, by a function, or for those of these names."""


MOST_TOOLS = 500
"""Tools of one server that a model is given; it reads each of them in each context."""


class Choice:
    """What ``only=`` and ``confirm=`` say of the tools of a server. Raises ``RenderError`` for what says nothing."""

    def __init__(self, server: str, only: Any, confirm: Any) -> None:
        self._server = server
        self._only = None if only is None else self._patterns("only", only)
        self._function = confirm if callable(confirm) else None
        self._all = confirm is True
        given = isinstance(confirm, bool) or confirm is None or callable(confirm)
        self._asking: Sequence[str] = () if given else self._patterns("confirm", confirm)

    def __repr__(self) -> str:
        return f"<choice of {self._only} asking {self._asking}>"

    def of(self, listed: Iterable[Listed]) -> list[Listed]:
        """Return the tools that the tree takes."""
        return [item for item in listed if self._takes(item["name"])][:MOST_TOOLS]

    def confirm(self, name: str, listed: Iterable[Listed]) -> bool | Callable[..., Any]:
        """Return what ``Tool(confirm=)`` is for a tool; it is ``True`` where a name is not found: it may be meant."""
        return self._function or self._all or _matches(name, self._asking) or bool(self._lost(_names(listed)))

    def notes(self, listed: Iterable[Listed]) -> Iterator[str]:
        """Tell of names and patterns that no tool has, and of tools that are too many."""
        names = _names(listed)
        for word in _unknown(self._only or (), names):
            yield f"has no tool {word!r}, which only= names{_near(word, names)}"
        for word in self._lost(names):
            yield f"has no tool {word!r}, which confirm= names, so all its tools ask{_near(word, names)}"
        if (count := sum(map(self._takes, names))) > MOST_TOOLS:
            yield f"has {count:,} tools, and {MOST_TOOLS} are given to the model; name those you need in only="

    def _takes(self, name: str) -> bool:
        return self._only is None or _matches(name, self._only)

    def _lost(self, names: Collection[str]) -> list[str]:
        """Return the names, patterns aside, of tools that were to ask, and are not there."""
        return _unknown(filter(_is_name, self._asking), names)

    def _patterns(self, word: str, given: Any) -> tuple[str, ...]:
        if (
            isinstance(given, str)
            or not isinstance(given, Collection)
            or not all(isinstance(name, str) for name in given)
        ):
            also = ", True, False or a function" if word == "confirm" else ""
            raise RenderError(
                f"MCP({self._server!r}) takes {word}= as a list of names or shell patterns{also}, got {given!r}"
            )
        return tuple(given)


def _names(listed: Iterable[Listed]) -> list[str]:
    return [item["name"] for item in listed]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def _is_name(word: str) -> bool:
    return not any(sign in word for sign in "*?[")


def _unknown(words: Iterable[str], names: Collection[str]) -> list[str]:
    return [word for word in words if not any(_matches(name, (word,)) for name in names)]


def _near(word: str, names: Collection[str]) -> str:
    return did_you_mean(word, [bounded(visible(name), 100) for name in names])
