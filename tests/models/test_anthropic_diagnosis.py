"""Why Anthropic's cache missed is asked of the service, kept with the tick and its recording, and shown."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, System, Timeline, component, tool, use_knob
from nbsession.errors import ModelError
from nbsession.events import MessageDelta, event_from_dict
from nbsession.models import AnthropicModel, RecordedModel
from nbsession.models.anthropic import diagnosis
from nbsession.models.anthropic.model import SERVICE
from nbsession.protocol.ticks import tick_from_dict, tick_to_dict
from nbsession.stores import SqlStore
from nbsession.usage import CacheDiagnosis
from tests.support.fake_messages import FakeMessages, Reply, broken, message, status, text, tool_block
from tests.support.live import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from nbsession.models.openai.model import OpenAIModel
    from tests.support.fake_chat import FakeChat

CHANGED = CacheDiagnosis("the tools changed", "tools_changed", 1200)


@tool
def add_note(note: str) -> str:
    """Keep a note."""
    return f"Noted: {note}"


@tool
def forget() -> str:
    """Forget all notes."""
    return "Forgotten."


@component
def Notepad() -> Any:
    tone, _ = use_knob("tone", "kind")
    forgetful, _ = use_knob("forgetful", default=False)
    return [System(f"You are {tone}. {'x' * 4000}"), add_note, forget if forgetful else None, Timeline()]


@pytest.fixture
def service() -> Iterator[FakeMessages]:
    with FakeMessages() as server:
        server.diagnostics = "answered"
        yield server


@pytest.fixture
async def claude(service: FakeMessages) -> AsyncIterator[AnthropicModel]:
    model = AnthropicModel(
        "claude-test-1",
        base_url=service.url,
        api_key="sk-secret-1234",
        max_retries=0,
        timeout=5,
        cache_diagnosis=True,
    )
    yield model
    await model.aclose()


def asked(server: FakeMessages) -> list[Any]:
    return [request.body.get("diagnostics", "not asked") for request in server.requests]


def about(message_id: str | None) -> dict[str, Any]:
    return {"previous_message_id": message_id}


def unread(words: str) -> Reply:
    """Answer that nothing was read from the cache."""
    reply = text(words)
    first = reply.events[0]
    usage = {"input_tokens": 1300, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    return replace(
        reply,
        events=({**first, "message": {**first["message"], "usage": usage}}, *reply.events[1:]),
    )


async def test_each_request_asks_about_the_answer_that_it_goes_on_from(
    service: FakeMessages, claude: AnthropicModel
) -> None:
    call = message(tool_block("add_note", '{"note": "milk"}'), stop_reason="tool_use")
    service.will(call, text("It is noted."), text("You're welcome."))
    session = App(Notepad, model=claude).session()
    await session.send("Note: milk")
    await session.send("Thanks.")
    session.close()
    assert asked(service) == [about(None), about("msg_1"), about("msg_2")]


async def test_what_changed_stands_with_the_tick_and_beside_its_forecast(
    service: FakeMessages, claude: AnthropicModel
) -> None:
    service.will(text("One."), unread("Two."), text("Three."), unread("Four."))
    session = App(Notepad, model=claude).session()
    await session.send("One?")
    session.knobs["forgetful"] = True
    await session.send("Two?")
    session.knobs["tone"] = "blunt"
    await session.send("Three?")
    await session.send("Four?")
    told = [tick.cache_diagnosis for tick in session.ticks]
    assert told[:2] == [None, CHANGED]
    assert told[2] == CacheDiagnosis("the system prompt changed", "system_changed", 1200)
    assert told[3] == diagnosis.UNCHANGED
    assert str(session.forecast(1)).endswith(
        "; the provider reported 0: the tools changed (tools_changed), ≈1,200 tokens missed"
    )
    assert str(session.forecast(3)).endswith(
        "; the provider reported 0: nothing changed; what it kept has expired, or was too short to be kept"
    )
    session.close()


async def test_forks_ask_about_their_own_answer(service: FakeMessages, claude: AnthropicModel) -> None:
    service.will(text("Heads."), text("Tails."))
    session = App(Notepad, model=claude).session()
    other = session.fork()
    await session.send("Toss.")
    await other.send("Toss.")
    await session.send("Again.")
    await other.send("Again.")
    assert asked(service)[2:] == [about("msg_1"), about("msg_2")]
    session.close()
    other.close()


async def test_an_answer_that_was_cut_is_asked_nothing_about(
    service: FakeMessages, claude: AnthropicModel
) -> None:
    service.will(broken(text("Hello there."), 4, "cut"))
    session = App(Notepad, model=claude).session()
    with pytest.raises(ModelError):
        await session.send("Hello.")
    await session.send("Again.")
    session.close()
    assert asked(service) == [about(None), about(None)]


async def test_a_diagnosis_that_is_not_done_yet_is_unknown(
    service: FakeMessages, claude: AnthropicModel
) -> None:
    session = App(Notepad, model=claude).session()
    await session.send("One?")
    service.diagnostics = "ignored"
    late = unread("Two.")
    start = late.events[0]
    pending = {**start, "message": {**start["message"], "diagnostics": {"cache_miss_reason": None}}}
    service.will(replace(late, events=(pending, *late.events[1:])))
    await session.send("Two?")
    assert session.ticks[1].cache_diagnosis is None
    assert str(session.forecast(1)).endswith("; the provider reported 0: why is unknown")
    session.close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("previous_message_not_found", "it does not know the request before any more"),
        ("unavailable", "it cannot say why"),
        ("moon_phase_changed", "moon phase changed"),
    ],
)
async def test_a_reason_is_said_in_plain_words_with_the_providers_own(
    service: FakeMessages, claude: AnthropicModel, code: str, words: str
) -> None:
    session = App(Notepad, model=claude).session()
    await session.send("One?")
    service.diagnostics = "ignored"
    late = unread("Two.")
    start = late.events[0]
    reason = {"cache_miss_reason": {"type": code}}
    told = {**start, "message": {**start["message"], "diagnostics": reason}}
    service.will(replace(late, events=(told, *late.events[1:])))
    await session.send("Two?")
    assert session.ticks[1].cache_diagnosis == CacheDiagnosis(words, code)
    assert str(session.forecast(1)).endswith(f"; the provider reported 0: {words} ({code})")
    session.close()


async def test_a_server_that_refuses_to_be_asked_answers_and_is_not_asked_again(
    service: FakeMessages, claude: AnthropicModel
) -> None:
    service.diagnostics = "refused"
    session = App(Notepad, model=claude).session()
    result = await session.send("Hello.")
    assert result.text == "Hello from the fake server."
    await session.send("Again.")
    session.close()
    assert asked(service) == [about(None), "not asked", "not asked"]
    assert [tick.cache_diagnosis for tick in session.ticks] == [None, None]


async def test_a_request_that_is_refused_for_something_else_is_not_sent_again(
    service: FakeMessages, claude: AnthropicModel
) -> None:
    service.will(status(400, "invalid_request_error", "max_tokens: too many"))
    with pytest.raises(ModelError, match="max_tokens"):
        await ask(claude)
    assert asked(service) == [about(None)]


async def test_other_servers_are_not_asked_unless_they_are_said_to_answer(
    messages_server: FakeMessages, live: AnthropicModel, chat_server: FakeChat, chat: OpenAIModel
) -> None:
    await ask(live)
    await ask(chat)
    assert asked(messages_server) == asked(chat_server) == ["not asked"]


@pytest.mark.parametrize(("caching", "question"), [(True, about(None)), (False, "not asked")])
async def test_the_service_itself_is_asked_where_its_cache_is_used(
    service: FakeMessages, monkeypatch: pytest.MonkeyPatch, *, caching: bool, question: Any
) -> None:
    own = replace(SERVICE, hosts=("127.0.0.1",))
    monkeypatch.setattr("nbsession.models.anthropic.model.SERVICE", own)
    model = AnthropicModel("claude-test-1", base_url=service.url, api_key="sk-1", caching=caching)
    await ask(model)
    await model.aclose()
    assert asked(service) == [question]


async def test_answers_are_remembered_up_to_a_bound(
    service: FakeMessages, claude: AnthropicModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "MOST_ANSWERS", 1)
    app = App(Notepad, model=claude)
    one, other = app.session(), app.session()
    for session in (one, other, one, one):
        await session.send("Hello.")
    assert asked(service) == [about(None), about(None), about(None), about("msg_3")]
    one.close()
    other.close()


async def test_a_stored_tick_keeps_what_was_said_and_so_does_its_event(
    service: FakeMessages, claude: AnthropicModel, tmp_path: Path
) -> None:
    app = App(Notepad, model=claude, store=SqlStore(f"sqlite:///{tmp_path / 's.db'}"))
    session = app.session("s")
    await session.send("One?")
    session.knobs["forgetful"] = True
    await session.send("Two?")
    expected = session.ticks[1].cache_diagnosis
    assert expected == CHANGED
    await session.aclose()
    again = app.session("s")
    assert [tick.cache_diagnosis for tick in again.ticks] == [None, expected]
    assert str(again.forecast(1)).endswith("(tools_changed), ≈1,200 tokens missed")
    deltas: list[MessageDelta] = []
    async with aclosing(again.subscribe(-1)) as events:
        async for event in events:
            if isinstance(event, MessageDelta):
                deltas.append(event)
            if len(deltas) == 2:
                break
    assert [delta.cache_diagnosis for delta in deltas] == [None, expected]
    assert [event_from_dict(delta.to_dict()) for delta in deltas] == deltas
    assert "cache_diagnosis" not in deltas[0].to_dict()
    assert tick_from_dict(tick_to_dict(again.ticks[1])).cache_diagnosis == expected
    again.close()


async def test_a_recording_keeps_what_was_said(
    service: FakeMessages, claude: AnthropicModel, tmp_path: Path
) -> None:
    path = tmp_path / "answers.jsonl"
    for model in (RecordedModel(path, record="new", model=claude), RecordedModel(path, rate=0)):
        session = App(Notepad, model=model).session()
        await session.send("One?")
        session.knobs["forgetful"] = True
        await session.send("Two?")
        assert [tick.cache_diagnosis for tick in session.ticks] == [None, CHANGED]
        session.close()
    assert len(service.requests) == 2
