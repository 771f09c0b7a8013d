"""Models behind the Messages API: Anthropic's own, and servers on this machine that speak it.

The SDK takes about a second to import, so it is loaded when a model is first
used, in a thread.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from nbsession.errors import MissingKeyError, ModelError
from nbsession.events import MessageDelta
from nbsession.models.anthropic_request import COUNTED, DEFAULT_MAX_TOKENS, request_of
from nbsession.models.anthropic_stream import Answer
from nbsession.models.base import Capabilities, Source
from nbsession.models.wire import (
    LOCAL_KEY,
    Refusal,
    check_key,
    failed,
    is_at,
    kind_of,
    learn,
    on_this_machine,
    refused,
)
from nbsession.prices import window_of

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent

DEFAULT_TIMEOUT = 180.0
"""Seconds without a byte after which a request has failed; the API sends pings far more often."""

_CONNECT_TIMEOUT = 10.0
_KEY_HOSTS = ("anthropic.com",)
_KINDS = {
    "authentication_error": "authentication",
    "permission_error": "authentication",
    "rate_limit_error": "rate_limit",
    "overloaded_error": "overloaded",
    "timeout_error": "timeout",
    "api_error": "server",
    "invalid_request_error": "request",
    "not_found_error": "request",
    "request_too_large": "request",
    "billing_error": "request",
}


class AnthropicModel:
    """A model that is reached through the Messages API.

    ``name`` is the model's id as the provider spells it, for example one of
    ``anthropic.types.Model``. ``base_url`` leads to another server; ``api_key``
    is by default ``$ANTHROPIC_API_KEY``, read at each request; that key goes to
    Anthropic or to ``$ANTHROPIC_BASE_URL`` and nowhere else, so any other
    ``base_url`` needs its own, and one on this machine needs none.
    ``max_tokens`` bounds an answer, thinking included, unless a setting of the
    tree does. ``timeout`` is in seconds of silence. ``max_retries`` counts the
    further tries where the server is busy or not to be reached, before the answer
    has begun. ``caching=False`` sets no cache marks. ``prefix`` stands before the
    id in ``AnthropicModel.name``.

    An adapter may be used from several event loops and by several tasks at once.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        timeout: float = DEFAULT_TIMEOUT,
        max_retries: int = 2,
        caching: bool = True,
        prefix: str = "anthropic",
    ) -> None:
        self._id = name.removeprefix(f"{prefix}:").strip()
        if not self._id:
            raise ModelError(
                f"AnthropicModel() takes a model's id, such as 'claude-…', got {name!r}", kind="request"
            )
        self._prefix = prefix
        self._base_url = base_url
        self._api_key = api_key
        self._max_tokens = max_tokens
        self._timeout = timeout
        self._max_retries = max_retries
        self._caching = caching
        # Connections belong to the loop that opened them.
        self._clients: WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[str, str | None, AsyncAnthropic]
        ] = WeakKeyDictionary()

    @property
    def name(self) -> str:
        """Prefix and id, as ``resolve`` takes it."""
        return f"{self._prefix}:{self._id}"

    @property
    def source(self) -> Source:
        """Always ``"live"``."""
        return "live"

    @property
    def capabilities(self) -> Capabilities:
        """All kinds of content; the window where it is known."""
        return Capabilities(server_tools=self._prefix == "anthropic", window=window_of(self.name))

    def __repr__(self) -> str:
        return f"<AnthropicModel {self.name}>"

    def warm(self) -> None:
        """Load the SDK, which takes about a second; may be called in a thread, and more than once."""
        import anthropic.resources.messages  # noqa: F401  # the client loads this one late

    async def aclose(self) -> None:
        """Close the connections of the running loop; the next request opens new ones."""
        held = self._clients.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[2].close()

    async def stream(self, context: CompiledContext) -> AsyncGenerator[ModelEvent, None]:
        """Answer ``context``, event by event; see ``ModelAdapter``.

        Raises ``MissingKeyError`` before anything is loaded or sent, and
        ``ModelError`` for every failure. A tool call that was cut by the end of the
        answer begins and does not end: it is not to be run.
        """
        key, url = self._access()
        request = self._request(context, caching=self._caching)
        await self._load()
        import httpx2
        from anthropic import AnthropicError

        answer = Answer(self.name, self._prefix)
        try:
            stream = await self._client(key, url).messages.create(**request, stream=True)
            async with stream, aclosing(aiter(stream)) as events:
                async for raw in events:
                    for event in answer.take(raw):
                        if type(event) is MessageDelta:
                            await learn(self.name, context, event)
                        yield event
                    if answer.complete:
                        await _read_out(events)
        except (AnthropicError, httpx2.HTTPError, ValueError) as error:
            raise self._failure(error, key, url, started=answer.started) from error
        if not answer.complete:
            raise failed(
                f"{self.name} ended its answer before it was complete; what came is kept, send again",
                "stream",
            )

    async def count_tokens(self, context: CompiledContext) -> int:
        """Ask the provider how many tokens the input of ``context`` has; nothing is answered or charged.

        ``context.tokens`` is the estimate beside it. Raises ``ModelError`` as
        ``stream`` does, and where a server has no such count.
        """
        key, url = self._access()
        request = self._request(context, caching=False)
        counted = {name: value for name, value in request.items() if name in COUNTED}
        await self._load()
        import httpx2
        from anthropic import AnthropicError, NotFoundError

        try:
            return (await self._client(key, url).messages.count_tokens(**counted)).input_tokens
        except NotFoundError as error:
            raise failed(
                f"{self.name} counts no tokens where it was asked, or is not known there; "
                "check the model's id, or go by the estimate, context.tokens",
                "request",
            ) from error
        except (AnthropicError, httpx2.HTTPError, ValueError) as error:
            raise self._failure(error, key, url) from error

    def _request(self, context: CompiledContext, *, caching: bool) -> dict[str, Any]:
        own = self.capabilities.server_tools
        model = self._id if own else self.name
        request = request_of(context, model, max_tokens=self._max_tokens, caching=caching, server_tools=own)
        return {**request, "model": self._id}

    async def _load(self) -> None:
        if "anthropic.resources.messages" not in sys.modules:
            await asyncio.to_thread(self.warm)

    def _access(self) -> tuple[str, str | None]:
        """Return the key and the base URL of the next request."""
        url = self._base_url or os.environ.get("ANTHROPIC_BASE_URL") or None
        key = (self._api_key or "").strip()
        if not key and (self._base_url is None or is_at(self._base_url, _KEY_HOSTS)):
            key = os.environ.get("ANTHROPIC_API_KEY", "").strip()
        if not key and url is not None and on_this_machine(url):
            key = LOCAL_KEY
        if not key and self._base_url is not None and not is_at(self._base_url, _KEY_HOSTS):
            raise MissingKeyError(
                f"no API key for {urlsplit(self._base_url).netloc}: pass api_key= (ANTHROPIC_API_KEY is not sent there)"
            )
        if not key:
            raise MissingKeyError(
                'no API key: set ANTHROPIC_API_KEY, pass api_key=, or use model="simulated" to go on without one'
            )
        check_key(key, self.name)
        return key, url

    def _client(self, key: str, url: str | None) -> AsyncAnthropic:
        loop = asyncio.get_running_loop()
        held = self._clients.get(loop)
        if held is not None and held[:2] == (key, url):
            return held[2]
        import httpx2
        from anthropic import AsyncAnthropic

        client = AsyncAnthropic(
            api_key=key,
            base_url=url,
            timeout=httpx2.Timeout(self._timeout, connect=min(self._timeout, _CONNECT_TIMEOUT)),
            max_retries=self._max_retries,
        )
        self._clients[loop] = (key, url, client)
        return client

    def _failure(self, error: Exception, key: str, url: str | None, *, started: bool = False) -> ModelError:
        """Put a failure of SDK or connection into one sentence of ours."""
        import anthropic
        import httpx2

        if isinstance(error, anthropic.APIStatusError):
            return self._refusal(error, key)
        if isinstance(error, (anthropic.APITimeoutError, httpx2.TimeoutException)):
            return failed(
                f"{self.name} sent nothing for {self._timeout:g} s; send again, or give it longer with timeout=",
                "timeout",
            )
        if started and isinstance(error, httpx2.HTTPError):
            text = f"the connection to {self.name} broke off in mid-answer; what came is kept, send again"
            return failed(text, "connection")
        if isinstance(error, (anthropic.APIConnectionError, httpx2.HTTPError)):
            host = urlsplit(url).netloc if url else "api.anthropic.com"
            return failed(
                f"{self.name} could not be reached at {host}; check that it runs and the network, then send again",
                "connection",
            )
        return failed(f"{self.name} sent what cannot be read ({type(error).__name__}); send again", "stream")

    def _refusal(self, error: Any, key: str) -> ModelError:
        """Read an error that the API itself reports, before or in mid-stream."""
        status = error.status_code
        kind = _KINDS.get(error.type or "") or kind_of(status)
        wait = error.response.headers.get("retry-after", "")
        told = status if status >= 400 else 0
        return refused(
            Refusal(self.name, told, kind, error.api_message or "", wait, "ANTHROPIC_API_KEY"), key
        )


async def _read_out(events: AsyncIterator[Any]) -> None:
    """Read to the end after the last event: only then can the connection be used again."""
    with suppress(Exception):
        async with asyncio.timeout(1.0):
            async for _ in events:
                pass
