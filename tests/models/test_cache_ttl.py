"""How long a provider keeps what it caches: asked for by one setting, reported and charged apart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Model, System, Timeline, component
from nbsession.content import Message, Text
from nbsession.context import context_of
from nbsession.errors import ModelError
from nbsession.models.anthropic.request import request_of
from nbsession.models.openai.responses.request import request_of as responses_request_of
from nbsession.usage import Usage, prices
from tests.support import fake_messages
from tests.support.fake_responses import USAGE, answer, said

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession.models import AnthropicModel, OpenAIModel
    from tests.support.fake_messages import FakeMessages
    from tests.support.fake_responses import FakeResponses


@component
def Coast(ttl: str) -> list[Any]:
    return [Model(cache_ttl=ttl), System("You know the sea."), Timeline()]


async def test_an_hour_is_asked_for_at_every_mark_and_reported(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    reply = fake_messages.text("Noon.")
    written = {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 4}
    start = reply.events[0]
    usage = {**start["message"]["usage"], "cache_creation": written}
    first = {**start, "message": {**start["message"], "usage": usage}}
    messages_server.will(replace(reply, events=(first, *reply.events[1:])))
    session = App(Coast("1h"), model=live).session()
    result = await session.send("When?")
    session.close()
    [sent] = messages_server.requests
    mark = {"type": "ephemeral", "ttl": "1h"}
    assert sent.body["system"][-1]["cache_control"] == mark
    assert sent.body["messages"][-1]["content"][-1]["cache_control"] == mark
    assert (result.usage.cache_write_tokens, result.usage.cache_write_long_tokens) == (5, 4)


async def test_twelve_hours_are_asked_for_of_openai_and_reported(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    details = {
        **USAGE["input_tokens_details"],  # type: ignore[dict-item]  # a table in a table
        "cache_write_tokens_details": {"ttl_30m_tokens": 1, "ttl_12h_tokens": 4},
    }
    responses_server.will(answer(said("Noon."), usage={**USAGE, "input_tokens_details": details}))
    session = App(Coast("12h"), model=responses).session()
    result = await session.send("When?")
    session.close()
    assert responses_server.requests[0].body["prompt_cache_options"] == {"ttl": "12h"}
    assert (result.usage.cache_write_tokens, result.usage.cache_write_long_tokens) == (5, 4)


@pytest.mark.parametrize(
    ("build", "ttl", "known"),
    [(request_of, "12h", "'5m' or '1h'"), (responses_request_of, "1h", "'30m' or '12h'")],
)
def test_a_time_that_the_provider_has_not_is_named_with_those_it_has(
    build: Callable[..., Any], ttl: str, known: str
) -> None:
    context = context_of([], [Message("user", (Text("Hi"),))], settings={"cache_ttl": ttl})
    with pytest.raises(ModelError, match=f"cache_ttl for tiny must be {known}, got '{ttl}'"):
        build(context, "tiny")


def test_what_is_kept_longer_has_its_own_price() -> None:
    short = Usage(1_000, 0, cache_write_tokens=1_000)
    long = replace(short, cache_write_long_tokens=400)
    assert prices.cost("claude-sonnet-5-5", short) == pytest.approx(1_000 * 2.5 / 1e6)
    assert prices.cost("claude-sonnet-5-5", long) == pytest.approx((600 * 2.5 + 400 * 4) / 1e6)
    assert prices.cost("gpt-6-sol", long) == pytest.approx((600 * 2.5 + 400 * 5) / 1e6)
    assert prices.saved("gpt-6-sol", long) == pytest.approx((1_000 * 2 - 600 * 2.5 - 400 * 5) / 1e6)
    assert (long + long).cache_write_long_tokens == 800
    assert Usage.from_dict(long.to_dict()) == long
