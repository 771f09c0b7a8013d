"""Models behind the Chat Completions API: OpenAI's own, and any server that speaks it.

The SDK is the extra ``nbsession[openai]``; it is loaded when a model is first
used, in a thread.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from nbsession.errors import MissingKeyError, ModelError
from nbsession.models.base import Capabilities, Source, refuse_unfit
from nbsession.models.openai_request import request_of
from nbsession.models.openai_stream import Answer
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
    from openai import AsyncOpenAI

    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent

DEFAULT_URL = "https://api.openai.com/v1"
DEFAULT_TIMEOUT = 180.0
"""Seconds without a byte after which a request has failed."""

INSTALL = "pip install 'nbsession[openai]'"

_CONNECT_TIMEOUT = 10.0
_KEY_HOSTS = ("openai.com",)
_NEWER_LIMIT_HOSTS = ("openai.com", "azure.com")
_CODES = {
    "invalid_api_key": "authentication",
    "insufficient_quota": "request",
    "rate_limit_exceeded": "rate_limit",
    "server_error": "server",
    "context_length_exceeded": "request",
    "server_is_overloaded": "overloaded",
}


class OpenAIModel:
    """A model that is reached through the Chat Completions API.

    ``name`` is the model's id as the server spells it. ``base_url`` leads to
    another server, with the path before ``/chat/completions`` (mostly ``/v1``).
    ``api_key`` is by default ``$OPENAI_API_KEY``, read at each request; that key
    goes to OpenAI or to ``$OPENAI_BASE_URL`` and nowhere else, so any other
    ``base_url`` needs its own, and one on this machine needs none. ``max_tokens``
    bounds an answer, thinking included, unless a setting of the tree does; by
    default the server does. ``timeout`` is in seconds of silence. ``max_retries``
    counts the further tries where the server is busy or not to be reached, before
    the answer has begun. ``capabilities`` say what the model takes, where that is
    less than everything. ``prefix`` stands before the id in ``OpenAIModel.name``.

    An adapter may be used from several event loops and by several tasks at once.
    Raises ``ModelError`` where the package ``openai`` is not installed.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        max_tokens: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_retries: int = 2,
        capabilities: Capabilities | None = None,
        prefix: str = "openai",
    ) -> None:
        self._id = name.removeprefix(f"{prefix}:").strip()
        if not self._id:
            raise ModelError(
                f"OpenAIModel() takes a model's id, such as 'gpt-…', got {name!r}", kind="request"
            )
        if importlib.util.find_spec("openai") is None:
            raise ModelError(f"{prefix}:{self._id} needs the package openai: {INSTALL}", kind="request")
        self._prefix = prefix
        self._base_url = base_url
        self._api_key = api_key
        self._max_tokens = max_tokens
        self._timeout = timeout
        self._max_retries = max_retries
        self._capabilities = capabilities
        # Connections belong to the loop that opened them.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[str, str, AsyncOpenAI]] = (
            WeakKeyDictionary()
        )

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
        """Those given, else all kinds of content, and the window where it is known."""
        return self._capabilities or Capabilities(window=window_of(self.name))

    def __repr__(self) -> str:
        return f"<OpenAIModel {self.name}>"

    def warm(self) -> None:
        """Load the SDK, which takes about a second; may be called in a thread, and more than once."""
        import openai.resources.chat  # noqa: F401  # the client loads this one late

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
        refuse_unfit(context, self)
        key, url = self._access()
        # Reasoning models take the one name only, many other servers the other.
        limit = "max_completion_tokens" if is_at(url, _NEWER_LIMIT_HOSTS) else "max_tokens"
        request = request_of(context, self._id, max_tokens=self._max_tokens, limit_name=limit)
        if "openai.resources.chat" not in sys.modules:
            await asyncio.to_thread(self.warm)
        import httpx2
        from openai import OpenAIError

        answer = Answer(self.name, context, self._prefix)
        try:
            stream = await self._client(key, url).chat.completions.create(
                **request, stream=True, stream_options={"include_usage": True}
            )
            async with stream, aclosing(aiter(stream)) as chunks:
                async for chunk in chunks:
                    for event in answer.take(chunk):
                        yield event
        except (OpenAIError, httpx2.HTTPError, ValueError, AttributeError, TypeError) as error:
            # The SDK takes chunks of any form: what is not of theirs shows when it is read.
            raise self._failure(error, answer, key, url) from error
        if not answer.complete:
            raise failed(
                f"{self.name} ended its answer before it was complete; what came is kept, send again",
                "stream",
            )
        for event in answer.end():
            await learn(self.name, context, event)
            yield event

    def _access(self) -> tuple[str, str]:
        """Return the key and the base URL of the next request."""
        url = self._base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL
        key = (self._api_key or "").strip()
        if not key and on_this_machine(url):
            key = LOCAL_KEY
        if not key and (self._base_url is None or is_at(url, _KEY_HOSTS)):
            key = os.environ.get("OPENAI_API_KEY", "").strip()
            if not key:
                raise MissingKeyError(
                    'no API key: set OPENAI_API_KEY, pass api_key=, or use model="simulated" to go on without one'
                )
        if not key:
            raise MissingKeyError(
                f"no API key for {urlsplit(url).netloc}: pass api_key= (OPENAI_API_KEY is not sent there)"
            )
        check_key(key, self.name)
        return key, url

    def _client(self, key: str, url: str) -> AsyncOpenAI:
        loop = asyncio.get_running_loop()
        held = self._clients.get(loop)
        if held is not None and held[:2] == (key, url):
            return held[2]
        import httpx2
        from openai import AsyncOpenAI

        client = AsyncOpenAI(
            api_key=key,
            base_url=url,
            timeout=httpx2.Timeout(self._timeout, connect=min(self._timeout, _CONNECT_TIMEOUT)),
            max_retries=self._max_retries,
        )
        if not is_at(url, _KEY_HOSTS):
            # Read from the environment by the SDK, and nobody else's business.
            client.organization = client.project = None
        self._clients[loop] = (key, url, client)
        return client

    def _failure(self, error: Exception, answer: Answer, key: str, url: str) -> ModelError:
        """Put a failure of SDK or connection into one sentence of ours."""
        import httpx2
        import openai

        if isinstance(error, (openai.APITimeoutError, httpx2.TimeoutException)):
            return failed(
                f"{self.name} sent nothing for {self._timeout:g} s; send again, or give it longer with timeout=",
                "timeout",
            )
        if isinstance(error, (openai.APIConnectionError, httpx2.HTTPError)):
            if answer.started:
                text = f"the connection to {self.name} broke off in mid-answer; what came is kept, send again"
                return failed(text, "connection")
            return failed(
                f"{self.name} could not be reached at {urlsplit(url).netloc}; "
                "check that it runs and the network, then send again",
                "connection",
            )
        if isinstance(error, openai.APIError):
            return self._refusal(error, key)
        return failed(f"{self.name} sent what cannot be read ({type(error).__name__}); send again", "stream")

    def _refusal(self, error: Any, key: str) -> ModelError:
        """Read an error that the server itself reports, before or in mid-stream."""
        status = getattr(error, "status_code", 0)
        code = error.code or error.type or ""
        said = error.body.get("message") if isinstance(error.body, dict) else error.body
        message = said if isinstance(said, str) else error.message
        if code == "insufficient_quota":
            message = f"{message.rstrip('.')} (an account without credit is refused until it has some)"
        kind = _CODES.get(code) or (kind_of(status) if status else "server")
        headers = error.response.headers if status else {}
        return refused(
            Refusal(self.name, status, kind, message, headers.get("retry-after", ""), "OPENAI_API_KEY"), key
        )
