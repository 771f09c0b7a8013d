"""Who may ask: one token for one user, or a file of them, each user's sessions apart.

A token is kept as its hash, looked up by that, and compared in constant time; it is in no log, no
answer and no address.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from starlette.datastructures import Headers

EVERYBODY = ""
"""The name of the user where there is only one."""

SHORTEST = 16
"""Characters of a token that somebody chose."""

SUBPROTOCOL = "bearer."
"""What a page's socket says its token behind, for it can set no header."""


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(24)


class Users:
    """The users by their tokens; without any, everybody is the one user.

    Raises ``SessionError`` for a token of less than 16 characters.
    """

    def __init__(self, tokens: Mapping[str, str] | None = None) -> None:
        for token, name in (tokens or {}).items():
            if len(token) < SHORTEST:
                whose = f"of {name!r} " if name else ""
                raise SessionError(
                    f"a token {whose}has less than {SHORTEST} characters; nbsession.server.new_token() makes one"
                )
        self._names = {_digest(token): name for token, name in (tokens or {}).items()}

    @property
    def known(self) -> bool:
        """Whether a token is needed."""
        return bool(self._names)

    @property
    def several(self) -> bool:
        """Whether users have names, and their sessions apart."""
        return any(name != EVERYBODY for name in self._names.values())

    def find(self, headers: Headers) -> str | None:
        """Return the name of the user whose token a request has, ``None`` for nobody's."""
        if not self._names:
            return EVERYBODY
        given = _digest(token_in(headers))
        found = None
        name = self._names.get(given)
        for known in self._names if name is not None else ():
            if hmac.compare_digest(known, given):
                found = name
        return found


def token_in(headers: Headers) -> str:
    """Return the token that a request has: in its ``Authorization``, or in a socket's subprotocol."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    tokens = (item.removeprefix(SUBPROTOCOL) for item in offered_in(headers) if item.startswith(SUBPROTOCOL))
    return next(tokens, "")


def offered_in(headers: Headers) -> list[str]:
    """Return the subprotocols that a socket's client offers; Uvicorn before 0.51 gives them as one."""
    return [item.strip() for line in headers.getlist("sec-websocket-protocol") for item in line.split(",")]


def tokens_of(path: Path) -> dict[str, str]:
    """Read a file of users, a name and a token a line, and return the names by token.

    Empty lines and what follows ``#`` at a line's beginning are left out. Raises ``SessionError`` for a line of
    another form, a token of less than 16 characters, one that two have, and a file without users.
    """
    tokens: dict[str, str] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise SessionError(f"line {number} of {path} is not a name and a token, with a blank between")
        name, token = words
        if token in tokens:
            raise SessionError(f"{tokens[token]!r} and {name!r} have the same token in {path}")
        tokens[token] = name
    if not tokens:
        raise SessionError(f"{path} has no users; write a name and a token a line")
    return tokens


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
