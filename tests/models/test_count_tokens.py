from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, System, Timeline, component
from nbsession.content import Message, Text, ToolSpec
from nbsession.context import CompiledContext, context_of
from nbsession.errors import MissingKeyError, ModelError
from nbsession.models import AnthropicModel
from tests.support.fake_messages import FakeMessages, Reply, status

if TYPE_CHECKING:
    from nbsession.models import OpenAIModel
    from tests.support.fake_responses import FakeResponses


@component
def Notepad() -> list[Any]:
    return [System("You keep notes."), Timeline()]


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


async def test_what_a_message_would_send_is_counted_before_it_is_sent(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    session = App(Notepad, model=live).session()
    messages_server.will(Reply(body={"input_tokens": 42}))
    assert await live.count_tokens(session.compile("Hi")) == 42
    await session.send("Hi")
    await session.aclose()
    counted, sent = (request.body for request in messages_server.requests)
    assert counted["messages"][0]["content"][0]["text"] == sent["messages"][0]["content"][0]["text"] == "Hi"
    assert len(session.ticks) == 1


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


async def test_a_count_is_asked_for_again_where_the_server_is_busy(messages_server: FakeMessages) -> None:
    messages_server.will(status(529, retry_after="0.001"), status(429, retry_after="0.001"))
    messages_server.replies.append(Reply(body={"input_tokens": 12}))
    model = AnthropicModel("claude-test-1", base_url=messages_server.url, max_retries=2)
    assert await model.count_tokens(context()) == 12
    await model.aclose()
    assert len(messages_server.requests) == 3


async def test_without_a_key_nothing_is_asked() -> None:
    with pytest.raises(MissingKeyError):
        await AnthropicModel("claude-test-1").count_tokens(context())


async def test_openai_counts_what_would_be_sent_too(
    responses_server: FakeResponses, responses: OpenAIModel, chat: OpenAIModel
) -> None:
    responses_server.will(Reply(body={"object": "response.input_tokens", "input_tokens": 42}), status(404))
    assert await responses.count_tokens(context()) == 42
    [request] = responses_server.requests
    assert request.path == "/v1/responses/input_tokens"
    assert sorted(request.body) == ["input", "instructions", "model", "reasoning", "tools"]
    for model in (responses, chat):
        with pytest.raises(ModelError, match=r"counts no tokens where it was asked.*context\.tokens"):
            await model.count_tokens(context())
