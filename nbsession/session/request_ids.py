"""Requests that carry an id: the same one is sent once, also across restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession.session.door import Turn


class RequestIds:
    """The executions of one session by the id of the request that began them."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Turn | Callable[[], Turn]]] = {}

    def remember(self, request_id: str, digest: str, execution: Turn | Callable[[], Turn]) -> None:
        """Note whose request an execution is, or how it is made again; ``digest`` stands for the message."""
        self._known[request_id] = (digest, execution)

    def find(self, request_id: str, digest: str) -> Turn | None:
        """Return the execution of a request that was sent before; ``SessionError`` where its message was another.

        One that was withdrawn before it began was not sent: nothing of it is kept anywhere.
        """
        if request_id not in self._known:
            return None
        sent, execution = self._known[request_id]
        if callable(execution):
            execution = execution()
            self._known[request_id] = (sent, execution)
        if execution.withdrawn:
            return None
        if sent != digest:
            raise SessionError(
                f"request {request_id!r} was sent before with another message; use another request_id for a new message"
            )
        return execution
