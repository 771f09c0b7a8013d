"""The way between an adapter and its server: clients, the stream of an answer, and what fails on it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing, suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from nbsession import threads
from nbsession.content import Text, ToolCall, ToolResult
from nbsession.errors import ModelError
from nbsession.events import MessageDelta, ModelWaiting
from nbsession.models.endpoint import Endpoint, Key, Service, check_url, endpoint_of, on_this_machine, url_of
from nbsession.models.failure import Refusal, Reported, failed, kind_of, read_body, refused, without_key
from nbsession.models.plain_json import writable
from nbsession.models.retry import pause_before, what_failed
from nbsession.usage import observe

if TYPE_CHECKING:
    from types import ModuleType

    from nbsession.content import Block
    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent
    from nbsession.models.arrival import Arrival

DEFAULT_TIMEOUT = 180.0
"""Seconds without a byte after which a request has failed; services send pings far more often."""

_CONNECT_TIMEOUT = 10.0
_LINGER = 1.0
"""Seconds in which what follows a complete answer has to come."""

_Held: TypeAlias = tuple[Any, AsyncGenerator[None, None]]


class Wire:
    """What an adapter speaks to its server through; ``model`` is the adapter's name.

    The other arguments are the adapter's own. May be used from several event loops
    and by several tasks at once. Raises ``ModelError`` for a ``base_url`` that is no URL.
    """

    def __init__(
        self,
        service: Service,
        model: str,
        *,
        base_url: str | None,
        api_key: str | None,
        timeout: float,
        max_retries: int,
    ) -> None:
        self._service = service
        self._model = model
        self._base_url = (base_url or "").strip() or None
        self._api_key = Key(api_key or "")
        self._timeout = timeout
        self._max_retries = max_retries
        # Connections belong to the loop that opened them.
        self._clients: dict[asyncio.AbstractEventLoop, dict[Endpoint, _Held]] = {}
        if self._base_url is not None:
            check_url(self._base_url, "base_url=", model)

    def endpoint(self) -> Endpoint:
        """Return where the next request goes; see ``endpoint_of``."""
        return endpoint_of(self._service, self._model, self._base_url, self._api_key)

    @property
    def url(self) -> str:
        """Where the next request goes; unlike ``endpoint``, it needs no key."""
        return url_of(self._service, self._model, self._base_url)

    async def client(self, endpoint: Endpoint) -> Any:
        """Return the SDK's client for the running loop; it is closed with the loop."""
        loop = asyncio.get_running_loop()
        if (held := self._clients.get(loop, {}).get(endpoint)) is not None:
            return held[0]
        sdk = await threads.beside(self._service.load)
        for other in list(self._clients):  # other threads have loops, too
            if other.is_closed():
                self._clients.pop(other, None)
        clients = self._clients.setdefault(loop, {})
        if endpoint not in clients:  # another task may have been quicker
            client = self._new_client(sdk, endpoint)
            clients[endpoint] = (client, self._until_closed(loop, client))
            await anext(clients[endpoint][1])
        return clients[endpoint][0]

    async def aclose(self) -> None:
        """Close the connections of the running loop; the next request opens new ones."""
        for _, until_closed in list(self._clients.pop(asyncio.get_running_loop(), {}).values()):
            await until_closed.aclose()

    async def events(
        self,
        context: CompiledContext,
        endpoint: Endpoint,
        arrival: Arrival,
        create: Callable[..., Awaitable[Any]],
        request: Mapping[str, Any],
    ) -> AsyncGenerator[ModelEvent, None]:
        """Send ``request`` by ``create`` of the SDK, and give what the answer amounts to.

        What fails before the answer begins is tried again, after a pause that is said by
        ``ModelWaiting``: the SDK's own would be silent. Every failure is a ``ModelError`` without a cause: those of SDK and HTTP library
        quote servers, which quote keys. What fails once the answer is complete is no
        failure.
        """
        for again in count():
            stream: Any = None
            failure: ModelError | None = None
            pause = self._pause(again, endpoint)
            try:
                stream = await _opened(create, request)
                async with stream, aclosing(aiter(stream)) as raws:
                    async for raw in raws:
                        for event in arrival.take(raw):
                            yield event
                        if arrival.complete:
                            await _read_out(raws, arrival)
            except ModelError as error:
                failure = error
            except Exception as error:  # noqa: BLE001  # servers bring the SDK to raise all kinds
                failure = self._failure(error, endpoint, opened=stream is not None, started=arrival.started)
                pause = self._pause(again, endpoint, error)
            if arrival.complete:
                break
            failure = failure or self._incomplete(stream, arrival)
            begun = arrival.started or (stream is not None and failure.kind == "timeout")
            if begun or not failure.retryable or pause is None:
                raise failure
            yield ModelWaiting(pause, what_failed(failure))
            await asyncio.sleep(pause)
        for event in arrival.end():
            await learn(self._model, context, event)
            yield event

    async def asked(
        self,
        endpoint: Endpoint,
        create: Callable[..., Awaitable[Any]],
        request: Mapping[str, Any],
        *,
        missing: str,
        again: Collection[str] | None = None,
    ) -> Any:
        """Send a request that is answered at once; fails as ``events`` does, with ``missing`` where there is no such page.

        What fails is tried again as there, or after failures of the kinds in ``again`` alone.
        """
        tries = 0
        while True:
            try:
                return await _opened(create, request)
            except ModelError:
                raise
            except Exception as error:  # noqa: BLE001  # as above
                failure = self._failure(error, endpoint, opened=False, started=False)
                pause = self._pause(tries, endpoint, error)
                if getattr(error, "status_code", 0) == 404:
                    failure = failed(missing, "request")
            if not failure.retryable or pause is None or (again is not None and failure.kind not in again):
                raise failure
            await asyncio.sleep(pause)
            tries += 1

    def _pause(self, again: int, endpoint: Endpoint, error: Exception | None = None) -> float | None:
        """Return the seconds before a further try, the first being number 0; ``None`` where there is to be none."""
        if again >= self._max_retries or (error is not None and _nobody_listens(endpoint, error)):
            return None
        response = getattr(error, "response", None)
        return pause_before(again, getattr(response, "status_code", 0), getattr(response, "headers", {}))

    def _new_client(self, sdk: ModuleType, endpoint: Endpoint) -> Any:
        import httpx2

        headers: dict[str, Any] = {}
        if not endpoint.trusted:
            # The SDK adds these to every request: they are the service's, and nobody else's business.
            lines = os.environ.get(f"{self._service.variables}_CUSTOM_HEADERS", "").splitlines()
            headers = {line.partition(":")[0].strip(): sdk.Omit() for line in lines if ":" in line}
        timeout = httpx2.Timeout(self._timeout, connect=min(self._timeout, _CONNECT_TIMEOUT))
        options: dict[str, Any] = {}
        if on_this_machine(endpoint.url):
            # No proxy leads to this machine.
            options = {
                "transport": httpx2.AsyncHTTPTransport(limits=sdk.DEFAULT_CONNECTION_LIMITS),
                "trust_env": False,
            }
        # Who is redirected to would be sent the whole context.
        http = sdk.DefaultAsyncHttpxClient(timeout=timeout, follow_redirects=False, **options)
        return getattr(sdk, self._service.client)(
            api_key=str(endpoint.key),
            base_url=endpoint.url,
            timeout=timeout,
            max_retries=0,  # they are made here, where they are told
            default_headers=headers,
            http_client=http,
        )

    async def _until_closed(self, loop: asyncio.AbstractEventLoop, client: Any) -> AsyncGenerator[None, None]:
        """Hold a client until this is closed, as a loop does with its generators before it closes."""
        try:
            yield
        finally:
            self._clients.pop(loop, None)
            await client.close()

    def _incomplete(self, stream: Any, arrival: Arrival) -> ModelError:
        kind = stream.response.headers.get("content-type", "").partition(";")[0] or "nothing"
        if not arrival.started and kind != "text/event-stream":
            return failed(
                f"{self._model} answered with {without_key(kind, 'none')} where a stream of events was expected; "
                "check base_url=",
                "request",
            )
        return failed(
            f"{self._model} ended its answer before it was complete; what came is kept, send again", "stream"
        )

    def _failure(self, error: Exception, endpoint: Endpoint, *, opened: bool, started: bool) -> ModelError:
        """Put a failure of SDK or connection into one sentence of ours."""
        import httpx2

        sdk = self._service.load()
        if isinstance(error, sdk.APIConnectionError):
            # What broke stands behind it; a timeout has nothing behind it that says more.
            cause = error.__cause__ or error.__context__
            error = cause if isinstance(cause, Exception) else error
        elif isinstance(error, (sdk.APIError, Reported)):
            return self._refusal(error, endpoint)
        name, host = self._model, endpoint.host
        if isinstance(error, (sdk.APITimeoutError, httpx2.TimeoutException)):
            if isinstance(error, httpx2.ConnectTimeout):
                return failed(
                    f"{name} could not be reached at {host} in time; check the network", "connection"
                )
            return failed(
                f"{name} sent nothing for {self._timeout:g} s; send again, or give it longer with timeout=",
                "timeout",
            )
        if isinstance(error, (sdk.APIConnectionError, httpx2.HTTPError, OSError)):
            if started:
                text = f"the connection to {name} broke off in mid-answer; what came is kept, send again"
            elif isinstance(
                error, (httpx2.ReadError, httpx2.WriteError, httpx2.ProtocolError, httpx2.DecodingError)
            ):
                text = f"the connection to {name} at {host} broke off before its answer began; check what listens there, then send again"
            else:
                # What stands for several tries says nothing; a certificate or a name does.
                why = without_key(str(error), endpoint.key)
                why = "" if not why or why.startswith("All connection") else f" ({why})"
                check = "that it runs" if on_this_machine(endpoint.url) else "the network"
                text = f"{name} could not be reached at {host}{why}; check {check}, then send again"
            return failed(text, "connection")
        if not opened:
            why = without_key(f"{type(error).__name__}: {error}", endpoint.key)
            return failed(
                f"the request to {name} could not be written ({why}); look at the settings and the tools",
                "request",
            )
        return failed(f"{name} sent what cannot be read ({type(error).__name__}); send again", "stream")

    def _refusal(self, error: Any, endpoint: Endpoint) -> ModelError:
        """Read an error that the server itself reports, before or in mid-stream."""
        status = getattr(error, "status_code", 0)
        status = status if status >= 300 else 0
        headers = error.response.headers if status else {}
        if 300 <= status < 400:
            place = urlsplit(headers.get("location", "")).hostname or "elsewhere"
            return failed(
                f"{self._model} was sent on from {endpoint.host} to {place} ({status}), which is not followed; "
                "if that is right, give its URL as base_url=",
                "request",
            )
        words, codes = read_body(error.body)
        known = [self._service.kinds[code] for code in codes if code in self._service.kinds]
        kind = known[0] if known else kind_of(status) if status else "server"
        wait = headers.get("retry-after", "")
        return refused(
            Refusal(self._model, status, kind, words, wait, self._service.key_variable), endpoint.key
        )


def _nobody_listens(endpoint: Endpoint, error: Exception) -> bool:
    """Say whether a connection was refused on this machine, where waiting for a second brings nobody."""
    import httpx2

    behind = error.__cause__ or error.__context__ or error
    return on_this_machine(endpoint.url) and isinstance(behind, httpx2.ConnectError)


async def _opened(create: Callable[..., Awaitable[Any]], request: Mapping[str, Any]) -> Any:
    """Send a request; one that JSON in UTF-8 cannot hold was not sent, and goes as far as it can be written."""
    try:
        return await create(**request)
    except ValueError:
        return await create(**writable(request))


async def _read_out(raws: AsyncIterator[Any], arrival: Arrival) -> None:
    """Read to the end after the last event: only then can the connection be used again."""
    with suppress(Exception):
        async with asyncio.timeout(_LINGER):
            async for raw in raws:
                for _ in arrival.take(raw):
                    pass


async def learn(model: str, context: CompiledContext, event: ModelEvent) -> None:
    """Compare the reported input tokens of an answer that ends with the estimate of its context."""
    if not isinstance(event, MessageDelta) or event.usage.estimated or not event.usage.input_tokens:
        return
    if any(tool.options is not None for tool in context.tools):
        return  # what the provider's tools find meanwhile counts as input, too
    if all(_is_text(block) for message in context.messages for block in message.content):
        await threads.beside(partial(observe, model, context.tokens, event.usage.input_tokens))


def _is_text(block: Block) -> bool:
    """Say whether a block is estimated as text: media and thinking are counted by other rules."""
    if isinstance(block, ToolResult):
        return all(isinstance(item, Text) for item in block.content)
    return isinstance(block, (Text, ToolCall))
