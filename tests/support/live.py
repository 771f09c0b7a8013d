"""What is the same of all live models in tests: a server that speaks their API, and replies in its words."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from nbsession.content import Message, Text
from nbsession.context import CompiledContext, context_of
from nbsession.errors import ModelError
from nbsession.events import ContentBlockStop
from nbsession.models import AnthropicModel, OpenAIModel
from tests.support import fake_chat, fake_messages, fake_responses

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession.events import ModelEvent
    from nbsession.models import ModelAdapter
    from tests.support.fake_messages import FakeMessages, Reply

KEY = "sk-secret-1234"


@dataclass(frozen=True)
class Provider:
    """An API and a server that speaks it. ``page`` is where it is asked, ``variables`` begin its environment."""

    server: FakeMessages
    adapter: Callable[..., AnthropicModel | OpenAIModel]
    prefix: str
    page: str
    variables: str
    text: Callable[[str], Reply]
    pieces: Callable[..., Reply]
    """Text in the given deltas."""
    calling: Callable[[str, str, str], Reply]
    """A call: tool, input as JSON text, id."""
    status: Callable[..., Reply]

    @property
    def url(self) -> str:
        """What its ``base_url`` is."""
        return self.server.url + ("" if self.prefix == "anthropic" else "/v1")

    def model(self, name: str = "test-1", **options: Any) -> AnthropicModel | OpenAIModel:
        """Make an adapter that reaches the server, with a key, and that does not try again."""
        given: dict[str, Any] = {"base_url": self.url, "api_key": KEY, "max_retries": 0, "timeout": 5}
        return self.adapter(name, **{**given, **options})


def anthropic(server: FakeMessages) -> Provider:
    return Provider(
        server,
        AnthropicModel,
        "anthropic",
        "/v1/messages",
        "ANTHROPIC",
        fake_messages.text,
        lambda *pieces: fake_messages.message(fake_messages.text_block_of(pieces)),
        lambda name, text, call_id: fake_messages.message(
            fake_messages.tool_block(name, text, call_id), stop_reason="tool_use"
        ),
        lambda code, words="no luck", **headers: fake_messages.status(code, "other", words, **headers),
    )


def chat(server: FakeMessages) -> Provider:
    return Provider(
        server,
        OpenAIModel,
        "openai",
        "/v1/chat/completions",
        "OPENAI",
        fake_chat.text,
        lambda *pieces: fake_chat.answer(*[{"content": piece} for piece in pieces]),
        lambda name, text, call_id: fake_chat.answer(
            *fake_chat.calling(name, text, call_id), finish="tool_calls"
        ),
        lambda code, words="no luck", **headers: fake_chat.status(code, None, words, **headers),
    )


def responses(server: FakeMessages) -> Provider:
    return Provider(
        server,
        partial(OpenAIModel, api="responses"),
        "openai",
        "/v1/responses",
        "OPENAI",
        fake_responses.text,
        lambda *pieces: fake_responses.answer(fake_responses.said_of(pieces)),
        lambda name, text, call_id: fake_responses.answer(fake_responses.calling(name, text, call_id)),
        lambda code, words="no luck", **headers: fake_chat.status(code, None, words, **headers),
    )


def context(words: str = "Hi") -> CompiledContext:
    return context_of(["You are kind."], [Message("user", (Text(words),))])


async def ask(
    model: ModelAdapter, asked: CompiledContext | None = None, into: list[ModelEvent] | None = None
) -> list[ModelEvent]:
    """Return the events of an answer, also in ``into``: there they are where it fails, too."""
    events: list[ModelEvent] = [] if into is None else into
    async with aclosing(model.stream(asked or context())) as stream:  # type: ignore[type-var]  # adapters are generators
        async for event in stream:
            events.append(event)  # noqa: PERF401  # what came before a failure is looked at
    return events


async def failure(model: Any, asked: CompiledContext | None = None) -> ModelError:
    """Return the failure of an answer: one sentence, and nothing behind it."""
    with pytest.raises(ModelError) as caught:
        await ask(model, asked)
    await model.aclose()
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    return caught.value


def finished(events: list[ModelEvent]) -> list[Any]:
    """Return the blocks that came to their end."""
    return [event.content for event in events if isinstance(event, ContentBlockStop)]
