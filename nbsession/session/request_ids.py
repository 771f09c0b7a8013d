"""Requests that carry an id: the same one is sent once, also across restarts."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NamedTuple

from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession.session.door import Turn


class Left(NamedTuple):
    """Where the message of a request stands of which nothing was sent: after an entry, up to its last one."""

    after: str | None
    last: str | None


class Again:
    """Gives an execution that has ended: the same as long as anybody holds it, then one made of what is kept."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Turn], made: Turn | None = None) -> None:
        self._make = make
        self._made = None if made is None else weakref.ref(made)

    def __call__(self) -> Turn:
        """Return the execution."""
        execution = None if self._made is None else self._made()
        if execution is None:
            execution = self._make()
            self._made = weakref.ref(execution)
        return execution


class RequestIds:
    """What became of the requests of one session, by their ids; a digest stands for the message of each."""

    __slots__ = ("_left", "_sent")

    def __init__(self) -> None:
        self._sent: dict[str, tuple[str, Callable[[], Turn]]] = {}
        self._left: dict[str, tuple[str, Left]] = {}

    def remember(self, request_id: str, digest: str, execution: Callable[[], Turn]) -> None:
        """Note what gives the execution of a request."""
        self._sent[request_id] = (digest, execution)
        self._left.pop(request_id, None)

    def leave(self, request_id: str, digest: str, left: Left) -> None:
        """Note that a request may be sent again, and where its message stands."""
        self._sent.pop(request_id, None)
        self._left[request_id] = (digest, left)

    def begin(self, execution: Turn) -> None:
        """Note whose request an execution is that has not ended."""
        if execution.request is not None:
            request_id, digest = execution.request
            self._sent[request_id] = (digest, lambda: execution)

    def end(self, execution: Turn, again: Callable[[], Turn]) -> None:
        """Note how an execution is made again; one that was withdrawn before it began is forgotten."""
        if execution.request is None:
            return
        if execution.withdrawn:
            del self._sent[execution.request[0]]
        elif execution.left is not None:
            self.leave(*execution.request, execution.left)
        else:
            self.remember(*execution.request, Again(again, execution))

    def find(self, request_id: str, digest: str) -> Turn | None:
        """Return the execution of a request that was sent before; ``SessionError`` where its message was another."""
        if request_id not in self._sent:
            return None
        sent, execution = self._sent[request_id]
        if sent != digest:
            raise SessionError(
                f"request {request_id!r} was sent before with another message; use another request_id for a new message"
            )
        return execution()

    def known(self, request_id: str) -> Turn | None:
        """Return the execution of a request that was sent before, whatever its message was."""
        return self._sent[request_id][1]() if request_id in self._sent else None

    def left(self, request: tuple[str, str] | None) -> Left | None:
        """Say where an earlier try of a request (its id and digest) left the message, ``None`` where there was none."""
        if request is None or request[0] not in self._left:
            return None
        sent, left = self._left[request[0]]
        return left if sent == request[1] else None
