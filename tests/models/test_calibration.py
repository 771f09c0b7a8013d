from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nbsession import App, System, Timeline, WebSearch, component
from nbsession.content import Block, Image, Message, Text, ToolCall, ToolResult
from nbsession.context import CompiledContext, context_of
from nbsession.models import AnthropicModel
from nbsession.notebook.view.transcript import Transcript
from nbsession.usage import calibrated
from tests.support import fake_chat
from tests.support.fake_messages import message, text_block

if TYPE_CHECKING:
    from nbsession.models import ModelAdapter, OpenAIModel
    from tests.support.fake_chat import FakeChat
    from tests.support.fake_messages import FakeMessages, Reply


def context(*blocks: Block) -> CompiledContext:
    return context_of(["x" * 4_000], [Message("user", (Text("Hi"), *blocks))])


def reported(tokens: int, **more: object) -> Reply:
    reply = message(text_block("Yes."))
    events = [dict(event) for event in reply.events]
    none = {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    events[-2]["usage"] = {"input_tokens": tokens, "output_tokens": 1, **none, **more}
    return type(reply)(tuple(events))


async def ask(model: ModelAdapter, *contexts: CompiledContext) -> None:
    for asked in contexts:
        async for _ in model.stream(asked):
            pass


async def test_anthropic_answers_are_learned_from(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(*[reported(context().tokens * 2)] * 3)
    await ask(live, *[context()] * 3)
    assert calibrated(live.name).samples == 3
    assert calibrated(live.name).factor == pytest.approx(2)


async def test_answers_over_chat_completions_are_learned_from(
    chat_server: FakeChat, chat: OpenAIModel
) -> None:
    usage = {**fake_chat.USAGE, "prompt_tokens": context().tokens * 2}
    chat_server.will(*[fake_chat.answer(*fake_chat.pieces("Yes."), usage=usage)] * 3)
    await ask(chat, *[context()] * 3)
    assert calibrated(chat.name).factor == pytest.approx(2)


async def test_an_answer_whose_input_is_more_than_the_text_teaches_nothing(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    picture = Image("image/png", b"\x89PNG\r\n\x1a\n")
    call, result = ToolCall("toolu_1", "draw", {}), ToolResult("toolu_1", "draw", (picture,))
    drawn = [Message("user", (Text("Draw"),)), Message("assistant", (call,)), Message("user", (result,))]
    searching = context_of(["x" * 4_000], drawn[:1], [WebSearch().spec])
    messages_server.will(*[reported(3_000)] * 3)
    await ask(live, context(picture), context_of(["x" * 4_000], drawn), searching)
    assert calibrated(live.name).samples == 0


async def test_the_view_shows_a_context_as_the_model_counts_it(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    @component
    def Long() -> list[object]:
        return [System("x" * 4_000), Timeline()]

    messages_server.will(*[reported(2_000)] * 3)
    session = App(Long, model=live).session()
    shown = []
    for _ in range(3):
        result = await session.send("Hi")
        shown.append(Transcript.of(result.ticks).ticks[0].counted)
    session.close()
    assert shown[:2] == ["", ""]
    assert shown[2].startswith("≈2,0")
    assert "±" in shown[2]


async def test_the_view_shows_what_the_cache_saved(messages_server: FakeMessages) -> None:
    priced = AnthropicModel("claude-sonnet-5-5", base_url=messages_server.url, max_retries=0)
    cached = reported(500, cache_read_input_tokens=1_000_000)
    start = {**cached.events[0], "message": {**cached.events[0]["message"], "model": "claude-sonnet-5-5"}}
    messages_server.will(type(cached)((start, *cached.events[1:])))

    @component
    def Short() -> list[object]:
        return [System("Be kind."), Timeline()]

    session = App(Short, model=priced).session()
    result = await session.send("Hi")
    session.close()
    await priced.aclose()
    run = Transcript.of(result.ticks)
    assert run.saved == pytest.approx(1.9)
