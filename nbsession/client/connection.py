"""The way to one server: requests that are tried again where that is safe, streams of events, and errors as ours."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from nbsession.client.pace import Pace
from nbsession.errors import SessionError
from nbsession.protocol import FrameReader, dumps, error_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping

    import httpx

    from nbsession.events import Event

TOKEN = "NBSESSION_TOKEN"  # noqa: S105  # the variable's name
PATIENCE = 60.0

SILENCE = 45.0
"""Seconds without a word after which a stream counts as lost: a server says something each 15."""

CONNECTING = 10.0
ANSWERING = 60.0
"""Seconds for what is answered at once; what waits for a model has no limit."""

SAFE = frozenset({"GET", "PUT", "PATCH", "DELETE"})
"""Methods that may be sent twice: the second time changes nothing more."""

BETWEEN = frozenset({502, 503, 504})
"""What a proxy answers for a server that it does not reach."""


class LostError(Exception):
    """The connection broke, or was not made. ``sent`` says whether the request may have arrived; ``after`` when to ask again, in seconds."""

    def __init__(self, reason: str, *, sent: bool = True, after: float = 0.0) -> None:
        super().__init__(reason)
        self.sent = sent
        self.after = after


class Stream:
    """A stream of events that was opened."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._reader = FrameReader()

    @property
    def retry(self) -> float | None:
        """How many seconds the server asked to wait before one comes back."""
        return self._reader.retry

    @property
    def execution(self) -> str:
        """The id of the execution whose events these are, ``""`` where they are a session's."""
        return str(self._response.headers.get("x-execution", ""))

    async def events(self) -> AsyncGenerator[Event]:
        """Give the events, to the end of the stream; ``LostError`` where it breaks. What is not known here is left out."""
        import httpx

        try:
            async for data in self._response.aiter_bytes():
                for frame in self._reader.feed(data):
                    try:
                        event = frame.read()
                    except (ValueError, TypeError):  # of a newer server
                        continue
                    yield event
        except httpx.TransportError as error:
            raise LostError(_reason(error)) from error


class Connection:
    """One server, by its ``url`` and token. Raises ``SessionError`` for a URL or token that cannot be one."""

    def __init__(self, url: str, token: str | None, patience: float) -> None:
        self.url = _checked_url(url)
        self.patience = patience
        self._token = _checked_token(os.environ.get(TOKEN) if token is None else token)
        self._http: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reached = False
        self._following: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Connection {self.url}>"

    async def aclose(self) -> None:
        """Close what is open, once those that still follow something have heard that it ends."""
        running = asyncio.get_running_loop()
        if mine := [task for task in self._following if task.get_loop() is running]:
            for task in mine:
                task.cancel()
            await asyncio.wait(mine)
        http, self._http = self._http, None
        if http is not None and self._loop is running:
            await http.aclose()

    def follow(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let work that reads from the server go on beside all else, until it is done or this is closed."""
        task = asyncio.get_running_loop().create_task(work, name="nbsession client")
        self._following.add(task)
        task.add_done_callback(self._following.discard)
        return task

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        waits: bool = False,
        once: bool = False,
    ) -> Any:
        """Ask, and return the answer's JSON data, ``None`` where there is none; raise the error that is answered.

        What breaks is asked again where that is safe, as long as the server's ``patience`` lasts; one that was never
        reached is told of at once. ``waits`` says that the answer may take any time, ``once`` that the server itself
        does it only once: then it is asked again, too, and a refusal after that means that it was done, and gives ``None``.
        """
        pace, unclear = Pace(self.patience), False
        while True:
            try:
                response = await self._send(method, path, body, params, headers, waits=waits)
                return self._read(response.content)
            except SessionError:
                if once and unclear:
                    return None
                raise
            except LostError as lost:
                if lost.sent and not once and method not in SAFE:
                    raise SessionError(
                        f"the connection to {self.url} broke before {method} {path} was answered ({lost}): it may have "
                        "been done or not; look at the session before you ask again"
                    ) from lost
                unclear = unclear or lost.sent
                await self.rest(pace, lost)

    async def rest(self, pace: Pace, lost: LostError, retry: float | None = None) -> None:
        """Wait for the next try; ``SessionError`` where it was tried for too long, or the server was never reached."""
        wait = pace.next(first=retry, least=lost.after) if self._reached else None
        if wait is None:
            raise self.unreachable(str(lost)) from lost
        await asyncio.sleep(wait)

    def unreachable(self, reason: str) -> SessionError:
        """Return the error that says that nobody answers, and what to do."""
        tried = f" for {self.patience:g} s" if self._reached else ""
        return SessionError(
            f"no server answers at {self.url}{tried} ({reason}): is it running there (nbsession serve MODULE:APP, or "
            "app.serve()), and is that the address it printed?"
        )

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Stream]:
        """Open a stream of events; ``LostError`` where it breaks, and the error that is answered."""
        import httpx

        http = self._client()
        request = self._request(method, path, body, params, headers, read=SILENCE)
        response = await self._sent(http, request, stream=True)
        try:
            if response.status_code >= 400:
                try:
                    await response.aread()
                except httpx.TransportError as error:
                    raise LostError(_reason(error)) from error
                self._refused(response)
            yield Stream(response)
        finally:
            await response.aclose()

    async def _send(
        self,
        method: str,
        path: str,
        body: Any,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        *,
        waits: bool,
    ) -> httpx.Response:
        read = None if waits else ANSWERING
        request = self._request(method, path, body, params, headers, read=read)
        response = await self._sent(self._client(), request)
        if response.status_code >= 400:
            self._refused(response)
        return response

    async def _sent(
        self, http: httpx.AsyncClient, request: httpx.Request, *, stream: bool = False
    ) -> httpx.Response:
        import httpx

        try:
            response = await http.send(request, stream=stream)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise LostError(_reason(error), sent=False) from error
        except httpx.TransportError as error:
            self._reached = True
            raise LostError(_reason(error)) from error
        self._reached = True
        return response

    def _request(
        self,
        method: str,
        path: str,
        body: Any,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        *,
        read: float | None,
    ) -> httpx.Request:
        import httpx

        said = dict(headers or {})
        if self._token:
            said["authorization"] = f"Bearer {self._token}"
        if body is not None:
            said["content-type"] = "application/json"
        limits = httpx.Timeout(connect=CONNECTING, read=read, write=ANSWERING, pool=None)
        return self._client().build_request(
            method,
            f"{self.url}{path}",
            content=None if body is None else dumps(body).encode(),
            params=params,
            headers=said,
            timeout=limits,
        )

    def _read(self, content: bytes) -> Any:
        try:
            return json.loads(content) if content else None
        except ValueError:
            raise self._foreign() from None

    def _foreign(self) -> SessionError:
        return SessionError(
            f"what answers at {self.url} is no server of nbsession's: is that the address it printed?"
        )

    def _client(self) -> httpx.AsyncClient:
        """Return the client of the running loop."""
        import httpx

        running = asyncio.get_running_loop()
        if self._http is None or self._loop is not running:
            self._http = httpx.AsyncClient(
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=20)
            )
            self._loop = running
        return self._http

    def _refused(self, response: httpx.Response) -> NoReturn:
        """Raise what is answered in place of what was asked for."""
        status, after = response.status_code, response.headers.get("retry-after", "")
        fault = _fault(response.content)
        wait = float(after) if after.isascii() and after.isdigit() else 0.0
        if (fault is None and status in BETWEEN) or (wait and status in (429, 503)):
            raise LostError(fault[1] if fault else f"answered {status}", sent=bool(fault is None), after=wait)
        if status == 401:
            how = "is not the one of that server" if self._token else "is needed"
            raise SessionError(
                f"a token {how} at {self.url}: give token=, or set ${TOKEN}, to what it printed at its start"
            )
        if fault is None:
            raise self._foreign()
        raise error_of(fault[0], status, fault[1])


def _fault(content: bytes) -> tuple[str, str] | None:
    """Read the code and the sentence of an error, ``None`` where it is none of a server of ours."""
    try:
        told = json.loads(content)["error"]
        return str(told["code"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        return None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise SessionError("a server's URL holds no password here: give token=, or set $" + TOKEN)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise SessionError(f"{url!r} is no server's URL; it looks like http://127.0.0.1:2323")
    return url.rstrip("/")


def _checked_token(token: str | None) -> str:
    token = (token or "").strip()
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise SessionError("token= holds what no token of a server does: copy it again, without blanks")
    return token
