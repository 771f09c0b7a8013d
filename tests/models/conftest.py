"""A server that speaks the Messages API, and a model that reaches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nbsession.models.anthropic import AnthropicModel
from tests.support.fake_messages import FakeMessages

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
