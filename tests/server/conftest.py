"""What the tests of the server start from: an app behind it, and a client that needs no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from nbsession import App
from nbsession.server import application
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from nbsession.server import Limits

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
