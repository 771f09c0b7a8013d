"""How a server is reached: by a command that is started, or at a URL."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from nbsession.content import bounded, visible
from nbsession.errors import RenderError

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Link:
    """A command with what is added to its environment, or a URL with headers; ``mark`` tells one server from another."""

    command: tuple[str, ...] = ()
    url: str = ""
    env: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def mark(self) -> str:
        """A word for the server that is kept with the state, where no secret of a URL or command is to stand."""
        return hashlib.sha256(json.dumps([self.command, self.url]).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        """The command or the URL, without what is secret in a URL."""
        if self.command:
            return bounded(visible(shlex.join(self.command)), _SHOWN)
        parts = urlsplit(self.url)
        return bounded(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}", _SHOWN)


def link_of(
    name: str,
    command: str | Sequence[str] | None,
    url: object,
    env: Mapping[str, str] | None,
    headers: Mapping[str, str] | None,
) -> Link:
    """Return how the server ``name`` is reached; ``RenderError`` where that is not said, or not in words that fit."""
    if (command is None) == (url is None):
        raise RenderError(f"MCP({name!r}) takes either command=[…], to start a server, or url=, to reach one")
    for word, given, its in (("env", env, command), ("headers", headers, url)):
        if given and its is None:
            raise RenderError(
                f"MCP({name!r}) takes {word}= only with {'command' if word == 'env' else 'url'}="
            )
        if given and not all(isinstance(text, str) for pair in given.items() for text in pair):
            raise RenderError(f"MCP({name!r}) takes {word}= as names and texts, got {_kinds(given)}")
    if url is not None:
        if not isinstance(url, str) or not _is_web(url):
            raise RenderError(f"MCP({name!r}) takes url= as http://… or https://…, got {url!r}")
        return Link(url=url, headers=tuple((headers or {}).items()))
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command or ())
    except ValueError as error:
        raise RenderError(f"MCP({name!r}): the command {command!r} cannot be read: {error}") from error
    if not words or not words[0] or not all(isinstance(word, str) for word in words):
        raise RenderError(f"MCP({name!r}) takes command= as a list of texts, or a line, got {command!r}")
    return Link(command=tuple(words), env=tuple((env or {}).items()))


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _kinds(given: Mapping[Any, Any]) -> str:
    """Say which names have what values, without a value: it may be a secret."""
    return ", ".join(f"{name!r}: {type(value).__name__}" for name, value in given.items())
