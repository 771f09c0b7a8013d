"""Servers that speak the Messages API, Chat Completions and the Responses API, and models that reach them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nbsession.models.anthropic.model import AnthropicModel
from nbsession.models.openai.model import OpenAIModel
from tests.support import live as providers
from tests.support.fake_chat import FakeChat
from tests.support.fake_messages import FakeMessages
from tests.support.fake_responses import FakeResponses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def messages_server() -> Iterator[FakeMessages]:
    with FakeMessages() as server:
        yield server


@pytest.fixture
async def live(messages_server: FakeMessages) -> AsyncIterator[AnthropicModel]:
    model = AnthropicModel(
        "claude-test-1", base_url=messages_server.url, api_key="sk-secret-1234", max_retries=0, timeout=5
    )
    yield model
    await model.aclose()


@pytest.fixture
def chat_server() -> Iterator[FakeChat]:
    with FakeChat() as server:
        yield server


@pytest.fixture
async def chat(chat_server: FakeChat) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel(
        "gpt-test-1", base_url=f"{chat_server.url}/v1", api_key="sk-secret-1234", max_retries=0, timeout=5
    )
    yield model
    await model.aclose()


@pytest.fixture
def responses_server() -> Iterator[FakeResponses]:
    with FakeResponses() as server:
        yield server


@pytest.fixture
async def responses(responses_server: FakeResponses) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel(
        "gpt-test-1",
        api="responses",
        base_url=f"{responses_server.url}/v1",
        api_key="sk-secret-1234",
        max_retries=0,
        timeout=5,
    )
    yield model
    await model.aclose()


@pytest.fixture(params=["anthropic", "chat", "responses"])
def provider(
    request: pytest.FixtureRequest,
    messages_server: FakeMessages,
    chat_server: FakeChat,
    responses_server: FakeResponses,
) -> providers.Provider:
    """Each API in turn."""
    if request.param == "chat":
        return providers.chat(chat_server)
    if request.param == "responses":
        return providers.responses(responses_server)
    return providers.anthropic(messages_server)
