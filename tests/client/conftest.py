"""What the tests of the client start from: a server on loopback, and a proxy in front of it that cuts connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from nbsession.client import AsyncClient, Client

if TYPE_CHECKING:
    from nbsession import App
    from nbsession.server import Server

TOKEN = "a-token-that-nobody-is-to-see"


@contextmanager
def serving(app: App, **options: Any) -> Iterator[Server]:
    """Serve an app on a port of its own, in a thread of its own."""
    given = {"port": 0, "token": TOKEN, **options}
    with ThreadPoolExecutor(1) as beside:  # so that it is not a task on the loop of the test
        server = beside.submit(lambda: app.serve(background=True, say=None, **given)).result()
    try:
        yield server
    finally:
        server.close()


@asynccontextmanager
async def connected(app: App, **options: Any) -> AsyncIterator[AsyncClient]:
    """Serve an app, and give a client of it."""
    with serving(app, **options) as server:
        async with AsyncClient(server.url, token=TOKEN) as client:
            yield client


@contextmanager
def blocking(app: App, **options: Any) -> Iterator[Client]:
    """Serve an app, and give a blocking client of it."""
    with serving(app, **options) as server, Client(server.url, token=TOKEN) as client:
        yield client


class Cutting:
    """A proxy on loopback that cuts each connection after so many bytes of the server's, the first number first.

    When the numbers are used up, it cuts no more.
    """

    def __init__(self, url: str, cuts: list[int]) -> None:
        self._to = urlsplit(url)
        self.cuts = cuts
        self.made = 0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.sleep(0)  # the transports close now

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        left = self.cuts.pop(0) if self.cuts else None
        assert self._to.hostname is not None
        theirs, ours = await asyncio.open_connection(self._to.hostname, self._to.port)
        asking = asyncio.ensure_future(_copy(reader, ours, None))
        try:
            await _copy(theirs, writer, left)
        finally:
            asking.cancel()
            for stream in (ours, writer):
                stream.transport.abort()
            await asyncio.wait({asking})


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None) -> None:
    """Copy bytes, at most so many."""
    with contextlib.suppress(OSError):
        while most is None or most > 0:
            data = await reader.read(65536 if most is None else most)
            if not data:
                return
            writer.write(data)
            await writer.drain()
            most = None if most is None else most - len(data)
