"""The streams to and from a server, and the end of what it writes to its standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Self, TextIO

from nbsession.content import bounded, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbsession.mcp.link import Link

GUARD = Path(__file__).with_name("guard.py")

MOST_EVENT = 64 * 2**20
"""Bytes of one answer that comes as an event; the SDK's own bound is one megabyte."""

_TAIL = 4_000
_LINES = 6
_FRAME = " \t\N{BOX DRAWINGS LIGHT VERTICAL}|"  # as around tracebacks that are printed for people


class Delivery:
    """What became of one request: it has ``failed`` where no connection for it was made, so the server never saw it."""

    failed = False


DELIVERY: ContextVar[Delivery] = ContextVar("nbsession_mcp_delivery")
"""The delivery of the request that is made in this context, which the SDK posts in a copy of it."""


class Tail:
    """The end of what a process writes to its standard error, or of what a web server refuses."""

    def __init__(self) -> None:
        self._written = b""
        self._reader: Thread | None = None

    @contextmanager
    def file(self) -> Iterator[TextIO]:
        """Give a file for a process to write to; it is read until everybody who has it has ended."""
        read, write = os.pipe()
        self._reader = Thread(target=self._read, args=(read,), name="nbsession-mcp-stderr", daemon=True)
        with os.fdopen(write, "w") as file:
            self._reader.start()
            yield file

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            while piece := file.read(65536):
                self._written = (self._written + piece)[-_TAIL:]

    def add(self, line: str) -> None:
        """Put a line behind what was written."""
        self._written = (self._written + line.encode() + b"\n")[-_TAIL:]

    def clear(self) -> None:
        """Forget what was written."""
        self._written = b""

    def lines(self) -> str:
        """Return the last lines in one, once all is read, or half a second has passed."""
        if self._reader is not None:
            self._reader.join(0.5)
        text = visible(self._written.decode("utf-8", "replace"))
        lines = [line.strip(_FRAME) for line in text.splitlines()]
        return bounded("; ".join([line for line in lines if any(map(str.isalnum, line))][-_LINES:]), 1_000)


@asynccontextmanager
async def reached(link: Link, tail: Tail, ended: Callable[[], object]) -> AsyncIterator[Any]:
    """Give the streams to and from a server, as the SDK's client takes them; ``ended`` is called when it closes them.

    A command gets the few names of the environment that the SDK takes for safe (PATH, HOME, …) and ``env``. What it
    starts ends with it, as far as it stays in its process group.
    """
    if link.url:
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        class Client(httpx2.AsyncClient):
            async def send(self, *request: Any, **options: Any) -> Any:
                try:
                    return await super().send(*request, **options)
                except httpx2.ConnectError:
                    delivery = DELIVERY.get(None)
                    if delivery is not None:
                        delivery.failed = True
                    raise

        async def refused(response: Any) -> None:
            if response.status_code >= 400:  # which the SDK does not tell
                tail.add(f"HTTP {response.status_code} {response.reason_phrase}")

        # As the SDK's own: an answer may be waited for, a connection not.
        timeout, hooks = httpx2.Timeout(30, read=300), {"response": [refused]}
        async with (
            Client(headers=dict(link.headers), timeout=timeout, event_hooks=hooks) as client,
            streamable_http_client(link.url, http_client=client, max_sse_event_size=MOST_EVENT) as (
                read,
                write,
            ),
        ):
            yield _Watched(read, ended), write
        return
    from mcp.client.stdio import StdioServerParameters, stdio_client

    guarded = [] if os.name == "nt" else [sys.executable, "-I", str(GUARD), str(os.getpid())]
    program, *arguments = [*guarded, *link.command]
    parameters = StdioServerParameters(command=program, args=arguments, env=dict(link.env))
    with tail.file() as file:
        async with stdio_client(parameters, errlog=file) as (read, write):
            yield _Watched(read, ended), write


class _Watched:
    """A stream of messages that says when it ends, which the SDK's client tells only whoever waits for an answer."""

    def __init__(self, stream: Any, ended: Callable[[], object]) -> None:
        self._stream = stream
        self._ended = ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def receive(self) -> Any:
        import anyio

        try:
            return await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self._ended()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._ended()
            raise

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> Any:
        return await self._stream.__aexit__(*error)
