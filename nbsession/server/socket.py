"""One socket for the events of many sessions.

A client says ``{"do": "subscribe", "session": …, "after": …}`` or ``{"do": "unsubscribe", "session": …}``; it is
sent ``{"session", "event", "id", "data"}``, the same frames as in a stream. Sessions take turns in what is
sent, so that one with much to say holds up no other; nothing is buffered for a client that rests, and
one that takes nothing for long is cut off: it comes back, and goes on after the last ids that it had.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from nbsession.errors import NbsessionError
from nbsession.events import Error
from nbsession.protocol import SocketRequest, dumps, frame_of
from nbsession.server.fault import LOG, Refusal, fault_of
from nbsession.server.stream import of_session, until_closed
from nbsession.server.users import offered_in

if TYPE_CHECKING:
    from nbsession.protocol import Frame
    from nbsession.server.service import Service

PROTOCOL = "nbsession"
"""The subprotocol; a page's socket offers it beside the one that holds its token."""

MOST = 1_000
"""Sessions that one socket may follow."""

NO_TEXT, RESTART, TRY_AGAIN = 1003, 1012, 1013
"""Why a socket is closed: https://www.iana.org/assignments/websocket/websocket.xhtml"""


class NoTextError(Exception):
    """What came was no text."""


class Socket:
    """One client's socket, and which sessions it follows."""

    def __init__(self, service: Service, websocket: WebSocket) -> None:
        self._gateway = service.gateway
        self._turnstile = service.turnstile
        self._websocket = websocket
        self._user: str = websocket.state.user
        self._following: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    async def serve(self) -> None:
        """Serve it until the client goes, or the server closes."""
        offered = offered_in(self._websocket.headers)
        await self._websocket.accept(PROTOCOL if PROTOCOL in offered else None)
        try:
            async with asyncio.timeout(None) as limit:
                self._gateway.streams.add(limit)
                try:
                    while True:
                        await self._take(await self._read())
                finally:
                    self._gateway.streams.discard(limit)
        except NoTextError:
            await self._close(NO_TEXT)
        except (WebSocketDisconnect, RuntimeError):  # it was closed meanwhile
            pass
        except TimeoutError:
            await self._close(RESTART if self._gateway.closing else TRY_AGAIN)
        finally:
            for task in self._following.values():
                task.cancel()
            if self._following:
                await asyncio.wait(self._following.values())

    async def _read(self) -> str:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        text: str | None = message.get("text")
        if text is None:
            raise NoTextError
        return text

    async def _take(self, text: str) -> None:
        try:
            self._turnstile.take(self._user)
        except Refusal as refusal:
            await self._send("", frame_of(Error(str(refusal), refusal.code)))
            return
        try:
            asked = SocketRequest.model_validate_json(text)
        except ValidationError:
            fault = Error('say {"do": "subscribe" or "unsubscribe", "session": …}', "invalid")
            await self._send("", frame_of(fault))
            return
        if (known := self._following.pop(asked.session, None)) is not None:
            known.cancel()
            await asyncio.wait({known})
        if asked.do == "unsubscribe":
            return
        if len(self._following) >= MOST:
            fault = Error(f"a socket follows {MOST} sessions at most", "too_many")
            await self._send(asked.session, frame_of(fault))
            return
        work = self._follow(asked.session, asked.after)
        self._following[asked.session] = asyncio.get_running_loop().create_task(work)

    async def _follow(self, name: str, after: int | None) -> None:
        try:
            try:
                async with self._gateway.using(self._user, name) as session:
                    events = of_session(self._gateway, self._user, session, after)
                    async with aclosing(until_closed(self._gateway, events)) as frames:
                        async for frame in frames:
                            await self._send(name, frame)
            except (NbsessionError, Refusal) as error:
                fault = fault_of(error, self._websocket.state.request_id)[1]
                await self._send(name, frame_of(Error(fault.message, fault.code)))
        except TimeoutError:
            await self._close(TRY_AGAIN)
        except (WebSocketDisconnect, RuntimeError):  # it was closed meanwhile
            pass
        except Exception:  # noqa: BLE001  # one session's fault is not the others'
            LOG.exception("events of session %.200r failed", name)

    async def _send(self, name: str, frame: Frame) -> None:
        said = {"session": name, "event": frame.event, "id": frame.id, "data": json.loads(frame.data)}
        async with self._turn, asyncio.timeout(self._gateway.limits.stalled):
            await self._websocket.send_text(dumps(said))

    async def _close(self, code: int) -> None:
        with suppress(RuntimeError, WebSocketDisconnect):
            await self._websocket.close(code)


async def endpoint(websocket: WebSocket) -> None:
    """Serve a socket."""
    service: Service = websocket.app.state.service
    service.begin()
    await Socket(service, websocket).serve()
