from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Model, Section, System, Timeline, component, tool, use_knob
from nbsession.content import Document, Image
from nbsession.errors import ModelError
from nbsession.models import AnthropicModel
from nbsession.stores import SqlStore
from tests.support.fake_messages import (
    broken,
    message,
    status,
    text,
    text_block,
    thinking_block,
    tool_block,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_messages import FakeMessages


PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
)


@tool
def add_note(note: str) -> str:
    """Keep a note."""
    return f"Noted: {note}"


@component
def Notepad() -> list[Any]:
    return [System("You keep notes."), add_note, Timeline(), Section("It is noon.", id="time", title="Time")]


async def test_a_tool_loop_goes_back_and_forth_with_its_thinking(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    called = message(
        thinking_block("A note, then.", "c2ln"),
        tool_block("add_note", '{"note": "milk"}'),
        stop_reason="tool_use",
    )
    messages_server.will(called, text("It is noted."))
    session = App(Notepad, model=live).session()
    result = await session.send("Note: milk")
    session.close()
    assert (result.text, result.source, result.model) == ("It is noted.", "live", "anthropic:claude-test-1")
    assert result.usage.input_tokens == 72
    assert result.cost is None
    first, second = (request.body for request in messages_server.requests)
    assert [block["name"] for block in first["tools"]] == ["add_note"]
    assistant, answered = second["messages"][-2:]
    assert assistant["content"] == [
        {"type": "thinking", "thinking": "A note, then.", "signature": "c2ln"},
        {"type": "tool_use", "id": "toolu_1", "name": "add_note", "input": {"note": "milk"}},
    ]
    assert answered["content"][0]["type"] == "tool_result"
    assert answered["content"][0]["content"] == [{"type": "text", "text": "Noted: milk"}]


async def test_what_stays_of_a_request_is_sent_again_unchanged(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    called = message(tool_block("add_note", '{"note": "milk"}'), stop_reason="tool_use")
    messages_server.will(called, text("It is noted."))
    session = App(Notepad, model=live).session()
    await session.send("Note: milk")
    session.close()
    first, second = (unmarked(request.body) for request in messages_server.requests)
    assert second["messages"][: len(first["messages"])] == first["messages"]
    assert (second["system"], second["tools"]) == (first["system"], first["tools"])


async def test_after_a_failure_the_session_goes_on_with_a_valid_request(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    cut = broken(message(text_block("Half an answer"), tool_block("add_note", '{"note": "milk"}')), -3, "cut")
    messages_server.will(status(529, "overloaded_error"), cut, text("Here I am."))
    session = App(Notepad, model=live).session()
    for said in ("One", "Two"):
        with pytest.raises(ModelError):
            await session.send(said)
    assert (await session.send("Three")).text == "Here I am."
    session.close()
    messages = messages_server.requests[-1].body["messages"]
    roles = [item["role"] for item in messages]
    assert roles == ["user", "assistant", "user"]
    assert [block["type"] for block in messages[1]["content"]] == ["text"]
    assert all(item["content"] for item in messages)


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def unmarked(data: Any) -> Any:
    """Leave out the cache marks, which move on."""
    if isinstance(data, dict):
        return {name: unmarked(value) for name, value in data.items() if name != "cache_control"}
    return [unmarked(item) for item in data] if isinstance(data, list) else data


async def test_a_picture_that_a_tool_gives_reaches_the_model(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    @tool
    def draw() -> Image:
        """Draw."""
        return Image("image/png", PIXEL, width=1, height=1)

    @component
    def Painter() -> list[Any]:
        return [System("You paint."), draw, Timeline()]

    messages_server.will(message(tool_block("draw", "{}"), stop_reason="tool_use"), text("It is white."))
    session = App(Painter, model=live).session()
    await session.send("Draw")
    session.close()
    [result] = messages_server.requests[1].body["messages"][-1]["content"]
    assert result["type"] == "tool_result"
    [picture] = [item for item in result["content"] if item["type"] == "image"]
    assert picture["source"]["media_type"] == "image/png"


async def test_a_turn_that_was_refused_is_left_out_of_the_next_request(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "It could do harm."}
    messages_server.will(message(stop_reason="refusal", stop_details=details), text("Gladly."))
    session = App(Notepad, model=live).session()
    refused = await session.send("Break in")
    assert (str(refused.stop_reason), refused.reason, refused.text) == ("refusal", "It could do harm.", "")
    assert (await session.send("Then something else")).text == "Gladly."
    session.close()
    assert [item["role"] for item in messages_server.requests[1].body["messages"]] == ["user"]


async def test_nothing_that_is_kept_or_shown_holds_the_key(
    messages_server: FakeMessages, live: AnthropicModel, tmp_path: Path
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'notes.db'}")
    messages_server.will(
        message(tool_block("add_note", '{"note": "milk"}'), stop_reason="tool_use"),
        text("It is noted."),
        status(401, "authentication_error", "the key sk-secret-1234 is not known"),
    )
    session = App(Notepad, model=live, store=store).session("notes")
    seen = [repr(session), repr(live)]
    for words in ("Note: milk", "And?"):
        execution = session.send(words)
        seen += [json.dumps(event.to_dict(), default=str) async for event in execution]
        seen += [repr(execution), repr(execution.partial), repr(execution.error)]
    seen += [json.dumps(tick.context.to_dict(), default=str) for tick in session.ticks]
    session.close()
    store.close()
    kept = bytes_in(tmp_path)
    assert messages_server.requests[0].headers["authorization"] == "Bearer sk-secret-1234"
    assert "refused the API key" in "".join(seen)
    assert "sk-secret" not in "".join(seen)
    assert b"sk-secret" not in kept


async def test_calls_of_one_turn_are_answered_together_in_their_order(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    both = (tool_block("add_note", '{"note": "milk"}', "toolu_1"), tool_block("add_note", "{}", "toolu_2"))
    messages_server.will(message(*both, stop_reason="tool_use"), text("One is noted."))
    session = App(Notepad, model=live).session()
    await session.send("Note: milk")
    session.close()
    turn = messages_server.requests[1].body["messages"][-1]["content"]
    assert [block["type"] for block in turn] == ["tool_result", "tool_result"]
    assert [block["tool_use_id"] for block in turn] == ["toolu_1", "toolu_2"]
    assert [block.get("is_error", False) for block in turn] == [False, True]


async def test_a_call_cut_by_the_token_limit_is_not_run_and_the_session_goes_on(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    noted: list[str] = []

    @tool
    def keep(note: str) -> str:
        """Keep a note."""
        noted.append(note)
        return "Kept."

    @component
    def Keeper() -> list[Any]:
        return [System("You keep notes."), keep, Timeline()]

    cut = message(text_block("I note."), tool_block("keep", '{"note": "milk'), stop_reason="max_tokens")
    messages_server.will(cut, text("Gladly."))
    session = App(Keeper, model=live).session()
    result = await session.send("Note: milk")
    assert (str(result.stop_reason), result.text, noted) == ("max_tokens", "I note.", [])
    assert result.reason == "the answer was cut inside the input of keep, which was not called"
    assert (await session.send("Go on")).text == "Gladly."
    session.close()
    content = messages_server.requests[1].body["messages"]
    assert [[block["type"] for block in turn["content"]] for turn in content] == [["text"]] * 3


async def test_pictures_and_documents_go_in_with_a_message_and_with_a_result(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    @tool
    def fetch() -> list[Any]:
        """Fetch a paper."""
        return ["Here it is.", Document("application/pdf", b"%PDF-1.4", title="Paper")]

    @component
    def Reader() -> list[Any]:
        return [System("You read."), fetch, Timeline()]

    messages_server.will(message(tool_block("fetch", "{}"), stop_reason="tool_use"), text("I have read it."))
    session = App(Reader, model=live).session()
    paper = Document("text/plain", b"High tide.", title="Tides")
    await session.send(["Compare", Image("image/png", PIXEL, width=1, height=1), paper])
    session.close()
    asked, _, answered = messages_server.requests[1].body["messages"]
    assert [block["type"] for block in asked["content"]] == ["text", "image", "document"]
    assert asked["content"][2]["source"] == {"type": "text", "media_type": "text/plain", "data": "High tide."}
    [result] = answered["content"]
    assert [block["type"] for block in result["content"]] == ["text", "document"]
    assert result["content"][1]["source"]["media_type"] == "application/pdf"


async def test_effort_and_summarised_thinking_are_asked_for(messages_server: FakeMessages) -> None:
    model = AnthropicModel("claude-test-5", base_url=messages_server.url, max_retries=0)

    @component
    def Thinker() -> list[Any]:
        return [Model(model, effort="high"), System("You think."), Timeline()]

    messages_server.will(message(thinking_block("Let me see.\n", "c2ln"), text_block("Yes.")))
    session = App(Thinker).session()
    await session.send("Is it so?")
    session.close()
    await model.aclose()
    sent = messages_server.requests[0].body
    assert sent["output_config"] == {"effort": "high"}
    assert sent["thinking"] == {"type": "adaptive", "display": "summarized"}


async def test_each_tick_says_what_the_cache_gave_and_which_part_broke_the_prefix(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    @component
    def Tuned() -> list[Any]:
        depth, _ = use_knob("depth", 1)
        return [System("You keep notes."), System(f"Depth {depth}."), Timeline()]

    messages_server.will(text("One."), text("Two."), text("Three."))
    session = App(Tuned, model=live).session()
    for depth, words in ((1, "One"), (1, "Two"), (2, "Three")):
        session.knobs["depth"] = depth
        await session.send(words)
    session.close()
    first, second, third = session.ticks
    assert second.context.diff(first.context).prefix_broken_by is None
    broken_by = third.context.diff(second.context).prefix_broken_by
    assert broken_by is not None
    assert broken_by.text == "Depth 2."
    assert [tick.usage.cache_read_tokens for tick in session.ticks] == [20, 20, 20]
    marked = [json.dumps(request.body).count("cache_control") for request in messages_server.requests]
    assert marked == [2, 3, 3]
