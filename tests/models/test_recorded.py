from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Section, System, Timeline, component, tool, use_usage
from nbsession.content import Image, Message, Text, Thinking
from nbsession.context import Capabilities, CompiledContext, context_of
from nbsession.errors import ModelError, RecordingMissError
from nbsession.events import MessageDelta, MessageStart, TextDelta
from nbsession.models import RecordedModel, SimulatedModel
from nbsession.testing import EventRecorder, ScriptedModel, call, no_network
from tests.support.fake_messages import message, status, text, text_block, thinking_block, tool_block

if TYPE_CHECKING:
    from pathlib import Path

    from nbsession import Element
    from nbsession.models import AnthropicModel
    from tests.support.fake_messages import FakeMessages


@tool
def add_note(note: str) -> str:
    """Keep a note."""
    return f"Noted: {note}"


@component
def Notepad(time: str = "noon") -> list[Any]:
    return [System("You keep notes."), add_note, Timeline(), Section(f"It is {time}.", id="time")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tapes" / "notes.jsonl"


def read(path: Path) -> str:
    return path.read_text("utf-8")


def write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def context(words: str = "Hi", *, system: str = "You are kind.", **settings: Any) -> CompiledContext:
    return context_of([system], [Message("user", (Text(words),))], settings=settings)


async def ask(model: RecordedModel, asked: CompiledContext | None = None) -> EventRecorder:
    return await EventRecorder().record(model.stream(asked or context()))


async def record(path: Path, *answers: Any, contexts: tuple[CompiledContext, ...] = ()) -> None:
    recorder = RecordedModel(path, record="all", model=ScriptedModel(*answers))
    for asked in contexts or [context()] * len(answers):
        await ask(recorder, asked)


async def converse(model: RecordedModel, root: Element | Any = Notepad) -> list[str]:
    session = App(root, model=model).session()
    said = [(await session.send(words)).text for words in ("Note: milk", "Thanks")]
    session.close()
    return said


async def miss(path: Path, asked: CompiledContext | None = None) -> RecordingMissError:
    with pytest.raises(RecordingMissError) as caught:
        await ask(RecordedModel(path), asked)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_a_conversation_with_tools_and_thinking_is_replayed_in_another_session(
    path: Path, messages_server: FakeMessages, live: AnthropicModel
) -> None:
    called = message(
        thinking_block("A note, then.", "c2ln"),
        tool_block("add_note", '{"note": "milk"}'),
        stop_reason="tool_use",
    )
    messages_server.will(called, text("It is noted."), text("Gladly."))
    said = await converse(RecordedModel(path, record="new", model=live))
    with no_network():
        assert await converse(RecordedModel(path)) == said == ["It is noted.", "Gladly."]
        assert await converse(RecordedModel(path, record="new", model=live)) == said
    assert len(messages_server.requests) == 3


async def test_a_replay_says_which_model_and_when_and_costs_nothing(
    path: Path, messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(message(text_block("Hello.")))
    first = App(Notepad, model=RecordedModel(path, record="new", model=live)).session()
    asked = await first.send("Hi")
    first.close()
    assert asked.source == "live"
    again = App(Notepad, model=f"recorded:{path}", budget=0.01).session()
    result = await again.send("Hi")
    again.close()
    assert (result.text, result.source, result.model) == ("Hello.", "recorded", "anthropic:claude-test-1")
    assert result.ticks[0].recorded == json.loads(read(path).splitlines()[-1])["at"]
    assert (result.cost, result.usage) == (0.0, asked.usage)


async def test_no_key_and_no_header_reach_the_file(
    path: Path, messages_server: FakeMessages, live: AnthropicModel
) -> None:
    await ask(RecordedModel(path, record="new", model=live))
    written = read(path)
    assert messages_server.requests[0].headers["authorization"] == "Bearer sk-secret-1234"
    assert "sk-secret" not in written
    assert "127.0.0.1" not in written
    assert "Bearer" not in written


async def test_the_pace_is_kept_and_scaled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    await record(path, "One two three.")
    write(path, re.sub(r'"pace": .*?\]\]', '"pace": [[400, 3], [100, 4], [50, 7]]', read(path)))
    rest = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await rest(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    for rate, pauses in ((1, [0.4, 0.1, 0.05]), (2, [0.2, 0.05, 0.025]), (0, [0, 0, 0])):
        slept.clear()
        events = await ask(RecordedModel(path, rate=rate))
        assert slept == pauses
        assert [event.text for event in events.of(TextDelta)] == ["One", " two", " three."]


async def test_a_part_is_written_once_however_many_contexts_hold_it(path: Path) -> None:
    turns = tuple(context(f"Question {n}", system="A long system prompt. " * 100) for n in range(20))
    await record(path, *["Yes."] * 20, contexts=turns)
    written = read(path)
    assert written.count("A long system prompt. A long") == 50
    assert len(written) < 12_000


async def test_a_long_conversation_takes_little_more_than_its_text(path: Path) -> None:
    turns = [Message("user" if n % 2 == 0 else "assistant", (Text(f"Turn {n}"),)) for n in range(201)]
    contexts = tuple(context_of([], turns[: n + 1]) for n in range(0, 201, 2))
    await record(path, *["Yes."] * len(contexts), contexts=contexts)
    assert len(read(path)) < 110 * len(turns) + 500 * len(contexts)
    assert "message.200" in str(await miss(path, context_of([], turns[:-1])))


async def test_every_line_is_json_and_says_what_it_is(path: Path) -> None:
    await record(path, "Grüße ☃", contexts=(context(effort="low"),))
    header, system, user, answer = (json.loads(line) for line in read(path).splitlines())
    assert header == {"nbsession": "recordings", "version": 1}
    assert (system["kind"], system["text"]) == ("system", "You are kind.")
    assert (user["role"], user["text"]) == ("user", "Hi")
    assert answer["answer"] == context(effort="low").hash
    assert answer["content"][0]["text"] == "Grüße ☃"
    assert "Grüße ☃" in read(path)
    assert answer["context"] == {
        "system": [system["part"]],
        "flow": [user["part"]],
        "settings": {"effort": "low"},
    }


async def test_nothing_of_the_file_depends_on_the_session(tmp_path: Path) -> None:
    written = []
    for name in ("one", "two"):
        script = ScriptedModel(call("add_note", note="milk"), "Noted.", "Gladly.")
        await converse(RecordedModel(tmp_path / name, record="new", model=script))
        lines = [json.loads(line) for line in (tmp_path / name).read_text("utf-8").splitlines()]
        for line in lines:
            line.pop("at", None)
            for block in line.get("content", ()):
                del block["pace"]
        written.append(lines)
    assert written[0] == written[1]


async def test_a_miss_names_the_nearest_recording_and_the_part_that_differs(path: Path) -> None:
    contexts = (context("What is the weather?"), context("How tall is it?", system="You are terse."))
    await record(path, "Fine.", "Tall.", contexts=contexts)
    error = await miss(path, context("What is the whether?"))
    assert "holds no answer to this context; nearest is line 4 (scripted, 20" in str(error)
    assert "user at message.0 reads 'What is the whether?', recorded was 'What is the weather?'" in str(error)
    assert error.kind == "request"
    assert any("-What is the weather?\n+What is the whether?" in note for note in error.__notes__)


async def test_a_long_part_is_quoted_where_it_differs(path: Path) -> None:
    await record(path, "Yes.", contexts=(context(system="word " * 400 + "old end"),))
    error = await miss(path, context(system="word " * 400 + "new end"))
    assert "word word new end', recorded was '…" in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (context(effort="high"), "the setting 'effort' is 'high', recorded was None"),
        (
            context_of(["You are kind.", "Be brief."], [Message("user", (Text("Hi"),))]),
            "system at system.1 was not there: 'Be brief.'",
        ),
        (context_of([], [Message("user", (Text("Hi"),))]), "system at system.0 is missing: 'You are kind.'"),
        (context("Hello", system="Now."), "(and 1 more)"),
    ],
)
async def test_a_miss_says_what_kind_of_difference_there_is(
    path: Path, asked: CompiledContext, said: str
) -> None:
    await record(path, "Yes.")
    assert said in str(await miss(path, asked))


async def test_another_picture_is_another_context_and_said_to_be(path: Path) -> None:
    one, other = (
        context_of([], [Message("user", (Text("What is it?"), Image("image/png", data, alt="a sketch")))])
        for data in (b"one", b"two")
    )
    await record(path, "A pier.", contexts=(one,))
    assert "user at message.0 differs in what is not text" in str(await miss(path, other))


async def test_in_a_session_the_part_that_moved_the_context_is_named(path: Path) -> None:
    await converse(RecordedModel(path, record="new", model=ScriptedModel("Noted.", "Gladly.")))
    with pytest.raises(RecordingMissError, match=r"section at Notepad/Section.*It is night.*It is noon"):
        await converse(RecordedModel(path), Notepad(time="night"))


async def test_without_a_file_the_remedy_is_named(path: Path) -> None:
    assert "does not exist; record it with RecordedModel(" in str(await miss(path))
    path.parent.mkdir()
    write(path, "")
    assert "holds no recordings" in str(await miss(path))


async def test_the_latest_answer_to_a_context_counts(path: Path) -> None:
    await record(path, "First.", "Second.")
    assert (await ask(RecordedModel(path))).text == "Second."


async def test_new_asks_only_for_what_is_missing_and_all_asks_always(path: Path) -> None:
    script = ScriptedModel("First.", "Second.")
    new = RecordedModel(path, record="new", model=script)
    assert [(await ask(new)).text for _ in range(2)] == ["First.", "First."]
    assert (await ask(RecordedModel(path, record="all", model=script))).text == "Second."
    assert len(script.contexts) == 2


async def test_a_model_sees_what_another_one_recorded(path: Path) -> None:
    reader = RecordedModel(path)
    await miss(path)
    await record(path, "Hello.")
    assert (await ask(reader)).text == "Hello."


async def test_two_recorders_of_one_file_see_each_others_answers(path: Path) -> None:
    one, other = (RecordedModel(path, record="new", model=ScriptedModel(*["Mine."] * 2)) for _ in range(2))
    for number, recorder in enumerate((one, other, one)):
        await ask(recorder, context(f"Question {number}"))
    for recorder in (one, other):
        assert [(await ask(recorder, context(f"Question {n}"))).text for n in range(3)] == ["Mine."] * 3
    lines = [json.loads(line) for line in read(path).splitlines()]
    assert sum("answer" in line for line in lines) == 3
    assert "line 8" in str(await miss(path, context("Question 2", effort="low")))


async def test_an_answer_that_failed_is_not_kept(
    path: Path, messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(status(529, "overloaded_error"))
    with pytest.raises(ModelError, match="overloaded"):
        await ask(RecordedModel(path, record="new", model=live))
    assert list(path.parent.parent.iterdir()) == []


async def test_a_recorder_goes_by_the_name_of_its_model_so_that_a_budget_holds(
    path: Path, live: AnthropicModel
) -> None:
    new = RecordedModel(path, record="new", model=live)
    every = RecordedModel(path, record="all", model=live)
    assert (new.name, new.source) == (live.name, "recorded")
    assert (every.name, every.source) == (live.name, "live")
    assert RecordedModel(path).name == f"recorded:{path}"


async def test_thinking_and_its_signature_come_back_byte_for_byte(
    path: Path, messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(message(thinking_block("Hm.\n", "c2lnbmVk"), text_block("Yes.")))
    await ask(RecordedModel(path, record="new", model=live))
    events = await ask(RecordedModel(path))
    raw = {"type": "thinking", "thinking": "Hm.\n", "signature": "c2lnbmVk"}
    assert events.blocks == [Thinking("Hm.\n", raw), Text("Yes.")]
    assert events.of(MessageDelta)[0].usage.cache_read_tokens == 20
    assert events.of(MessageStart)[0].source == "recorded"


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (3, '{"part": "9f'),
        (4, "[1, 2]"),
        (4, '{"answer": "x"}'),
        (4, "[" * 100_000),
    ],
)
async def test_a_damaged_line_is_named_by_its_number(path: Path, number: int, line: str) -> None:
    await record(path, "Yes.")
    lines = read(path).splitlines()
    lines[number - 1] = line
    write(path, "\n".join(lines))
    for model in (RecordedModel(path), RecordedModel(path, record="new", model=ScriptedModel("No."))):
        with pytest.raises(ModelError, match=rf"line {number} of .*cannot be read as a recording"):
            await ask(model)
    assert read(path) == "\n".join(lines)


async def test_any_line_may_be_taken_out(path: Path) -> None:
    turns = [Message("user", (Text("Hi"),)), Message("assistant", (Text("Hello."),))]
    contexts = tuple(context_of([], [*turns, *turns[:1]][:n]) for n in (1, 3))
    await record(path, "Hello.", "Again.", contexts=contexts)
    lines = read(path).splitlines()
    assert json.loads(lines[-1])["context"]["like"] == contexts[0].hash
    for taken in range(len(lines) - 1):
        write(path, "\n".join([*lines[:taken], *lines[taken + 1 :], ""]))
        assert (await ask(RecordedModel(path), contexts[1])).text == "Again."
        assert "record it with" in str(await miss(path))


async def test_a_last_line_without_its_end_does_not_swallow_the_next(path: Path) -> None:
    await record(path, "One.")
    write(path, read(path).rstrip("\n"))
    await record(path, "Two.", contexts=(context("Other"),))
    assert (await ask(RecordedModel(path))).text == "One."
    assert (await ask(RecordedModel(path), context("Other"))).text == "Two."


async def test_a_line_that_was_cut_while_it_was_written_costs_its_answer_alone(path: Path) -> None:
    first, second = context("first"), context("second")
    await record(path, "one", "two", contexts=(first, second))
    whole = read(path)
    last = len(whole.splitlines()[-1])
    for left in (1, last // 2, last - 1):
        write(path, whole[: left - last - 1])
        assert (await ask(RecordedModel(path), first)).text == "one"
        with pytest.raises(RecordingMissError):
            await ask(RecordedModel(path), second)
        await record(path, "two again", contexts=(second,))
        assert (await ask(RecordedModel(path), second)).text == "two again"
        assert (await ask(RecordedModel(path), first)).text == "one"


async def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    path.parent.mkdir()
    write(path, '{"nbsession": "recordings", "version": 2}\n')
    with pytest.raises(ModelError, match=r"written by a newer version.*upgrade with: pip install"):
        await ask(RecordedModel(path))


async def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="could not be read"):
        await ask(RecordedModel(tmp_path, record="all", model=ScriptedModel("Yes.")))


async def test_without_a_live_model_nothing_is_recorded_unasked(path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model to record into .*pass model=, or set ANTHROPIC_API_KEY"):
        await ask(RecordedModel(path, record="new"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"record": "once"}, "record must be None, 'new' or 'all', got 'once'"),
        ({"model": "x"}, "only replays"),
    ],
)
def test_options_that_make_no_sense_are_refused(path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        RecordedModel(path, **options)


class Listener(ScriptedModel):
    """A scripted model that takes no pictures and has a window of its own."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(images=False, window=9000)


@component
def Gauge() -> list[Any]:
    return [System("You listen."), Timeline(), Section(f"Of {use_usage().window} tokens.", id="window")]


async def test_a_replay_is_compiled_for_the_model_that_was_recorded(path: Path) -> None:
    cat = Image("image/png", b"\x89PNG\r\n\x1a\ncat", alt="a cat", width=64, height=64)

    async def said(model: RecordedModel) -> list[str]:
        session = App(Gauge, model=model).session()
        looked = await session.send(["What is this?", cat], model=ScriptedModel("A cat."))
        texts = [looked.text, *[(await session.send(words)).text for words in ("Who?", "What else?")]]
        await session.aclose()
        return texts

    texts = await said(RecordedModel(path, record="new", model=Listener("Tom.", "Nothing.")))
    assert texts == ["A cat.", "Tom.", "Nothing."]
    takes = {"images": False, "server_tools": False, "window": 9000}
    assert json.loads(read(path).splitlines()[-1])["takes"] == takes
    assert await said(RecordedModel(path)) == texts


@pytest.mark.parametrize("rate", ["fast", float("nan"), -1])
def test_a_rate_that_is_no_number_is_refused(path: Path, rate: Any) -> None:
    for model in (lambda: RecordedModel(path, rate=rate), lambda: SimulatedModel(rate=rate)):
        with pytest.raises(ModelError, match=r"Model\(rate=\) must be a number, 0 \(at once\) or more, got "):
            model()
