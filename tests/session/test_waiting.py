"""Sessions that wait for a person: questions, answers, restarts, forks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel

from nbsession import (
    App,
    Pause,
    StopReason,
    System,
    Timeline,
    ToolContext,
    component,
    tool,
    use_knob,
    use_state,
)
from nbsession.errors import SessionError, StoreError
from nbsession.events import (
    ConfirmationRequested,
    QuestionAnswered,
    QuestionAsked,
    QuestionWithdrawn,
    ToolEnd,
)
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import ScriptedModel, call
from nbsession.usage import Budget

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nbsession import Entry, Execution, Session


class Log(list[Any]):
    """What the tools of a test did."""


def agent(log: Log, **options: Any) -> Any:
    @tool
    def ask(question: str) -> str:
        """Ask the person."""
        log.append(("ask", question))
        raise Pause(question)

    @tool
    def decide(title: str) -> str:
        """Let the person decide."""
        raise Pause(title, answer=Literal["now", "later"])

    @tool(confirm=True)
    def send(to: str, copies: int = 1) -> str:
        """Send it."""
        log.append(("send", to, copies))
        return f"sent to {to}"

    @tool
    def look() -> str:
        """Look."""
        log.append(("look",))
        return "seen"

    @tool
    def sign(context: ToolContext) -> str:
        """Sign, when somebody has said with which name."""
        if context.answer is None:
            raise Pause("Which name?", again=True)
        log.append(("sign", context.answer))
        return f"signed as {context.answer}"

    @component
    def Agent() -> Any:
        return [System("Help."), ask, decide, send, look, sign, Timeline()]

    return App(Agent, **options)


async def until_asked(session: Session, execution: Execution) -> Any:
    async for event in execution:
        if isinstance(event, (ConfirmationRequested, QuestionAsked)):
            return event
    raise AssertionError("nothing was asked")


async def test_a_tool_asks_and_its_answer_is_the_calls_result() -> None:
    log = Log()
    model = ScriptedModel(call("ask", question="Which city?"), "Off to Rome.")
    session = agent(log, model=model).session()
    result = await session.send("Plan a trip.")
    assert result.stop_reason is StopReason.paused
    assert result.reason == "waits for an answer: Which city?"
    (question,) = session.waiting
    assert (question.text, question.kind, question.call.name) == ("Which city?", "pause", "ask")
    assert question.schema == {"type": "string"}
    assert session.status == "idle"
    assert len(session.timeline) == 2  # the call stands open

    result = await session.answer(question.id, "Rome")
    assert (result.text, result.stop_reason) == ("Off to Rome.", StopReason.end_turn)
    assert log == [("ask", "Which city?")]
    assert session.waiting == []
    assert [entry.role for entry in session.timeline] == ["user", "assistant", "tool", "assistant"]
    assert session.timeline[2].text == "Rome"
    assert session.ticks[0].tool_calls[0].result is not None
    assert session.ticks[0].tool_calls[0].result.text == "Rome"


async def test_the_second_answer_is_refused_with_what_the_first_one_was() -> None:
    session = agent(Log(), model=ScriptedModel(call("ask", question="Why?"), "Ah.")).session()
    await session.send("Go.")
    (question,) = session.waiting
    going_on = session.answer(question.id, "Because.")
    with pytest.raises(SessionError, match="answered just now"):
        session.answer(question.id, "No.")
    await going_on
    with pytest.raises(SessionError, match=r"'Why\?'|\(Why\?\) was answered with 'Because\.'; nothing waits"):
        session.answer(question.id, "No.")


async def test_an_answer_that_does_not_fit_is_refused_and_the_question_waits_on() -> None:
    session = agent(Log(), model=ScriptedModel(call("decide", title="When?"), "Fine.")).session()
    await session.send("Go.")
    (question,) = session.waiting
    assert question.schema["enum"] == ["now", "later"]
    with pytest.raises(
        SessionError, match=r"'When\?' is not answered: is to be one of \"now\", \"later\", got \"never\""
    ):
        session.answer(question.id, "never")
    with pytest.raises(SessionError, match="cannot be answered with <object"):
        session.answer(question.id, object())
    with pytest.raises(SessionError, match=rf"no question 'qu_x'; what waits is '{question.id}' \(When\?\)"):
        session.answer("qu_x", "now")
    assert session.waiting == [question]
    assert (await session.answer(question.id, "now")).text == "Fine."


class Decision(BaseModel):
    approved: bool
    remark: str = ""


async def test_a_pydantic_model_may_be_answered_by_an_instance_or_its_data() -> None:
    @tool
    def review(draft: str) -> str:
        """Have a draft reviewed."""
        raise Pause(f"Send {draft!r}?", answer=Decision)

    @component
    def Agent() -> Any:
        return [review, Timeline()]

    for answer in (Decision(approved=True), {"approved": True, "remark": ""}):
        session = App(Agent, model=ScriptedModel(call("review", draft="Hi"), "Done.")).session()
        await session.send("Go.")
        (question,) = session.waiting
        assert set(question.schema["properties"]) == {"approved", "remark"}
        with pytest.raises(SessionError, match='approved: is to be true or false, got "maybe"'):
            session.answer(question.id, {"approved": "maybe"})
        await session.answer(question.id, answer)
        assert session.timeline[2].text == '{"approved":true,"remark":""}'


async def test_several_calls_of_one_tick_wait_at_once_and_the_others_are_run() -> None:
    log = Log()
    model = ScriptedModel(
        [call("ask", question="One?"), call("look"), call("ask", question="Two?")], "Both answered."
    )
    session = agent(log, model=model).session()
    assert (await session.send("Go.")).stop_reason is StopReason.paused
    one, two = session.waiting
    assert log == [("ask", "One?"), ("look",), ("ask", "Two?")]
    result = await session.answer(two.id, "2")
    assert (result.stop_reason, session.waiting) == (StopReason.paused, [one])
    result = await session.answer(one.id, "1")
    assert result.text == "Both answered."
    assert [block.text for block in session.timeline[2].content] == ["1", "seen", "2"]
    assert log == [("ask", "One?"), ("look",), ("ask", "Two?")]


async def test_any_kind_of_tool_may_ask() -> None:
    @tool
    def steps() -> Any:
        """Take steps."""
        yield "one"
        raise Pause("steps?")

    @tool(timeout=60)
    async def awaiting() -> str:
        """Wait."""
        await asyncio.sleep(0)
        raise Pause("awaiting?")

    @tool(thread=False, parallel=True)
    def here() -> str:
        """Run here."""
        raise Pause("here?")

    @tool(parallel=True)
    async def group() -> str:
        """Ask in a task of a group."""

        async def part() -> None:
            raise Pause("group?")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(part())
        return "never"

    names = ("steps", "awaiting", "here", "group")
    model = ScriptedModel([call(name) for name in names], "All.")
    session = agent(Log(), model=model).session(tools=[steps, awaiting, here, group])
    assert (await session.send("Go.")).stop_reason is StopReason.paused
    assert [question.text for question in session.waiting] == [f"{name}?" for name in names]
    for question in session.waiting:
        await session.answer(question.id, question.text.upper())
    assert session.timeline[-1].text == "All."
    assert [block.text for block in session.timeline[2].content] == [f"{name.upper()}?" for name in names]


async def test_both_answers_may_be_given_at_once() -> None:
    model = ScriptedModel([call("ask", question="One?"), call("ask", question="Two?")], "Both.")
    session = agent(Log(), model=model).session()
    await session.send("Go.")
    one, two = session.waiting
    first, second = session.answer(one.id, "1"), session.answer(two.id, "2")
    assert (await first).stop_reason is StopReason.paused
    assert (await second).text == "Both."


async def test_a_tool_may_be_run_once_more_with_the_answer() -> None:
    log = Log()
    session = agent(log, model=ScriptedModel(call("sign"), "Signed.")).session()
    await session.send("Sign.")
    (question,) = session.waiting
    await session.answer(question.id, "Ada")
    assert log == [("sign", "Ada")]
    assert session.timeline[2].text == "signed as Ada"


async def test_a_confirmation_is_answered_while_the_execution_waits() -> None:
    log = Log()
    session = agent(log, model=ScriptedModel(call("send", to="Bo"), "Sent.")).session()
    execution = session.send("Send it.")
    event = await until_asked(session, execution)
    (question,) = session.waiting
    assert (question.id, question.kind) == (event.question, "confirmation")
    assert session.answer(question.id, {"to": "Cy", "copies": 2}) is execution
    assert (await execution).text == "Sent."
    assert log == [("send", "Cy", 2)]
    assert session.waiting == []
    with pytest.raises(SessionError, match=r"was answered with \{'to': 'Cy', 'copies': 2\}"):
        session.answer(question.id, True)


async def test_confirm_answers_the_question_too() -> None:
    log = Log()
    session = agent(log, model=ScriptedModel(call("send", to="Bo"), "Well.")).session()
    execution = session.send("Send it.")
    event = await until_asked(session, execution)
    execution.confirm(event.call.id, False, "not today")
    await execution
    assert session.waiting == []
    with pytest.raises(SessionError, match="was answered with False"):
        session.answer(event.question, True)
    assert session.timeline[2].text == "the user declined this call: not today"


async def test_a_confirmation_that_nobody_gives_waits_when_it_is_paused() -> None:
    log = Log()
    model = ScriptedModel([call("send", to="Bo"), call("look"), call("send", to="Cy")], "Sent.")
    session = agent(log, model=model).session()
    execution = session.send("Send it.")
    await until_asked(session, execution)
    assert execution.pause()
    assert (await execution).stop_reason is StopReason.paused
    bo, cy = session.waiting
    assert (bo.call.input["to"], cy.call.input["to"], log) == ("Bo", "Cy", [])
    await session.answer(bo.id, True)
    assert log == [("send", "Bo", 1), ("look",)]
    result = await session.answer(cy.id, False)
    assert result.text == "Sent."
    assert log == [("send", "Bo", 1), ("look",)]
    assert session.ticks[0].tool_calls[2].result is not None
    assert session.ticks[0].tool_calls[2].result.status == "denied"


@pytest.mark.parametrize("kind", ["pause", "confirmation"])
async def test_what_waits_waits_on_after_a_restart(tmp_path: Path, kind: str) -> None:
    log = Log()
    waits = call("ask", question="Which?") if kind == "pause" else call("send", to="Bo")
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    session = agent(log, model=ScriptedModel([call("look"), waits]), store=store).session("s")
    execution = session.send("Go.")
    await until_asked(session, execution)
    if kind == "pause":
        await execution
    await session.aclose()  # as a process that ends properly
    if kind == "confirmation":
        assert (await execution).stop_reason is StopReason.paused

    model = ScriptedModel("So be it.")
    again = agent(log, model=model, store=SqlStore(f"sqlite:///{tmp_path}/s.db")).session("s")
    (question,) = again.waiting
    assert question.kind == kind
    assert again.executions[-1].status == "done"
    assert (await again.executions[-1]).stop_reason is StopReason.paused
    assert (await again.answer(question.id, "This." if kind == "pause" else True)).text == "So be it."
    assert log == [("look",), ("ask", "Which?") if kind == "pause" else ("send", "Bo", 1)]
    assert again.timeline[2].content[0].text == "seen"
    assert again.verify() == []
    await again.aclose()

    third = agent(log, model=ScriptedModel(), store=SqlStore(f"sqlite:///{tmp_path}/s.db")).session("s")
    with pytest.raises(SessionError, match="was answered with"):
        third.answer(question.id, True)
    assert third.waiting == []
    kinds = [event.type async for event in third.executions[-1]]
    assert "question_answered" in kinds
    await third.aclose()


async def test_a_fork_of_a_waiting_session_waits_too_and_is_answered_apart() -> None:
    log = Log()

    def model_of(context: Any) -> Any:
        last = context.messages[-1].text
        return call("ask", question="Which?") if last == "Go." else f"So {last}."

    session = agent(log, model=ScriptedModel(*[model_of] * 6)).session()
    await session.send("Go.")
    (question,) = session.waiting
    fork, past = session.fork(), session.fork(at=0)
    assert fork.waiting == past.waiting == [question]
    assert session.fork(at=0, before=True).waiting == []
    assert (await fork.answer(question.id, "left")).text == "So left."
    assert session.waiting == [question]
    assert session.ticks[0].tool_calls[0].result is None
    assert (await session.answer(question.id, "right")).text == "So right."
    assert (await past.answer(question.id, "none")).text == "So none."
    assert fork.ticks[0].tool_calls[0].result is not None
    assert fork.ticks[0].tool_calls[0].result.text == "left"
    done = session.fork(at=0)
    assert done.waiting == []
    assert done.timeline[-1].text == "right"


async def test_another_message_goes_on_without_the_answer() -> None:
    session = agent(Log(), model=ScriptedModel(call("ask", question="Which?"), "Never mind.")).session()
    await session.send("Go.")
    (question,) = session.waiting
    result = await session.send("Forget it.")
    assert result.text == "Never mind."
    assert session.waiting == []
    assert session.timeline[2].text == "Nobody answered: another message was sent."
    with pytest.raises(SessionError, match="was withdrawn: another message was sent"):
        session.answer(question.id, "Rome")


async def test_render_without_an_answer_waits_on() -> None:
    session = agent(Log(), model=ScriptedModel(call("ask", question="Which?"), "Rome then.")).session()
    await session.send("Go.")
    (question,) = session.waiting
    assert (await session.render()).stop_reason is StopReason.paused
    assert session.waiting == [question]
    assert (await session.answer(question.id, "Rome")).text == "Rome then."


async def test_an_answer_whose_turn_comes_when_nothing_waits_any_more_is_refused_and_sends_nothing() -> None:
    go_on = asyncio.Event()

    @tool
    async def slow() -> str:
        """Take long."""
        await go_on.wait()
        return "slow"

    for sent in (False, True):
        go_on.clear()
        model = ScriptedModel([call("ask", question="Which?"), call("slow")], "Never mind.")
        session = agent(Log(), model=model).session(tools=[slow])
        execution = session.send("Go.")
        await until_asked(session, execution)
        (question,) = session.waiting
        message = session.send("Forget it.") if sent else None
        late = session.answer(question.id, "this")
        if message is None:
            execution.abort()
        else:
            go_on.set()
            assert (await message).text == "Never mind."
        entries = len(session.timeline) if sent else 3
        why = "another message was sent" if sent else "the execution was stopped"
        with pytest.raises(SessionError, match=rf"\(Which\?\) was withdrawn: {why}; nothing waits"):
            await late
        assert (len(session.timeline), len(model.contexts)) == (entries, 2 if sent else 1)


async def test_an_answer_right_after_a_pause_goes_on_after_it() -> None:
    log = Log()
    session = agent(log, model=ScriptedModel(call("send", to="Bo"), "Sent.")).session()
    execution = session.send("Send it.")
    event = await until_asked(session, execution)
    assert execution.pause()
    answered = session.answer(event.question, True)
    assert (await execution).stop_reason is StopReason.paused
    assert (await answered).text == "Sent."
    assert (log, session.waiting) == ([("send", "Bo", 1)], [])


async def test_an_answer_after_another_that_was_not_heard_yet_is_refused() -> None:
    session = agent(Log(), model=ScriptedModel(call("send", to="Bo"), "Sent.")).session()
    execution = session.send("Send it.")
    event = await until_asked(session, execution)
    execution.confirm(event.call.id, True)
    second = session.answer(event.question, False)
    assert (await execution).text == "Sent."
    with pytest.raises(SessionError, match="was answered with True; nothing waits"):
        await second


async def test_what_is_allowed_always_is_allowed_to_those_that_wait_beside_it() -> None:
    log = Log()
    calls = [call("send", to=to) for to in ("Bo", "Cy", "Di")]
    session = agent(log, model=ScriptedModel([*calls, call("ask", question="Which?")], "Sent.")).session()
    execution = session.send("Send them.")
    await until_asked(session, execution)
    execution.pause()
    await execution
    assert [question.text for question in session.waiting if question.lasting] == [
        f"Run {call}?" for call in ("send(to='Bo')", "send(to='Cy')", "send(to='Di')")
    ]
    _, cy, di = session.waiting
    always, no = session.answer(cy.id, "always"), session.answer(di.id, False)
    assert (await always).stop_reason is StopReason.paused
    assert (await no).stop_reason is StopReason.paused
    assert log == [("send", "Bo", 1), ("send", "Cy", 1), ("ask", "Which?")]
    (which,) = session.waiting
    assert (await session.answer(which.id, "always")).text == "Sent."
    assert session.timeline[2].text.endswith("declined this call\n\nalways")


async def test_a_call_that_was_stopped_stops_no_later_answer() -> None:
    began = asyncio.Event()

    @tool
    async def seal(context: ToolContext) -> str:
        """Seal it."""
        if context.answer is None:
            raise Pause("As whom?", again=True)
        began.set()
        await asyncio.Event().wait()
        return "never"

    model = ScriptedModel([call("seal"), call("ask", question="Which?")], "Well.")
    session = agent(Log(), model=model).session(tools=[seal])
    await session.send("Go.")
    who, which = session.waiting
    execution = session.answer(who.id, "Ada")
    await began.wait()
    execution.abort()
    assert (await execution).stop_reason is StopReason.aborted
    assert session.waiting == [which]
    assert (await session.answer(which.id, "this")).text == "Well."
    assert [block.status for block in session.timeline[2].content] == ["interrupted", "done"]


class Full(MemoryStore):
    """A store that has no room for one append."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def append(self, *args: Any, **options: Any) -> int:
        self.left -= 1
        if not self.left:
            raise StoreError("the disk is full; make room")
        return super().append(*args, **options)


async def test_what_a_full_store_could_not_keep_is_not_asked_or_answered_twice() -> None:
    asked: set[int] = set()
    for at in range(1, 14):
        log, store = Log(), Full(at)
        model = ScriptedModel([call("ask", question="Which?"), call("look")], "Well.", "Well.")
        session = agent(log, model=model, store=store).session("s")
        failed = session.send("Go.")
        with suppress(StoreError):
            await failed
        if failed.error is not None and session.waiting:
            asked.add(at)
        while session.waiting:
            with suppress(StoreError):
                await session.answer(session.waiting[0].id, "this")
        if ("ask", "Which?") in log:
            assert session.timeline[2].content[0].text == "this"
            assert (log.count(("ask", "Which?")), log.count(("look",)) <= 1) == (1, True)
        assert session.verify() == []
        await session.aclose()
    assert asked


async def test_a_stopped_execution_asks_no_more() -> None:
    session = agent(Log(), model=ScriptedModel(call("send", to="Bo"))).session()
    execution = session.send("Go.")
    event = await until_asked(session, execution)
    execution.abort()
    assert (await execution).stop_reason is StopReason.aborted
    assert session.waiting == []
    with pytest.raises(SessionError, match="was withdrawn: the execution was stopped"):
        session.answer(event.question, True)


async def test_a_tool_that_is_gone_keeps_its_question_waiting() -> None:
    @tool
    def ask() -> str:
        """Ask."""
        raise Pause("Which?")

    @component
    def Agent() -> Any:
        asks, _ = use_knob("asks", True)
        return [asks and ask, Timeline()]

    session = App(Agent, model=ScriptedModel(call("ask"), "Fine.")).session()
    await session.send("Go.")
    (question,) = session.waiting
    session.knobs["asks"] = False
    with pytest.raises(SessionError, match="the tool 'ask' that asked is not there now"):
        await session.answer(question.id, "this")
    assert session.waiting == [question]
    session.knobs["asks"] = True
    assert (await session.answer(question.id, "this")).text == "Fine."


async def test_hooks_of_the_tick_run_when_all_is_answered_and_state_that_tools_set_counts() -> None:
    ended: list[int] = []

    @component
    def Agent() -> Any:
        from nbsession import use_on_tick_end

        count, set_count = use_state(0)
        use_on_tick_end(lambda tick: ended.append(tick.number))

        @tool
        def add() -> str:
            """Add."""
            set_count(lambda n: n + 1)
            return "added"

        @tool
        def ask() -> str:
            """Ask."""
            raise Pause("Go on?", answer=bool)

        return [System(f"Count {count}."), add, ask, Timeline()]

    model = ScriptedModel([call("add"), call("ask")], "End.")
    session = App(Agent, model=model).session()
    await session.send("Go.")
    assert ended == []
    await session.answer(session.waiting[0].id, True)
    assert ended == [0, 1]
    assert model.contexts[1].system[0].text == "Count 1."


async def test_events_tell_of_questions_and_their_answers() -> None:
    session = agent(Log(), model=ScriptedModel(call("ask", question="Which?"), "Good.")).session()
    asking = session.send("Go.")
    await asking
    (question,) = session.waiting
    assert [e.question for e in [e async for e in asking] if isinstance(e, QuestionAsked)] == [question]
    answering = session.answer(question.id, "this")
    await answering
    events = [event async for event in answering]
    assert [(e.question, e.value) for e in events if isinstance(e, QuestionAnswered)] == [
        (question.id, "this")
    ]
    assert [e.result.text for e in events if isinstance(e, ToolEnd)] == ["this"]
    assert not [e for e in events if isinstance(e, QuestionWithdrawn)]


async def test_the_waiting_session_can_be_looked_at() -> None:
    session = agent(Log(), model=ScriptedModel(call("ask", question="Which?"))).session()
    await session.send("Go.")
    assert session.compile().messages
    assert session.preview().context.messages
    assert session.check() is not None
    assert "Which?" in str(session.waiting[0])


async def test_a_policy_sees_calls_that_wait() -> None:
    def everything(entries: Sequence[Entry]) -> list[Entry]:
        return list(entries)

    model = ScriptedModel(call("ask", question="Which?"), "Good.")
    session = agent(Log(), model=model, policies=[everything]).session()
    await session.send("Go.")
    assert (await session.answer(session.waiting[0].id, "this")).text == "Good."


async def test_a_confirmation_is_answered_with_input_that_names_types_of_its_own() -> None:
    @tool(confirm=True)
    def file(decision: Decision) -> str:
        """File a decision."""
        return f"filed {decision.remark}"

    @component
    def Agent() -> Any:
        return [file, Timeline()]

    model = ScriptedModel(call("file", decision={"approved": True}), "Done.")
    session = App(Agent, model=model).session()
    execution = session.send("Go.")
    event = await until_asked(session, execution)
    with pytest.raises(SessionError, match=r'decision\.approved: is to be true or false, got "maybe"'):
        session.answer(event.question, {"decision": {"approved": "maybe"}})
    session.answer(event.question, {"decision": {"approved": True, "remark": "late"}})
    await execution
    assert session.timeline[2].text == "filed late"


class Trip(BaseModel):
    city: str


@pytest.mark.parametrize("end", ["closed", "killed"])
async def test_an_answer_after_a_restart_is_bound_by_what_was_asked_for_before(end: str) -> None:
    store = MemoryStore()
    session = agent(Log(), model=ScriptedModel(call("send", to="you")), store=store).session("s")
    execution = session.send("Go.", max_ticks=2, output=Trip, budget={"tokens": 100_000})
    await until_asked(session, execution)
    kept = store
    if end == "killed":
        kept = MemoryStore()
        kept.append("s", store.load("s") or [], dict(store._texts), revision=0)
    await session.aclose()
    model = ScriptedModel('{"city": "Rome"}', "no object")
    again = agent(Log(), model=model, store=kept).session("s")
    result = await again.answer(again.waiting[0].id, True)
    assert result.output == {"city": "Rome"}  # the type itself cannot be kept
    assert model.contexts[0].settings["output_schema"]["title"] == "Trip"
    assert again.executions[-1].options.budget == Budget(tokens=100_000)
    assert again.executions[-1].max_ticks == 2
    assert (await again.send("More.")).stop_reason is StopReason.end_turn


async def test_a_limit_without_end_is_none_and_is_kept_as_none() -> None:
    store = MemoryStore()
    session = agent(Log(), model=ScriptedModel("Hi."), store=store).session("s")
    result = await session.send("Go.", budget={"usd": float("inf"), "tokens": 100_000})
    assert result.stop_reason is StopReason.end_turn
    rows = [row.data for row in store.load("s") or [] if row.kind == "execution"]
    assert rows[0]["options"] == {"budget": {"tokens": 100_000}}
