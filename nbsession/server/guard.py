"""What every request passes before anything is read of it: where it comes from, whose it is, and how much it is.

A page of another site can make a browser send requests to this machine. So the ``Host`` has to
be one of ours (a name of somebody else's that resolves to us is refused), and an ``Origin``, where
there is one, has to be the same; a body has to be JSON, which no form sends. Where there are
tokens, nothing but ``/health`` is answered without one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from nbsession.content import new_id
from nbsession.server.fault import LOG, Refusal, answer_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from nbsession.server.limits import Limits, Turnstile
    from nbsession.server.users import Users

OPEN = "/health"
"""The one path that needs no token."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

ANY = "*"
"""Among the names of a server: any name will do, for something in front of it sees to that."""

SECURE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


class Guard:
    """Lets through what may be asked. ``hosts`` are the names of this server, ``origins`` other sites that may ask."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        users: Users,
        limits: Limits,
        turnstile: Turnstile,
        hosts: Collection[str],
        origins: Collection[str],
    ) -> None:
        self._app = app
        self._users = users
        self._limits = limits
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower() for origin in origins)
        self._turnstile = turnstile

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id, begun, headers = new_id("rq"), time.perf_counter(), Headers(scope=scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _sign(MutableHeaders(scope=message), request_id)
            elif message["type"] == "websocket.http.response.start":
                # Uvicorn adds the length; before 0.53 beside this one, and clients take no two.
                del MutableHeaders(scope=message)["content-length"]
            await send(message)

        try:
            scope["state"]["user"] = user = self._admitted(scope, headers)
            if scope["path"] == OPEN:
                await self._app(scope, receive, sending)
            else:
                self._turnstile.take(user)
                with self._turnstile.during(user, stream=_is_stream(scope)):
                    await self._app(scope, self._bounded(headers, receive), sending)
        except Refusal as refusal:
            if status:  # too late to say so
                raise
            await answer_of(refusal, request_id)(scope, receive, sending)
        finally:
            if scope["type"] == "http":
                took = (time.perf_counter() - begun) * 1000
                LOG.info("%s %s %s %.0f ms %s", scope["method"], _shown(scope), status, took, request_id)

    def _admitted(self, scope: Scope, headers: Headers) -> str:
        """Return whose request it is; refuse what may not be asked."""
        host = headers.get("host", "").lower()
        if not host or not (_name(host) in self._hosts or ANY in self._hosts):
            raise Refusal(403, "host", "this server does not go by the name that was asked for")
        origin = headers.get("origin", "").lower()
        if origin and origin.partition("://")[2] != host and origin not in self._origins:
            raise Refusal(403, "origin", "pages of this origin may not ask here")
        user = self._users.find(headers)
        if user is None and scope["path"] != OPEN:
            raise Refusal(
                401,
                "token",
                "a token is needed: send 'Authorization: Bearer TOKEN', with what the server printed at its start",
                headers={"www-authenticate": "Bearer"},
            )
        if scope["type"] == "http":
            self._check_body(scope["method"], headers)
        return user or ""

    def _check_body(self, method: str, headers: Headers) -> None:
        length = headers.get("content-length", "")
        if length and ((size := number_in(length)) is None or size > self._limits.body):
            raise self._too_large()
        has_body = length not in ("", "0") or "transfer-encoding" in headers or "content-type" in headers
        if method in ("POST", "PUT", "PATCH", "DELETE") and has_body:
            kind, _, parameters = headers.get("content-type", "").partition(";")
            charset = parameters.strip().lower().removeprefix("charset=").strip('"')
            if kind.strip().lower() != "application/json" or charset not in ("", "utf-8", "utf8"):
                raise Refusal(415, "media_type", "send JSON, with 'Content-Type: application/json'")

    def _too_large(self) -> Refusal:
        return Refusal(
            413, "too_large", f"a body may have {self._limits.body:,} bytes", headers={"connection": "close"}
        )

    def _bounded(self, headers: Headers, receive: Receive) -> Receive:
        """Refuse a body that grows beyond the limit, before it is read whole."""
        read = 0

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > self._limits.body:
                    raise self._too_large()
            return message

        return receiving


def number_in(text: str, most: int = 2**53) -> int | None:
    """Read a number of a header, ``None`` where it is none, or is greater than every JSON parser reads as it is."""
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    return int(text) if digits and int(text) <= most else None


def _sign(answer: MutableHeaders, request_id: str) -> None:
    for name, value in SECURE.items():
        answer.setdefault(name, value)
    answer["x-request-id"] = request_id


def _name(host: str) -> str:
    """Return a host without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _is_stream(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["type"] == "websocket" or path.endswith(("/events", "/stream"))


def _shown(scope: Scope) -> str:
    """Return a path for the log: in one line, and not endless."""
    return repr(scope["path"][:200])[1:-1]
