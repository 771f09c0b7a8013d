"""Gates: an execution does not end while one is open."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    XML,
    App,
    Continue,
    HookError,
    Section,
    Stop,
    StopReason,
    System,
    Timeline,
    ask,
    component,
    tool,
    use_continuation,
    use_gate,
    use_knob,
)
from nbsession.events import ConfirmationRequested, GateChanged
from nbsession.hooks import GateState
from nbsession.notebook.view.execution import ExecutionView
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from pathlib import Path

    from nbsession import CompiledContext

TEXT = "Have you run the tests?"


def agent(*replies: Any, opinion: Any = None, **options: Any) -> tuple[App, ScriptedModel]:
    @component
    def Agent() -> Any:
        use_knob("tone", "dry")
        gate = use_gate("tests", TEXT)
        if opinion is not None:
            use_continuation(opinion)

        @tool
        def edit(path: str) -> str:
            """Edit a file, which has to be tested then."""
            gate.open_()
            return f"edited {path}"

        @tool
        def test() -> str:
            """Run the tests."""
            return "passed"

        return [System("Help."), edit, test, Timeline()]

    model = ScriptedModel(*replies)
    return App(Agent, model=model, **options), model


def shows(context: CompiledContext) -> bool:
    """Whether a context ends with the gate's text; then it has the tool that settles it."""
    last = TEXT in str(context.messages[-1])
    assert not last or can_settle(context)
    return last


def can_settle(context: CompiledContext) -> bool:
    return any(spec.name == "resolve_gate" for spec in context.tools)


def settle(action: str, reason: str = "") -> Any:
    return call("resolve_gate", name="tests", action=action, reason=reason)


async def test_an_open_gate_is_shown_at_what_would_be_the_last_tick_and_the_model_closes_it() -> None:
    replies = [call("edit", path="a"), "Edited.", call("test"), settle("close", "all pass"), "Done."]
    app, model = agent(*replies)
    session = app.session()
    result = await session.send("Edit a.")
    assert (result.text, result.stop_reason) == ("Done.", StopReason.end_turn)
    assert [shows(context) for context in model.contexts] == [False, False, True, False, False]
    assert [can_settle(context) for context in model.contexts] == [False, False, True, True, False]


async def test_the_model_settles_it_at_the_tick_that_shows_it() -> None:
    app, model = agent(call("edit", path="a"), "Edited.", settle("close", "not needed"), "Done.")
    session = app.session()
    result = await session.send("Edit a.")
    assert [tick.reason for tick in result.ticks] == [
        "tool results to read",
        "the gate 'tests' is open",
        "tool results to read",
        "",
    ]
    assert [shows(context) for context in model.contexts] == [False, False, True, False]
    (gate,) = session.gates
    assert (gate.name, gate.open, gate.reason) == ("tests", False, "not needed")
    assert TEXT not in str([entry.text for entry in session.timeline])


async def test_what_was_shown_stays_where_it_stood_until_the_execution_ends() -> None:
    app, model = agent(call("edit", path="a"), "Edited.", settle("close"), "Done.", "Hello.")
    session = app.session()
    await session.send("Edit a.")
    assert TEXT in str(model.contexts[3].messages)
    await session.send("Hi.")
    assert TEXT not in str(model.contexts[4].messages)


async def test_a_gate_that_is_put_off_lets_the_execution_end_and_is_open_again_at_the_next_one() -> None:
    replies = [call("edit", path="a"), "Edited.", settle("defer", "no network"), "Bye."]
    app, model = agent(*replies, "Hello.", settle("close"), "Now it is.")
    session = app.session()
    assert (await session.send("Edit a.")).text == "Bye."
    (gate,) = session.gates
    assert (gate.open, gate.reason, str(gate.state)) == (True, "no network", "put off: no network")
    execution = session.send("And now?")
    result = await execution
    assert result.text == "Now it is."
    assert str(GateState(True, reason="no network")) == "open, put off before: no network"
    assert "It was put off before: no network" in str(model.contexts[5].messages[-1])


async def test_a_model_that_ignores_it_is_asked_again_up_to_the_limit_and_the_reason_names_it() -> None:
    app, model = agent(call("edit", path="a"), "One.", "Two.", "Three.", max_ticks=4)
    session = app.session()
    result = await session.send("Edit a.")
    assert result.stop_reason is StopReason.max_ticks
    assert result.reason == "it reached the limit of 4 ticks, and the gate 'tests' is open"
    assert [shows(context) for context in model.contexts] == [False, False, True, True]
    assert [message.role for message in model.contexts[3].messages][-3:] == ["user", "assistant", "user"]


async def test_a_gate_is_put_off_with_a_reason_only_and_by_its_own_name() -> None:
    wrong = call("resolve_gate", name="test", action="close")
    app, model = agent(
        call("edit", path="a"), "Edited.", [settle("defer"), wrong], "Then.", settle("close"), "Done."
    )
    result = await app.session().send("Edit a.")
    texts = [run.result.text for run in result.tool_calls if run.name == "resolve_gate" and run.result]
    assert texts == [
        "to put 'tests' off, say in reason= why it cannot be done now",
        "no gate 'test' is open here; did you mean 'tests'?",
        "tests is closed.",
    ]
    assert shows(model.contexts[4])


async def test_the_program_opens_and_closes_it_from_outside() -> None:
    app, _ = agent("Hello.", settle("close"), "Done.", "Hi.")
    session = app.session()
    (gate,) = session.gates
    gate.open_()
    assert gate.open
    assert (await session.send("Hi.")).text == "Done."
    gate.open_()
    gate.close("I did it")
    assert gate.reason == "I did it"
    assert (await session.send("Hi.")).text == "Hi."


@pytest.mark.parametrize(
    ("opinion", "stop", "asked"),
    [
        (lambda tick: Stop("enough") if tick.number else None, StopReason.stopped, False),
        (lambda: None, StopReason.max_ticks, True),
        (lambda: Continue("more"), StopReason.max_ticks, True),
    ],
)
async def test_continuations_are_asked_after_the_gates_and_have_the_last_word(
    opinion: Any, stop: StopReason, asked: bool
) -> None:
    app, model = agent(call("edit", path="a"), "Edited.", "More.", opinion=opinion, max_ticks=3)
    result = await app.session().send("Edit a.")
    assert result.stop_reason is stop
    assert (len(model.contexts) == 3 and shows(model.contexts[2])) == asked


async def test_messages_that_wait_go_before_the_gates() -> None:
    def answer(_: CompiledContext) -> str:
        session.queue("One more thing.")
        return "Edited."

    app, model = agent(call("edit", path="a"), answer, "And?", settle("close"), "Done.")
    session = app.session()
    await session.send("Edit a.")
    assert [shows(context) for context in model.contexts] == [False, False, False, True, False]


async def test_an_open_gate_and_its_reason_survive_a_restart(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    app, _ = agent(call("edit", path="a"), "Edited.", settle("defer", "later"), "Bye.", store=store)
    first = app.session("s")
    await first.send("Edit a.")
    await first.aclose()
    app, model = agent("Hello.", settle("close"), "Done.", store=store)
    session = app.session("s")
    assert [(gate.open, gate.reason) for gate in session.gates] == [(True, "later")]
    await session.send("Hi.")
    assert [shows(context) for context in model.contexts] == [False, True, False]
    assert session.verify() == []
    await session.aclose()


async def test_a_fork_before_the_tick_that_shows_it_compiles_to_the_same() -> None:
    app, _ = agent(call("edit", path="a"), "Edited.", "Two.", "Three.", max_ticks=4)
    session = app.session()
    await session.send("Edit a.")
    for tick in session.ticks:
        assert session.fork(tick.number, before=True).compile().hash == tick.context.hash


async def test_a_preview_shows_it_while_it_is_due_and_changes_nothing() -> None:
    seen: list[bool] = []
    sessions: list[Any] = []

    def look(context: CompiledContext) -> str:
        seen.append(TEXT in str(sessions[0].preview(tone="warm").context.messages[-1]))
        return "Well."

    app, model = agent(call("edit", path="a"), "Edited.", look, look, max_ticks=4)
    session = app.session()
    sessions.append(session)
    await session.send("Edit a.")
    assert seen == [True, True]
    assert [shows(context) for context in model.contexts] == [False, False, True, True]
    assert not shows(session.preview(tone="warm").context)
    assert not shows(session.compile("More."))
    assert session.gates[0].open


async def test_the_tool_that_settles_a_gate_may_have_to_wait_for_somebody() -> None:
    app, _ = agent(
        call("edit", path="a"), "Edited.", settle("close"), "Done.", permissions=[ask("resolve_gate")]
    )
    session = app.session()
    execution = session.send("Edit a.")
    async for event in execution:
        if isinstance(event, ConfirmationRequested):
            assert execution.pause()
    assert (await execution).stop_reason is StopReason.paused
    assert (await session.answer(session.waiting[0].id, True)).text == "Done."
    assert not session.gates[0].open


async def test_it_is_shown_in_the_outline_and_below_the_cell() -> None:
    app, _ = agent(call("edit", path="a"), "Edited.", settle("defer", "no <b>network</b>"), "Bye.")
    session = app.session()
    assert "gate tests = closed" in str(session.outline())
    view = ExecutionView(session.send("Edit a."))
    await view.follow()
    assert "gate tests = put off: no <b>network</b>" in str(session.outline())
    static = view.static()
    (foot,) = re.findall(r"<div class=foot>(.*?)</div>", static["text/html"])
    assert foot.endswith("· gate tests is put off: no &lt;b&gt;network&lt;/b&gt;")
    assert "[gate tests is put off: no <b>network</b>]" in static["text/plain"]
    assert "Gate tests is open" in static["text/html"]
    assert "Gate tests is put off: no &lt;b&gt;network&lt;/b&gt;" in static["text/html"]


async def test_two_gates_of_one_name_that_differ_are_refused_with_both_places() -> None:
    @component
    def One() -> Any:
        use_gate("done", "Is it done?")

    @component
    def Two(text: str) -> Any:
        use_gate("done", text)

    @component
    def Both(text: str) -> Any:
        return [One(), Two(text), Timeline()]

    def opened(text: str) -> Any:
        return App(Both(text), model=ScriptedModel("Hi.")).session()

    assert len(opened("Is it done?").gates) == 1
    with pytest.raises(HookError, match=r"gate 'done' is two gates: .* at Both/One.*, .* at Both/Two"):
        opened("Is it?").compile()


async def test_several_open_gates_are_shown_together_as_their_places_are_written() -> None:
    @component
    def Two() -> Any:
        use_gate("one", "First.", open=True)
        use_gate("two", "Second.", open=True)
        return [Section("Trailing.")]

    @component
    def Agent() -> Any:
        return [System("Help."), Timeline(), XML(Two())]

    model = ScriptedModel(
        "Hello.",
        [call("resolve_gate", name=name, action="close") for name in ("one", "two")],
        "Done.",
    )
    result = await App(Agent, model=model).session().send("Hi.")
    assert result.ticks[0].reason == "the gates 'one', 'two' are open"
    last = str(model.contexts[1].messages[-1])
    assert '<section id="gate-one" title="Gate: one">\nFirst.' in last
    assert last.index("First.") < last.index("Second.")
    assert result.text == "Done."


async def test_a_component_that_reads_a_gate_renders_again_when_it_changes() -> None:
    @component
    def Agent() -> Any:
        gate = use_gate("done", "Is it done?")
        return [System(f"Open: {gate.open}"), Timeline()]

    session = App(Agent, model=ScriptedModel("Hi.")).session()
    (gate,) = session.gates
    gate.open_()
    assert "Open: True" in str(session.compile().system)


async def test_what_becomes_of_a_gate_is_told_in_events_also_after_a_restart(tmp_path: Path) -> None:
    def settle(action: str, reason: str) -> Any:
        return call("resolve_gate", name="tests", action=action, reason=reason)

    def changes(events: list[Any]) -> list[tuple[str, str, str]]:
        return [(each.name, each.state, each.reason) for each in events if isinstance(each, GateChanged)]

    store = SqlStore(f"sqlite:///{tmp_path / 'sessions.db'}")
    app, _ = agent(call("edit", path="a.py"), "Done.", settle("defer", "no time"), "Later.", store=store)
    session = app.session("s")
    first = [event async for event in session.send("Edit it.")]
    put_off = [("tests", "open", ""), ("tests", "put off", "no time")]
    assert changes(first) == put_off
    session.compile()
    session.gates[0].close("by hand")
    session.gates[0].open_()
    await session.keep()
    sequence, changed = session.sequence, [*put_off, ("tests", "closed", "by hand"), ("tests", "open", "")]
    await session.aclose()
    again = agent("Hm.", settle("close", "run"), "Good.", store=store)[0].session("s")
    assert again.sequence == sequence  # what was opened by hand ended no execution
    await again.send("And?")
    told: list[Any] = []
    async with aclosing(again.subscribe()) as events:
        while not told or told[-1].sequence < again.sequence or not told[-1].durable:
            told.append(await anext(events))
    assert changes(told) == [*changed, ("tests", "closed", "run")]
    assert [event.sequence for event in told if event.durable] == list(range(1, again.sequence + 1))
