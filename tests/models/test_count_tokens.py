from __future__ import annotations

import pytest

from nbsession.content import Message, Text, ToolSpec
from nbsession.context import CompiledContext, context_of
from nbsession.errors import MissingKeyError, ModelError
from nbsession.models import AnthropicModel
from tests.support.fake_messages import FakeMessages, Reply, status

NOTE = ToolSpec("add_note", "Keep a note.", {"type": "object", "properties": {}})


def context() -> CompiledContext:
    settings = {"max_tokens": 50, "effort": "low", "metadata": {"user_id": "x"}}
    return context_of(["You are kind."], [Message("user", (Text("Hi"),))], [NOTE], settings)


async def test_the_provider_counts_what_would_be_sent(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(Reply(body={"input_tokens": 42}))
    assert await live.count_tokens(context()) == 42
    [request] = messages_server.requests
    assert request.path == "/v1/messages/count_tokens"
    assert sorted(request.body) == ["messages", "model", "output_config", "system", "tools"]


@pytest.mark.parametrize(
    ("reply", "said", "retryable"),
    [
        (status(404, "not_found_error"), "counts no tokens where it was asked.*context.tokens", False),
        (status(429, "rate_limit_error"), "over its rate limit", True),
        (status(401, "authentication_error", "bad key sk-secret-1234"), "refused the API key", False),
    ],
)
async def test_a_count_that_fails_says_why_without_the_key(
    messages_server: FakeMessages, live: AnthropicModel, reply: Reply, said: str, retryable: bool
) -> None:
    messages_server.will(reply)
    with pytest.raises(ModelError, match=said) as caught:
        await live.count_tokens(context())
    assert caught.value.retryable is retryable
    assert "sk-secret" not in str(caught.value)


async def test_without_a_key_nothing_is_asked() -> None:
    with pytest.raises(MissingKeyError):
        await AnthropicModel("claude-test-1").count_tokens(context())
