"""What the tests of the server start from: an app behind it, and a client that needs no network."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from nbsession import App
from nbsession.protocol import FrameReader
from nbsession.server import application
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbsession.events import Event
    from nbsession.protocol import Frame
    from nbsession.server import Limits, Server

URL = "http://127.0.0.1"


def notepad(*responses: Any, **options: Any) -> App:
    """Return an app whose model says these."""
    return App(Notepad, model=ScriptedModel(*responses), **{"store": MemoryStore(), **options})


def client_of(app: Any, token: str = "", **options: Any) -> httpx.AsyncClient:
    """Return a client of a server of this app, in this process."""
    limits: Limits | None = options.pop("limits", None)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    transport = httpx.ASGITransport(app=application(app, limits=limits, **options))
    return httpx.AsyncClient(transport=transport, base_url=URL, headers=headers)


@contextmanager
def served(app: App, **options: Any) -> Iterator[tuple[Server, httpx.Client]]:
    """Serve an app on a port of its own, in a thread of its own, with a client that knows its token."""
    server = app.serve(0, background=True, say=None, **options)
    headers = {"authorization": f"Bearer {server.token}"} if server.token else {}
    try:
        with httpx.Client(base_url=server.url, headers=headers, timeout=20) as client:
            yield server, client
    finally:
        server.close()


def events_of(answer: httpx.Response) -> Iterator[tuple[Frame, Event]]:
    """Read the events of a stream as they come."""
    reader = FrameReader()
    for data in answer.iter_bytes():
        for frame in reader.feed(data):
            yield frame, frame.read()
