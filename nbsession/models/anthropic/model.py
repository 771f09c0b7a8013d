"""Models behind the Messages API: Anthropic's own, and servers on this machine that speak it.

The SDK takes about a second to import, so it is loaded when a model is first
used, in a thread.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from nbsession.context import Capabilities
from nbsession.errors import ModelError
from nbsession.models.anthropic.batches import MessageBatches
from nbsession.models.anthropic.context_editing import editing
from nbsession.models.anthropic.diagnosis import Answers, Question
from nbsession.models.anthropic.request import COUNTED, DEFAULT_MAX_TOKENS, request_of
from nbsession.models.anthropic.stream import Answer
from nbsession.models.base import Source, refuse_unfit
from nbsession.models.endpoint import Service, is_at
from nbsession.models.wire import DEFAULT_TIMEOUT, Wire
from nbsession.usage import window_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import ModuleType

    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent
    from nbsession.models.endpoint import Endpoint


def _load() -> ModuleType:
    import anthropic
    import anthropic.resources.messages  # the client loads this one late

    return anthropic


SERVICE = Service(
    load=_load,
    client="AsyncAnthropic",
    url="https://api.anthropic.com",
    hosts=("anthropic.com",),
    variables="ANTHROPIC",
    kinds={
        "authentication_error": "authentication",
        "permission_error": "authentication",
        "rate_limit_error": "rate_limit",
        "overloaded_error": "overloaded",
        "timeout_error": "timeout",
        "api_error": "server",
        "invalid_request_error": "request",
        "not_found_error": "request",
        "request_too_large": "request",
        "billing_error": "billing",
    },
)
"""Anthropic's own service."""


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
    has begun. ``caching=False`` sets no cache marks. ``cache_diagnosis`` says whether to ask,
    with ids of earlier answers, why the cache missed: by default of Anthropic's own service
    only; a server that refuses that is not asked again. ``capabilities`` say what the
    model takes, where that is less than everything. ``prefix`` stands before the id
    in ``AnthropicModel.name``.

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
        cache_diagnosis: bool | None = None,
        capabilities: Capabilities | None = None,
        prefix: str = "anthropic",
    ) -> None:
        self._id = name.removeprefix(f"{prefix}:").strip()
        if not self._id:
            raise ModelError(
                f"AnthropicModel() takes a model's id, such as 'claude-…', got {name!r}", kind="request"
            )
        self._prefix = prefix
        self._max_tokens = max_tokens
        self._caching = caching
        self._diagnosing = cache_diagnosis
        self._answers = Answers()
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
        return self._capabilities or Capabilities(
            server_tools=self._prefix == "anthropic", window=window_of(self.name)
        )

    def __repr__(self) -> str:
        return f"<AnthropicModel {self.name}>"

    def warm(self) -> None:
        """Load the SDK, which takes about a second; may be called in a thread, and more than once."""
        _load()

    async def aclose(self) -> None:
        """Close the connections of the running loop; the next request opens new ones."""
        await self._wire.aclose()

    def request(self, context: CompiledContext) -> dict[str, Any]:
        """Return the body of the request that ``stream`` sends for ``context``; it holds no key and no header.

        Not in it is what is asked of the cache beside it: that depends on earlier answers, and changes none.
        """
        return {**self._request(context, caching=self._caching), "stream": True}

    async def stream(self, context: CompiledContext) -> AsyncGenerator[ModelEvent, None]:
        """Answer ``context``, event by event; see ``ModelAdapter``.

        Raises ``MissingKeyError`` before anything is loaded or sent, and
        ``ModelError`` for every failure. A tool call that was cut by the end of the
        answer begins and does not end: it is not to be run.
        """
        refuse_unfit(context, self)
        endpoint = self._wire.endpoint()
        request = self.request(context)
        create = editing((await self._wire.client(endpoint)).messages.create)
        question = Question(self._answers, context, endpoint.url) if self._asks_cache(endpoint) else None
        if question is not None:
            create = question.asking(create)
        answer = Answer(self.name, self._prefix, question)
        async with aclosing(self._wire.events(context, endpoint, answer, create, request)) as events:
            async for event in events:
                if question is not None:
                    question.take(event)
                yield event

    def batches(self) -> MessageBatches:
        """Return what asks the same of the model in batches, at the same place; ``MissingKeyError`` without a key."""
        return MessageBatches(self, self._wire, SERVICE.kinds)

    async def count_tokens(self, context: CompiledContext) -> int:
        """Ask the provider how many tokens the input of ``context`` has; nothing is answered or charged.

        ``context.tokens`` is the estimate beside it. Raises ``ModelError`` as
        ``stream`` does, and where a server has no such count.
        """
        endpoint = self._wire.endpoint()
        request = self._request(context, caching=False)
        counted = {name: value for name, value in request.items() if name in COUNTED}
        count = (await self._wire.client(endpoint)).messages.count_tokens
        missing = (
            f"{self.name} counts no tokens where it was asked, or is not known there; "
            "check the model's id, or go by the estimate, context.tokens"
        )
        tokens: int = (await self._wire.asked(endpoint, count, counted, missing=missing)).input_tokens
        return tokens

    def _asks_cache(self, endpoint: Endpoint) -> bool:
        if self._diagnosing is None:
            return self._caching and is_at(endpoint.url, SERVICE.hosts)
        return self._diagnosing

    def _request(self, context: CompiledContext, *, caching: bool) -> dict[str, Any]:
        own = self.capabilities.server_tools
        model = self._id if own else self.name
        request = request_of(context, model, max_tokens=self._max_tokens, caching=caching, server_tools=own)
        return {**request, "model": self._id}
