"""Uvicorn, as it is used here: on whichever loop, quiet, and ending what is ours before it waits for connections."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from nbsession.server.gateway import Gateway


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
                ws_max_size=1_000_000,
            )
        )
        self._gateway = gateway
        self._grace = grace
        self._signals = signals

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._gateway.drain(self._grace)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            # Whoever still waits is to know now, and ask the server that comes next.
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if self._signals:
            with super().capture_signals():
                yield
        else:
            yield
