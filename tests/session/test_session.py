"""Sessions: what a message does to a live tree, and what lasts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from nbsession import (
    App,
    Document,
    Image,
    KnobError,
    ModelError,
    RenderError,
    Section,
    Session,
    SessionClosedError,
    SessionError,
    Stop,
    StopReason,
    System,
    Timeline,
    ToolError,
    component,
    run,
    tool,
    use_continuation,
)
from nbsession.content import ToolResult
from nbsession.events import TextDelta
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import ScriptedModel, call
from tests.support.notepad import Notepad

GIF = b"GIF89a\x02\x00\x03\x00"


def notepad(*responses: Any, **options: Any) -> Session:
    return App(Notepad, model=ScriptedModel(*responses), **options).session("user-123")


async def test_a_message_is_answered_and_stands_in_the_timeline() -> None:
    session = notepad("Hello Ryan.")
    result = await session.send("My name is Ryan.")
    assert result.text == "Hello Ryan."
    assert result.stop_reason is StopReason.end_turn
    assert [(entry.role, entry.text) for entry in session.timeline] == [
        ("user", "My name is Ryan."),
        ("assistant", "Hello Ryan."),
    ]


async def test_the_model_is_sent_exactly_the_context_that_the_tick_shows() -> None:
    model = ScriptedModel([call("add_note", note="Ryan")], "Noted, Ryan.")
    session = App(Notepad, model=model).session()
    result = await session.send("Remember Ryan.")
    assert [tick.context for tick in result.ticks] == model.contexts
    assert "- Ryan" not in str(model.contexts[0].system)
    assert "- Ryan" in str(model.contexts[1].system)
    assert [
        part.title for part in model.contexts[1].diff(model.contexts[0]).added if part.kind == "section"
    ] == ["Notepad"]


async def test_state_set_by_a_tool_is_in_the_very_next_compile() -> None:
    session = notepad([call("add_note", note="a"), call("add_note", note="b")], "done")
    result = await session.send("two notes")
    assert "- a\n- b" in str(result.ticks[1].context.system)
    assert [run.result.text for run in result.tool_calls if run.result] == ["Noted.", "Noted."]


async def test_the_models_set_knob_moves_the_knob_for_its_next_tick() -> None:
    session = notepad([call("set_knob", name="tone", value="terse")], "ok")
    result = await session.send("be terse")
    assert session.knobs["tone"] == "terse"
    assert "You are a terse assistant" in str(result.ticks[1].context.system)


async def test_a_bad_knob_value_from_the_model_is_an_error_result_it_can_read() -> None:
    session = notepad([call("set_knob", name="tone", value="rude")], "sorry")
    result = await session.send("be rude")
    failed = result.tool_calls[0].result
    assert failed is not None
    assert failed.is_error
    assert "must be one of" in failed.text
    assert session.knobs["tone"] == "friendly"


async def test_the_same_id_is_the_same_session_and_another_id_another() -> None:
    app = App(Notepad, model=ScriptedModel("a", "b"))
    assert app.session("x") is app.session("x")
    assert app.session("x") is not app.session("y")
    assert app.session().id != app.session().id


async def test_a_send_while_one_runs_is_queued_first_in_first_out() -> None:
    session = notepad("one", "two", "three")
    first, second, third = session.send("1"), session.send("2"), session.send("3")
    assert [(await handle).text for handle in (third, second, first)] == ["three", "two", "one"]
    assert [entry.text for entry in session.timeline if entry.role == "user"] == ["1", "2", "3"]


async def test_late_and_second_readers_get_every_event_with_deltas_joined() -> None:
    session = notepad("Hello there, Ryan.")
    execution = session.send("hi")
    live = [event async for event in execution]
    late = [event async for event in execution]
    durable = [event.sequence for event in late if event.durable]
    assert durable == sorted(set(durable))
    assert [e.type for e in late if e.durable] == [e.type for e in live if e.durable]
    assert [e.text for e in late if isinstance(e, TextDelta)] == ["Hello there, Ryan."]
    assert live[0].type == "execution_start"
    assert [event.type for event in live[-2:]] == ["execution_end", "done"]


async def test_a_failed_model_call_raises_and_leaves_the_session_usable() -> None:
    session = notepad(ModelError("the model is overloaded", retryable=True), "better")
    with pytest.raises(ModelError, match="overloaded"):
        await session.send("hi")
    assert session.status == "idle"
    assert [entry.text for entry in session.timeline] == ["hi"]
    assert (await session.send("again")).text == "better"


async def test_no_model_is_called_with_a_tree_that_does_not_render() -> None:
    @component
    def Broken() -> Any:
        raise ZeroDivisionError("1/0")

    model = ScriptedModel("never")
    session = App(Section(Broken(), id="s"), model=model).session()
    with pytest.raises(RenderError, match="Broken") as caught:
        await session.send("hi")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert model.contexts == []
    assert [entry.text for entry in session.timeline] == ["hi"]


async def test_aborting_in_a_tool_answers_its_call_and_the_next_request_is_valid() -> None:
    started = asyncio.Event()

    @tool
    async def slow() -> str:
        """Take long."""
        started.set()
        await asyncio.Event().wait()
        return "never"

    @component
    def Root() -> Any:
        return [slow, Timeline()]

    session = App(Root, model=ScriptedModel([call("slow")], "fine")).session()
    execution = session.send("go")
    await started.wait()
    execution.abort()
    result = await execution
    assert result.stop_reason is StopReason.aborted
    results = session.timeline[-1]
    assert results.role == "tool"
    assert "Interrupted" in str(results)
    assert (await session.send("next")).text == "fine"


async def test_an_execution_of_a_queue_can_be_aborted_before_it_begins() -> None:
    session = notepad("one", "two")
    first, second = session.send("1"), session.send("2")
    second.abort()
    assert (await first).text == "one"
    assert (await second).stop_reason is StopReason.aborted
    assert [entry.text for entry in session.timeline if entry.role == "user"] == ["1"]


async def test_max_ticks_ends_an_execution_with_that_reason() -> None:
    session = notepad(*[[call("add_note", note=str(n))] for n in range(5)])
    result = await session.send("go on", max_ticks=2)
    assert result.stop_reason is StopReason.max_ticks
    assert len(result.ticks) == 2
    assert session.timeline[-1].role == "tool"


async def test_a_continuation_can_go_on_and_stop_and_its_reason_is_kept() -> None:
    @component
    def Root() -> Any:
        @use_continuation
        def once_more(tick: Any) -> Any:
            return Stop("enough") if tick.number == 1 else True

        return Timeline()

    session = App(Root, model=ScriptedModel("a", "b", "c")).session()
    result = await session.send("hi")
    assert (result.text, result.stop_reason, result.reason) == ("b", StopReason.stopped, "enough")


async def test_a_message_without_a_timeline_is_refused() -> None:
    session = App(System("x"), model=ScriptedModel("never")).session()
    with pytest.raises(Exception, match=r"Timeline\(\)"):
        await session.send("hi")


async def test_a_preview_changes_nothing_and_says_what_would_change() -> None:
    session = notepad("Hello.")
    await session.send("hi")
    before = session.compile().hash
    preview = session.preview(tone="terse")
    assert str(preview.diff.changed[0].new) == "You are a terse assistant with a notepad."
    assert preview.knobs == {"tone": ("friendly", "terse")}
    assert session.compile().hash == before
    assert session.knobs["tone"] == "friendly"
    session.knobs["tone"] = "terse"
    assert session.preview().diff.tokens == preview.diff.tokens
    assert session.compile().hash == preview.context.hash


async def test_an_unknown_knob_says_what_was_meant() -> None:
    session = notepad()
    with pytest.raises(KnobError, match="did you mean 'tone'"):
        session.knobs["tonne"] = "terse"


async def test_every_tick_can_be_forked_before_and_compiles_to_its_hash() -> None:
    session = notepad(
        [call("add_note", note="a")], "one", [call("set_knob", name="tone", value="terse")], "two", "x"
    )
    await session.send("first")
    await session.send("second")
    for tick in session.ticks:
        fork = session.fork(at=tick.number, before=True)
        assert fork.compile().hash == tick.context.hash
    fork = session.fork(at=1)
    assert len(fork.timeline) == 4
    assert (await fork.send("else")).text == "x"
    assert len(session.timeline) == 8


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_session_goes_on_where_it_was_after_a_restart(kind: str, tmp_path: Any) -> None:
    memory = MemoryStore()

    def store() -> Any:
        return memory if kind == "memory" else SqlStore(f"sqlite:///{tmp_path}/sessions.db")

    session = notepad([call("add_note", note="Ryan")], "Noted.", store=store())
    result = await session.send("My name is Ryan.")
    session.knobs["tone"] = "terse"
    expected = session.compile().hash
    await session.aclose()
    again = notepad("Ryan.", store=store())
    assert again.state == {"Notepad#1": ["Ryan"]}
    assert again.knobs["tone"] == "terse"
    assert again.compile().hash == expected
    assert [tick.context.hash for tick in again.ticks] == [t.context.hash for t in result.ticks]
    assert again.verify() == []
    assert str(again.ticks[1].context) == str(result.ticks[1].context)
    assert again.ticks[0].tool_calls[0].name == "add_note"
    assert (await again.send("What is my name?")).text == "Ryan."
    assert [tick.number for tick in again.ticks] == [0, 1, 2]


async def test_rewinding_goes_on_from_there_and_deletes_nothing() -> None:
    session = notepad("one", "two", "three")
    await session.send("1")
    await session.send("2")
    session.rewind(session.timeline[1].id)
    await session.send("other")
    assert [entry.text for entry in session.timeline] == ["1", "one", "other", "three"]
    assert len(session.timeline.all()) == 6


async def test_a_steered_message_reaches_the_running_execution_at_its_next_tick() -> None:
    session = notepad([call("add_note", note="a")], "done")
    execution = session.send("go")
    session.steer("and hurry")
    result = await execution
    assert any("and hurry" in str(message) for message in result.ticks[-1].context.messages)


async def test_a_session_can_be_used_from_another_thread() -> None:
    session = notepad("one", "two")
    await session.send("first")
    texts: list[str] = []

    def elsewhere() -> None:
        session.knobs["tone"] = "terse"
        texts.append(str(session.compile().system))
        texts.append(session.run("second").text)

    await asyncio.to_thread(elsewhere)
    assert "terse" in texts[0]
    assert texts[1] == "two"


def test_run_works_without_a_loop() -> None:
    session = notepad("one", "two")
    assert session.run("1").text == "one"
    assert session.run("2").text == "two"
    assert len(session.timeline) == 4


async def test_run_works_inside_the_running_loop() -> None:
    session = notepad("one")
    assert session.run("1").text == "one"


async def test_a_closed_session_that_nothing_kept_does_not_promise_to_open_again() -> None:
    session = notepad("one")
    await session.aclose()
    with pytest.raises(
        SessionClosedError, match="session 'user-123' is closed, and no store kept it; begin another"
    ):
        session.send("hi")


async def test_dispatch_reaches_the_tools_of_the_tree() -> None:
    session = notepad()
    assert await session.dispatch("add_note", note="x") == "Noted."
    assert "- x" in str(session.compile().system)
    with pytest.raises(ToolError, match="did you mean 'add_note'"):
        await session.dispatch("add_not", note="x")


@pytest.mark.parametrize(
    "message", ["", "  ", None, 3, {"content": "x", "role": "robot"}, {"text": "x"}, [], {1}]
)
async def test_a_malformed_message_is_refused_and_nothing_is_sent(message: Any) -> None:
    session = notepad()
    with pytest.raises(SessionError):
        session.send(message)
    assert len(session.timeline) == 0


async def test_the_image_of_a_tree_is_a_picture_in_a_message_and_in_a_result_too() -> None:
    @tool
    def draw() -> Any:
        """Draw."""
        return ["drawn:", Image(GIF)]

    @component
    def Painter() -> Any:
        return [System("s"), draw, Timeline()]

    model = ScriptedModel(call("draw"), "red")
    await (
        App(Painter, model=model)
        .session()
        .send(["What is this?", Image(GIF, alt="a dot"), Document(b"%PDF-1.4", title="a paper")])
    )
    sent, _, result = model.contexts[1].messages
    assert [type(block).__name__ for block in sent.content] == ["Text", "Image", "Document"]
    assert isinstance(result.content[0], ToolResult)
    assert [type(block).__name__ for block in result.content[0].content] == ["Text", "Image"]


@pytest.mark.parametrize(
    "message",
    [
        Section("x", title="X"),
        ["look:", Section("x", title="X")],
        ["look:", {"type": "tool_result", "tool_use_id": "t", "content": "x"}],
        ["look:", {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}],
    ],
)
async def test_what_would_be_sent_as_its_repr_is_refused_with_the_remedy(message: Any) -> None:
    session = notepad()
    with pytest.raises(SessionError, match=r"give .*Image\("):
        session.send(message)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"store": "sqlite:///kept.db"}, "store= takes a store, got 'sqlite:///kept.db'; use .*SqlStore"),
        ({"store": MemoryStore}, r"got the class MemoryStore; write MemoryStore\(…\)"),
        ({"store": object()}, r"object has no acquire, append, blocking, close, .*; .*store_contract checks"),
        ({"tools": [len]}, r"App\(tools=\) takes tools, got .*len.*; mark the function with @tool"),
        ({"tools": tool(name="t")(print)}, r"App\(tools=\) takes a list of tools, .* write tools=\[…\]"),
        ({"policies": list}, r"policies= takes a list, .*write policies=\[…\]"),
    ],
)
def test_an_app_says_at_once_what_it_takes(options: Any, advice: str) -> None:
    with pytest.raises(SessionError, match=advice):
        App(Notepad, **options)


async def test_a_session_says_at_once_what_it_takes() -> None:
    app = App(Notepad, model=ScriptedModel())
    with pytest.raises(SessionError, match="a session's id is a non-empty string, got 7"):
        app.session(7)  # type: ignore[arg-type]  # that is what is refused
    with pytest.raises(SessionError, match=r"session\(metadata=\) holds <object .* use JSON values"):
        app.session(metadata={"a": object()})
    with pytest.raises(SessionError, match=r"send\(tools=\) takes tools, .* mark the function with @tool"):
        app.session().send("x", tools=[len])
    with pytest.raises(SessionError, match=r"subscribe\(after=\) takes the sequence number .* got 'tick'"):
        app.session().subscribe(after="tick")  # type: ignore[arg-type]  # that is what is refused


async def test_a_one_off_run_has_a_result() -> None:
    assert (await run(Notepad, "hi", model=ScriptedModel("hello"))).text == "hello"


class Person(BaseModel):
    name: str
    age: int


async def test_an_answer_is_read_as_the_model_that_was_asked_for() -> None:
    model = ScriptedModel('{"name": "Ryan", "age": 31}', "I would rather not")
    session = App(Notepad, model=model).session()
    result = await session.send("Who?", output=Person)
    assert result.output == Person(name="Ryan", age=31)
    assert model.contexts[0].settings["output_schema"]["required"] == ["name", "age"]
    with pytest.raises(ModelError, match="did not answer with a Person"):
        await session.send("Who?", output=Person)
    with pytest.raises(SessionError, match="output= takes a type that JSON can give, got 'Person'"):
        session.send("Who?", output="Person")


async def test_rewinding_takes_component_state_back_and_leaves_the_knobs() -> None:
    session = notepad([call("add_note", note="a")], "one", [call("add_note", note="b")], "two", "three")
    await session.send("first")
    after_first = session.timeline[-1].id
    await session.send("second")
    session.knobs["tone"] = "terse"
    session.rewind(after_first)
    assert session.state == {"Notepad#1": ["a"]}
    result = await session.send("second again")
    assert "- b" not in str(result.ticks[0].context.system)
    assert "terse" in str(result.ticks[0].context.system)
    session.rewind(None)
    assert "Notepad\n" not in str(session.compile().system)
    for tick in session.ticks:
        assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash


async def test_compiling_a_message_shows_what_it_would_send_and_changes_nothing() -> None:
    model = ScriptedModel("hello")
    session = App(Notepad, model=model).session()
    context = session.compile("hi")
    assert len(session.timeline) == 0
    await session.send("hi")
    assert model.contexts[0].hash == context.hash


async def test_an_app_lists_its_stored_sessions_by_pages() -> None:
    app = App(Notepad, model=ScriptedModel(*["hi"] * 3), store=MemoryStore())
    for name in "abc":
        await app.session(name).send("hello")
    first = app.sessions(limit=2)
    rest = app.sessions(after=first[-1].place)
    assert [[info.id for info in page] for page in (first, rest)] == [["c", "b"], ["a"]]
    assert App(Notepad, model=ScriptedModel()).sessions(limit=2) == []


def test_a_knob_is_no_attribute_and_the_error_says_how_it_is_set() -> None:
    session = App(Notepad, model=ScriptedModel()).session()
    knobs: Any = session.knobs
    with pytest.raises(AttributeError, match=r"set by knobs\['tone'\] = value"):
        _ = knobs.tone
    with pytest.raises(AttributeError, match=r"set by knobs\['tone'\] = value"):
        knobs.tone = "terse"
    assert session.knobs["tone"] == "friendly"
    session.close()
