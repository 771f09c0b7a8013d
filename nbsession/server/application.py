"""The ASGI application: the routes, behind the guard."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route as Served
from starlette.routing import WebSocketRoute

from nbsession.errors import SessionError
from nbsession.server import socket
from nbsession.server.fault import answer_of
from nbsession.server.folder import Folders
from nbsession.server.gateway import Gateway
from nbsession.server.guard import ANY, LOOPBACK, Guard
from nbsession.server.limits import Limits, Turnstile
from nbsession.server.openapi import document
from nbsession.server.routes import ROUTES
from nbsession.server.service import Service
from nbsession.server.users import Users

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from nbsession.server.served import App
    from nbsession.stores.base import SessionStore


def application(
    apps: App | Mapping[str, App],
    *,
    store: SessionStore | None = None,
    tokens: Mapping[str, str] | str | None = None,
    work_root: str | os.PathLike[str] | None = None,
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    limits: Limits | None = None,
) -> Starlette:
    """Return the ASGI application that serves one app, or several by their names.

    ``store`` keeps the sessions of apps that have none. ``tokens`` is one token, or the names of users by
    their tokens, whose sessions are then apart; without it everybody may ask who reaches the
    server: only for what is behind a guard of its own. ``work_root`` is the folder below which the sessions'
    folders have to lie, which several users need. ``hosts`` are the names by which the server is
    asked, besides those of this machine, or ``*`` behind a proxy that adds the token; ``origins`` are other sites whose pages may ask.

    Run it with any ASGI server, in one process and on one event loop, which becomes the home of
    the apps' sessions; or let ``app.serve()`` do that. Raises ``SessionError`` for apps with different
    stores.
    """
    named: dict[str, App] = dict(apps) if isinstance(apps, Mapping) else {"default": apps}
    if store is not None:
        for app in named.values():
            app.store = app.store or store
    if ANY in hosts and tokens is None:
        raise SessionError("hosts= may be '*' only where a token is needed; name the hosts")
    limits = limits or Limits()
    users = Users({tokens: ""} if isinstance(tokens, str) else tokens)
    gateway = Gateway(
        named, users=users, folders=Folders(work_root, several_users=users.several), limits=limits
    )

    turnstile = Turnstile(limits)
    service = Service(gateway, turnstile)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.begin()
        yield
        await gateway.close()

    guard = Middleware(
        Guard, users=users, limits=limits, turnstile=turnstile, hosts=(*LOOPBACK, *hosts), origins=origins
    )
    described = document(ROUTES, token=users.known)

    async def openapi(_: Request) -> Response:
        return JSONResponse(described)

    routes = [Served(route.path, route.endpoint(service), methods=[route.method]) for route in ROUTES]
    made = Starlette(
        routes=[*routes, Served("/openapi.json", openapi), WebSocketRoute("/ws", socket.endpoint)],
        middleware=[*_cross_origin(origins), guard],
        exception_handlers={HTTPException: _told, Exception: _told},
        lifespan=lifespan,
    )
    made.state.service = service
    return made


def _cross_origin(origins: Sequence[str]) -> list[Middleware]:
    if not origins:
        return []
    if "*" in origins:
        raise SessionError("origins= names the sites whose pages may ask; '*' would be every site")
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type", "if-match", "last-event-id"],
            expose_headers=["etag", "location", "retry-after", "x-execution", "x-request-id"],
        )
    ]


async def _told(request: Request, error: Exception) -> Response:
    return answer_of(error, getattr(request.state, "request_id", ""))
