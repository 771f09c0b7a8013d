"""The request can be had as the provider's JSON: exactly what is sent, without keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Section, System, Timeline, component, tool
from nbsession.errors import CompileError, ModelError, SessionError
from nbsession.models import AnthropicModel, OpenAIModel, RecordedModel, resolve
from nbsession.testing import ScriptedModel
from tests.support import fake_chat, fake_messages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_chat import FakeChat
    from tests.support.fake_messages import FakeMessages


@tool
def add_note(note: str) -> str:
    """Keep a note."""
    return f"Noted: {note}"


@component
def Notepad() -> list[Any]:
    return [System("You keep notes."), add_note, Timeline(), Section("It is noon.", id="time", title="Time")]


async def test_what_is_shown_is_what_the_messages_api_got(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(
        fake_messages.message(
            fake_messages.tool_block("add_note", '{"note": "milk"}'), stop_reason="tool_use"
        ),
        fake_messages.text("Done."),
    )
    session = App(Notepad, model=live).session()
    await session.send("Note: milk")
    bodies = [request.body for request in messages_server.requests]
    assert [json.loads(json.dumps(session.request(tick))) for tick in session.ticks] == bodies
    assert session.ticks[0].context.request(live) == bodies[0]
    assert "sk-secret" not in json.dumps(session.request())
    assert "It is noon." in json.dumps(session.request()["messages"][-1])


async def test_what_is_shown_is_what_chat_completions_got(chat_server: FakeChat, chat: OpenAIModel) -> None:
    chat_server.will(fake_chat.tool_call("add_note", {"note": "milk"}), fake_chat.text("Done."))
    session = App(Notepad, model=chat).session()
    await session.send("Note: milk")
    bodies = [request.body for request in chat_server.requests]
    assert [json.loads(json.dumps(session.request(tick.number))) for tick in session.ticks] == bodies


def test_another_model_s_request_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    session = App(Notepad, model=ScriptedModel("Yes.")).session()
    session.run("Hi.")
    with pytest.raises(CompileError, match="takes an adapter that sends requests, got 'simulated'"):
        session.compile().request("simulated")
    with pytest.raises(ModelError, match="scripted sends no request to a provider; name a model that does"):
        session.request()
    assert session.request(model="anthropic:claude-test-1")["model"] == "claude-test-1"
    responses = session.request(model="openai:gpt-test-1")
    assert responses["input"][0]["content"]
    assert "max_output_tokens" not in responses
    local = session.compile("Hi.").request(resolve("ollama:tiny"))
    assert local["model"] == "tiny"


def test_a_recording_has_the_request_of_the_model_that_it_records(
    tmp_path: Path, live: AnthropicModel
) -> None:
    context = App(Notepad, model=ScriptedModel()).session().compile("Hi.")
    path = tmp_path / "tape.jsonl"
    assert context.request(RecordedModel(path, record="new", model=live)) == context.request(live)
    with pytest.raises(ModelError, match="sends no request to a provider"):
        context.request(RecordedModel(path))


def test_a_tick_that_is_not_there_is_said() -> None:
    with pytest.raises(SessionError, match="there is no tick 2"):
        App(Notepad, model=ScriptedModel()).session("s").request(2, model="anthropic:claude-test-1")
