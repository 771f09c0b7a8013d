"""The servers that are measured, each a process of its own: ``python -m benchmarks.served app STORE``.

``floor`` is one that only streams, by the same web framework: what it costs is not the library's.
"""

# what it prints is what the benchmark reads

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Literal

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

from nbsession import App, System, Timeline, component
from nbsession.content import Text
from nbsession.context.target import Capabilities
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    MessageDelta,
    MessageStart,
    MessageStop,
    TextDelta,
)
from nbsession.protocol import frame_of
from nbsession.server import Limits
from nbsession.server.serve import _listen
from nbsession.stores import default_store
from nbsession.usage import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent

RATE = 50
SECONDS = 8
LIMITS = Limits(rate=1e6, burst=1_000_000, streams=5_000, sessions=5_000, requests=5_000)


@component
def Talk() -> object:
    """A plain conversation."""
    return [System("You talk."), Timeline()]


async def pieces() -> AsyncIterator[str]:
    """Give so many pieces of text a second, each with the moment it was made in it."""
    started = time.monotonic()
    for number in range(RATE * SECONDS):
        await asyncio.sleep(started + number / RATE - time.monotonic())
        yield f"@{time.monotonic_ns()}@ and more "


class Paced:
    """A model that says ``go`` at once, and a long answer at a steady pace to anything else."""

    name = "paced"
    source: Literal["simulated"] = "simulated"
    capabilities = Capabilities()

    async def stream(self, context: CompiledContext) -> AsyncIterator[ModelEvent]:
        yield MessageStart(self.name, "simulated")
        yield ContentBlockStart(0, "text")
        said = []
        if context.messages[-1].text == "go":
            said.append("yes")
            yield TextDelta(0, "yes")
        else:
            async for piece in pieces():
                said.append(piece)
                yield TextDelta(0, piece)
        yield ContentBlockStop(0, Text("".join(said)))
        yield MessageDelta("end_turn", Usage(input_tokens=10, output_tokens=10))
        yield MessageStop()


async def floor(_: Request) -> EventSourceResponse:
    """Stream what the model would say, and nothing else."""

    async def frames() -> AsyncIterator[bytes]:
        async for piece in pieces():
            yield frame_of(TextDelta(0, piece)).encode()

    return EventSourceResponse(frames(), sep="\n", ping=15)


def serve() -> None:
    """Serve until this process is ended."""
    if sys.argv[1] == "app":
        app = App(Talk, model=Paced(), store=default_store(sys.argv[2]))
        app.serve(0, token=False, limits=LIMITS, background=False, say=lambda said: print(said, flush=True))
        return
    import uvicorn

    listening = _listen("127.0.0.1", 0)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    streaming = Starlette(routes=[Route("/sessions/{id}/message/stream", floor, methods=["POST"])])
    uvicorn.Server(uvicorn.Config(streaming, log_config=None, access_log=False)).run(sockets=[listening])


if __name__ == "__main__":
    serve()
