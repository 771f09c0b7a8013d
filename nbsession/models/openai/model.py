"""Models behind the Responses API and Chat Completions: OpenAI's own, and any server that speaks one of them.

The SDK is the extra ``nbsession[openai]``; it is loaded when a model is first
used, in a thread.
"""

from __future__ import annotations

import importlib.util
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from nbsession.context import Capabilities
from nbsession.errors import ModelError
from nbsession.models.base import Source, refuse_unfit
from nbsession.models.endpoint import Service, is_at
from nbsession.models.openai.chat import request as chat_request
from nbsession.models.openai.chat.stream import Answer as ChatAnswer
from nbsession.models.openai.responses import request as responses_request
from nbsession.models.openai.responses.stream import Answer as ResponsesAnswer
from nbsession.models.wire import DEFAULT_TIMEOUT, Wire
from nbsession.usage import window_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import ModuleType

    from openai import AsyncOpenAI, AsyncStream

    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent
    from nbsession.models.arrival import Arrival

Api: TypeAlias = Literal["responses", "chat"]
"""How a server is spoken to: by the Responses API, or by Chat Completions."""

INSTALL = "pip install 'nbsession[openai]'"

_IMAGE_FAULTS = (
    "invalid_image",
    "invalid_image_format",
    "invalid_base64_image",
    "invalid_image_url",
    "invalid_image_mode",
    "image_too_large",
    "image_too_small",
    "image_parse_error",
    "image_content_policy_violation",
    "image_file_too_large",
    "image_file_not_found",
    "unsupported_image_media_type",
    "empty_image_file",
    "failed_to_download_image",
)
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
        "vector_store_timeout": "timeout",
        # A response says these in mid-stream, where there is no status to tell them by.
        "invalid_prompt": "request",
        "data_residency_mismatch": "request",
        "bio_policy": "request",
        "misalignment_policy_violation": "request",
        **dict.fromkeys(_IMAGE_FAULTS, "request"),
    },
)
"""OpenAI's own service."""


class OpenAIModel:
    """A model that is reached through the Responses API, or through Chat Completions.

    ``name`` is the model's id as the server spells it. ``api`` is ``"responses"`` or
    ``"chat"``; by default OpenAI's own service is spoken to by the first, which keeps a model's
    reasoning from tick to tick, tells a summary of it and runs tools of its own, and any other
    server by the second, which most of them know. ``base_url`` leads to another server, with
    the path before ``/responses`` or ``/chat/completions`` (mostly ``/v1``).
    ``api_key`` is by default ``$OPENAI_API_KEY``, read at each request; that key
    goes to OpenAI or to ``$OPENAI_BASE_URL`` and nowhere else, so any other
    ``base_url`` needs its own, and one on this machine needs none. ``max_tokens``
    bounds an answer, thinking included, unless a setting of the tree does; by
    default the server does. ``timeout`` is in seconds of silence. ``max_retries``
    counts the further tries where the server is busy or not to be reached, before
    the answer has begun. ``capabilities`` say what the model takes, where that is
    less than everything. ``prefix`` stands before the id in ``OpenAIModel.name``.

    An adapter may be used from several event loops and by several tasks at once.
    Raises ``ModelError`` where the package ``openai`` is not installed, and for another ``api``.
    """

    def __init__(
        self,
        name: str,
        *,
        api: Api | None = None,
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
        if api not in (None, *get_args(Api)):
            raise ModelError(
                f"api= of {prefix}:{self._id} must be 'responses' or 'chat', got {api!r}", kind="request"
            )
        if importlib.util.find_spec("openai") is None:
            raise ModelError(f"{prefix}:{self._id} needs the package openai: {INSTALL}", kind="request")
        self._prefix = prefix
        self._api: Api | None = api
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
        return self._capabilities or Capabilities(
            server_tools=self.api == "responses", window=window_of(self.name)
        )

    @property
    def api(self) -> Api:
        """How the server is spoken to: as was asked for, else as befits where the next request goes."""
        return self._api or ("responses" if is_at(self._wire.url, SERVICE.hosts) else "chat")

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
        if self.api == "responses":
            body = responses_request.request_of(
                context, self._id, max_tokens=self._max_tokens, name=self.name
            )
            return {**body, "stream": True}
        # Reasoning models take the one name only, many other servers the other.
        limit = "max_completion_tokens" if is_at(self._wire.url, _NEWER_LIMIT_HOSTS) else "max_tokens"
        body = chat_request.request_of(context, self._id, max_tokens=self._max_tokens, limit_name=limit)
        return {**body, "stream": True, "stream_options": {"include_usage": True}}

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
        answer: Arrival
        if self.api == "responses":
            answer, page = ResponsesAnswer(self.name, context, self._prefix), "/responses"
        else:
            answer, page = ChatAnswer(self.name, context, self._prefix), "/chat/completions"
        events = self._wire.events(context, endpoint, answer, partial(_create, client, page), request)
        async with aclosing(events):
            async for event in events:
                yield event

    async def count_tokens(self, context: CompiledContext) -> int:
        """Ask the provider how many tokens the input of ``context`` has; nothing is answered or charged.

        ``context.tokens`` is the estimate beside it. Raises ``ModelError`` as ``stream``
        does, and where a server has no such count, as behind Chat Completions.
        """
        missing = (
            f"{self.name} counts no tokens where it was asked, or is not known there; "
            "check the model's id, or go by the estimate, context.tokens"
        )
        if self.api == "chat":
            raise ModelError(missing, kind="request")
        endpoint = self._wire.endpoint()
        request = self.request(context)
        counted = {name: value for name, value in request.items() if name in responses_request.COUNTED}
        client = await self._wire.client(endpoint)
        answer = await self._wire.asked(endpoint, partial(_count, client), counted, missing=missing)
        tokens: int = answer["input_tokens"]
        return tokens


async def _count(client: AsyncOpenAI, /, **body: Any) -> Any:
    return await client.post("/responses/input_tokens", body=body, cast_to=object)


async def _create(client: AsyncOpenAI, page: str, /, **body: Any) -> AsyncStream[Any]:
    """Ask for a stream of plain JSON data: to make the SDK's objects of it takes three times as long as all else."""
    from openai import AsyncStream

    return await client.post(page, body=body, cast_to=object, stream=True, stream_cls=AsyncStream[Any])
