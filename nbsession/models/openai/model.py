"""Models behind the Chat Completions API: OpenAI's own, and any server that speaks it.

The SDK is the extra ``nbsession[openai]``; it is loaded when a model is first
used, in a thread.
"""

from __future__ import annotations

import importlib.util
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from nbsession.context import Capabilities
from nbsession.errors import ModelError
from nbsession.models.base import Source, refuse_unfit
from nbsession.models.endpoint import Service, is_at
from nbsession.models.openai.request import request_of
from nbsession.models.openai.stream import Answer
from nbsession.models.wire import DEFAULT_TIMEOUT, Wire
from nbsession.usage import window_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import ModuleType

    from openai import AsyncOpenAI, AsyncStream

    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent

INSTALL = "pip install 'nbsession[openai]'"

_NEWER_LIMIT_HOSTS = ("openai.com", "azure.com")


def _load() -> ModuleType:
    import openai
    import openai.resources.chat  # the client loads this one late

    return openai


SERVICE = Service(
    load=_load,
    client="AsyncOpenAI",
    url="https://api.openai.com/v1",
    hosts=("openai.com",),
    variables="OPENAI",
    kinds={
        "invalid_api_key": "authentication",
        "insufficient_quota": "billing",
        "rate_limit_exceeded": "rate_limit",
        "server_error": "server",
        "context_length_exceeded": "request",
        "server_is_overloaded": "overloaded",
    },
)
"""OpenAI's own service."""


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
        self._max_tokens = max_tokens
        self._capabilities = capabilities
        self._wire = Wire(
            SERVICE,
            self.name,
            base_url=base_url,
            api_key=api_key,
            timeout=timeout,
            max_retries=max_retries,
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
        _load()

    async def aclose(self) -> None:
        """Close the connections of the running loop; the next request opens new ones."""
        await self._wire.aclose()

    def request(self, context: CompiledContext) -> dict[str, Any]:
        """Return the body of the request that ``stream`` sends for ``context``; it holds no key and no header."""
        # Reasoning models take the one name only, many other servers the other.
        limit = "max_completion_tokens" if is_at(self._wire.url, _NEWER_LIMIT_HOSTS) else "max_tokens"
        return {
            **request_of(context, self._id, max_tokens=self._max_tokens, limit_name=limit),
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    async def stream(self, context: CompiledContext) -> AsyncGenerator[ModelEvent, None]:
        """Answer ``context``, event by event; see ``ModelAdapter``.

        Raises ``MissingKeyError`` before anything is loaded or sent, and
        ``ModelError`` for every failure. A tool call that was cut by the end of the
        answer begins and does not end: it is not to be run.
        """
        refuse_unfit(context, self)
        endpoint = self._wire.endpoint()
        request = self.request(context)
        client = await self._wire.client(endpoint)
        if not endpoint.trusted:
            # Read from the environment by the SDK, and nobody else's business.
            client.organization = client.project = None
        answer = Answer(self.name, context, self._prefix)
        events = self._wire.events(context, endpoint, answer, partial(_create, client), request)
        async with aclosing(events):
            async for event in events:
                yield event


async def _create(client: AsyncOpenAI, **body: Any) -> AsyncStream[Any]:
    """Ask for a stream of plain JSON data: to make the SDK's objects of it takes three times as long as all else."""
    from openai import AsyncStream

    return await client.post(
        "/chat/completions", body=body, cast_to=object, stream=True, stream_cls=AsyncStream[Any]
    )
