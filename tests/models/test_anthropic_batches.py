"""An answer of a batch, given as if it had been streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from anthropic.types import Message as Answer
from anthropic.types import RefusalStopDetails

from nbsession import ModelError
from nbsession.content import Message, Text
from nbsession.context import context_of
from nbsession.events import ContentBlockStop, MessageDelta
from nbsession.models.anthropic.batches import Received, Reply
from tests.support import fake_messages as fake

if TYPE_CHECKING:
    from nbsession.models.anthropic import AnthropicModel

ASKED = context_of(messages=[Message("user", (Text("Where?"),))])
USAGE = {
    "input_tokens": 11,
    "cache_read_input_tokens": 20,
    "cache_creation_input_tokens": 5,
    "output_tokens": 17,
    "output_tokens_details": {"thinking_tokens": 3},
}


def answer(*content: dict[str, Any], **options: Any) -> Any:
    given = {"stop_reason": "end_turn", "content": content, "usage": USAGE, **options}
    return Answer.model_validate(
        {"id": "msg_1", "type": "message", "role": "assistant", "model": fake.MODEL, **given}
    )


async def test_an_answer_is_read_as_if_it_had_been_streamed(
    live: AnthropicModel, messages_server: fake.FakeMessages
) -> None:
    messages_server.will(
        fake.message(fake.thinking_block("Hm, where?"), fake.text_block("In Paris, I think."))
    )
    streamed = [event async for event in live.stream(ASKED)]
    message = answer(
        {"type": "thinking", "thinking": "Hm, where?", "signature": "c2lnbmVk"},
        {"type": "text", "text": "In Paris, I think.", "citations": None},
    )
    received = [event async for event in Received(live, Reply(message), ASKED.hash).stream(ASKED)]

    def contents(events: Any) -> list[Any]:
        return [event.content for event in events if isinstance(event, ContentBlockStop)]

    assert contents(received) == contents(streamed)
    assert received[0] == streamed[0]
    end, streamed_end = (
        next(e for e in events if isinstance(e, MessageDelta)) for events in (received, streamed)
    )
    assert end.usage.batch
    assert not streamed_end.usage.batch
    assert {**end.usage.to_dict(), "batch": False} == streamed_end.usage.to_dict()
    assert end.stop_reason == "end_turn"


async def test_what_an_answer_says_of_its_end_and_of_what_was_cleared_is_kept(live: AnthropicModel) -> None:
    edits = [{"type": "clear_tool_uses_20250919", "cleared_tool_uses": 2, "cleared_input_tokens": 900}]
    details = RefusalStopDetails(type="refusal", category="cyber", explanation="It will not.")
    message = answer(
        {"type": "text", "text": "No"},
        stop_reason="refusal",
        stop_details=details.model_dump(),
        context_management={"applied_edits": edits},
    )
    events = [event async for event in Received(live, Reply(message), ASKED.hash).stream(ASKED)]
    end = next(event for event in events if isinstance(event, MessageDelta))
    assert (end.stop_reason, end.detail) == ("refusal", "It will not.")
    contents = [event.content for event in events if isinstance(event, ContentBlockStop)]
    assert str(contents[0]) == "No"
    assert "2 uses of tools, 900 tokens" in str(contents[1])


async def test_an_answer_is_given_once_and_to_its_own_context_alone(live: AnthropicModel) -> None:
    received = Received(live, Reply(answer({"type": "text", "text": "Here."})), ASKED.hash)
    assert (received.name, received.capabilities, received.source) == (live.name, live.capabilities, "live")
    assert received.request(ASKED) == live.request(ASKED)
    other = context_of(messages=[Message("user", (Text("When?"),))])
    with pytest.raises(ModelError, match="the context is another one than"):
        _ = [event async for event in Received(live, Reply(answer()), ASKED.hash).stream(other)]
    assert [event async for event in received.stream(ASKED)]
    with pytest.raises(ModelError, match="a batch has one tick"):
        _ = [event async for event in received.stream(ASKED)]
