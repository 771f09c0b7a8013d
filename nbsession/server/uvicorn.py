"""Uvicorn, as it is used here: on whichever loop, quiet, patient to a point, and ending what is ours before it waits for connections."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from nbsession.server.gateway import Gateway

UNREAD = 100_000
"""Bytes that a socket's client may leave unread and still have its pings answered."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A socket's protocol that writes no headers, which hold the token, into a log, and answers no flood of pings."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.conn.debug = False

    def handle_ping(self) -> None:
        if self.transport.get_write_buffer_size() > UNREAD:
            self.transport.abort()
        else:
            super().handle_ping()


class Uvicorn(uvicorn.Server):
    """One server. ``signals`` says whether it ends by them: not where others have the main thread."""

    def __init__(self, app: Any, gateway: Gateway, *, grace: float, signals: bool) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=5,
                http="h11",  # which bounds a request's head
                ws=WebSocketProtocol,
                ws_max_size=1_000_000,
            )
        )
        self._gateway = gateway
        self._grace = grace
        self._signals = signals
        self._standing: WeakKeyDictionary[Any, tuple[float, object]] = WeakKeyDictionary()
        self._shut_down = False

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await super().serve(sockets)
        if self.started and not self._shut_down:  # as older releases leave one that is to end while it begins
            await self.shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # once a second
            self._cut_off_stalled()
        return await super().on_tick(counter)

    def _cut_off_stalled(self) -> None:
        """Cut off who neither sends the head of a request whole nor takes what is sent, for longer than the limits allow."""
        now = time.monotonic()
        for connection in list(self.server_state.connections):
            since, before = self._standing.get(connection, (now, None))
            standing = _awaited(connection)
            if standing is None or standing != before:
                self._standing[connection] = (now, standing)
            elif now - since > self._gateway.limits.stalled:
                connection.transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._shut_down = True
        for server in self.servers:
            server.close()
        await self._gateway.drain(self._grace)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            # Whoever still waits is to know now, and ask the server that comes next.
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()
        await self._gateway.close()  # here, for the signal that ended it may end the program next

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if self._signals:
            with super().capture_signals():
                yield
        else:
            yield


def _awaited(connection: Any) -> object:
    """Return what a client is waited for: a request's head, or to take so many bytes; ``None`` where for nothing."""
    if unread := connection.transport.get_write_buffer_size():
        return unread
    cycle = getattr(connection, "cycle", connection)  # a socket has none
    return "a head" if cycle is None or getattr(cycle, "response_complete", False) else None
