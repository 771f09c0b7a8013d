"""Executions: what goes on, what ends, in which order, and why."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from nbsession import (
    App,
    Continue,
    Entry,
    ModelError,
    RenderError,
    Session,
    SessionError,
    Stop,
    StopReason,
    System,
    Timeline,
    component,
    tool,
    use_after_compile,
    use_continuation,
    use_data,
    use_knob,
    use_on_execution_end,
    use_on_execution_start,
    use_on_message,
    use_on_mount,
    use_on_tick_end,
    use_on_tick_start,
    use_state,
)
from nbsession.content import Text, ToolCall, ToolResult
from nbsession.context import Capabilities
from nbsession.errors import ToolError
from nbsession.events import (
    ConfirmationRequested,
    ContentBlockStart,
    MessageDelta,
    MessageStart,
    MessageStop,
    TextDelta,
    ToolEnd,
    ToolStart,
)
from nbsession.testing import EventRecorder, ScriptedModel, call, pause
from nbsession.usage import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent
    from nbsession.models.base import Source
    from nbsession.timeline import Tick
    from nbsession.tools import ToolContext


@component
def Root() -> Any:
    return Timeline()


def agent(*responses: Any, root: Any = Root, **options: Any) -> Session:
    return App(root, model=ScriptedModel(*responses), **options).session("s")


def ended(reason: str, detail: str = "") -> MessageDelta:
    return MessageDelta(reason, Usage(input_tokens=1, output_tokens=1), detail)


# Why it ends


@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "context_window"])
async def test_a_models_own_reason_ends_the_execution_under_that_name(reason: str) -> None:
    session = agent(["so far", ended(reason, "because")], "fine")
    result = await session.send("hi")
    assert (result.stop_reason, result.reason, result.text) == (reason, "because", "so far")
    assert (await session.send("again")).text == "fine"


async def test_a_paused_turn_goes_on_by_itself() -> None:
    session = agent(["one", ended("pause_turn")], "two")
    result = await session.send("hi")
    assert (result.stop_reason, result.text, len(result.ticks)) == (StopReason.end_turn, "two", 2)
    assert result.ticks[0].reason == "the model paused its turn"


async def test_calls_in_an_answer_that_was_cut_at_its_limit_are_not_run_but_answered() -> None:
    ran: list[int] = []

    @tool
    def act() -> str:
        """Act."""
        ran.append(1)
        return "x"

    session = agent([call("act"), ended("max_tokens")], "fine", tools=[act])
    result = await session.send("hi")
    assert (result.stop_reason, ran) == (StopReason.max_tokens, [])
    assert "Interrupted before it was run" in str(session.timeline[-1])
    assert (await session.send("again")).text == "fine"


async def test_an_answer_without_content_is_an_end_and_keeps_the_conversation_alternating() -> None:
    model = ScriptedModel([ended("end_turn")], "fine")
    session = App(Root, model=model).session()
    assert (await session.send("hi")).text == ""
    assert (await session.send("again")).text == "fine"
    assert [message.role for message in model.contexts[1].messages] == ["user"]


def test_every_stop_reason_says_its_name() -> None:
    assert repr(StopReason.max_ticks) == "max_ticks"
    assert {reason.value for reason in StopReason} == {
        "end_turn",
        "max_ticks",
        "max_tokens",
        "refusal",
        "aborted",
        "stopped",
        "budget",
        "context_window",
        "paused",
        "error",
    }


async def test_a_result_shows_itself_in_a_line() -> None:
    result = await agent("x" * 500).send("hi")
    assert repr(result) == f"<Result end_turn, 1 tick: '{'x' * 59}…'>"


@pytest.mark.parametrize("where", ["send", "session", "app"])
async def test_the_limit_of_ticks_is_that_of_the_send_the_session_or_the_app(where: str) -> None:
    @tool
    def act() -> str:
        """Act."""
        return "x"

    session = agent(*[[call("act")]] * 9, tools=[act], max_ticks=2 if where == "app" else 7)
    if where == "session":
        session.max_ticks = 2
    result = await session.send("hi", max_ticks=2 if where == "send" else None)
    assert (result.stop_reason, len(result.ticks)) == (StopReason.max_ticks, 2)
    assert result.reason == "it reached the limit of 2 ticks"
    with pytest.raises(SessionError, match="at least 1, got 0"):
        session.max_ticks = 0


# Continuations


def deciding(*opinions: Any) -> Any:
    """A tree whose components give these opinions, the first one the innermost."""

    @component
    def Decider(rest: tuple[Any, ...]) -> Any:
        use_continuation(lambda tick: rest[-1](tick) if callable(rest[-1]) else rest[-1])
        return Decider(rest=rest[:-1]) if len(rest) > 1 else None

    @component
    def Tree() -> Any:
        return [Decider(rest=opinions), Timeline()]

    return Tree


@pytest.mark.parametrize(
    ("opinions", "ticks", "stop", "reason"),
    [
        ((None,), 1, "end_turn", ""),
        ((True,), 2, "max_ticks", "it reached the limit of 2 ticks"),
        ((False,), 1, "end_turn", ""),
        ((True, False), 1, "stopped", "a continuation said to stop"),
        ((False, True), 2, "max_ticks", "it reached the limit of 2 ticks"),
        ((Continue("more to do"), Stop("enough")), 1, "stopped", "enough"),
        ((Stop("enough"), Continue("more to do")), 2, "max_ticks", "it reached the limit of 2 ticks"),
        ((Stop("enough"), None), 1, "stopped", "enough"),
        ((Stop("enough"),), 1, "stopped", "enough"),
    ],
)
async def test_the_last_opinion_wins_and_the_root_speaks_last(
    opinions: Any, ticks: int, stop: str, reason: str
) -> None:
    session = agent("a", "b", root=deciding(*opinions))
    result = await session.send("hi", max_ticks=2)
    assert (len(result.ticks), result.stop_reason, result.reason) == (ticks, stop, reason)


async def test_a_continuation_sees_the_decision_so_far_and_its_reason_is_kept() -> None:
    seen: list[tuple[bool, str]] = []

    def look(tick: Tick) -> None:
        seen.append((tick.should_continue, tick.reason))

    @tool
    def act() -> str:
        """Act."""
        return "x"

    root = deciding(look, lambda tick: Continue("not yet") if tick.number == 1 else None, look)
    session = agent([call("act")], "a", "b", root=root, tools=[act])
    result = await session.send("hi")
    assert seen == [
        (True, "tool results to read"),
        (True, "tool results to read"),
        (False, ""),
        (True, "not yet"),
        (False, ""),
        (False, ""),
    ]
    assert [tick.reason for tick in result.ticks] == ["tool results to read", "not yet", ""]


async def test_a_continuation_that_says_something_else_is_an_error() -> None:
    session = agent("a", root=deciding("yes"))
    with pytest.raises(SessionError, match=r"returned 'yes'; return None, a bool, Stop\(reason\)"):
        await session.send("hi")


async def test_a_tool_loop_can_be_stopped_and_the_next_request_is_valid() -> None:
    @tool
    def act() -> str:
        """Act."""
        return "x"

    session = agent([call("act")], "fine", root=deciding(Stop("not now")), tools=[act])
    result = await session.send("hi")
    assert (result.stop_reason, result.reason) == (StopReason.stopped, "not now")
    assert session.timeline[-1].role == "tool"
    assert (await session.send("again")).text == "fine"


# The order of things


async def test_a_tick_goes_in_its_order_children_first() -> None:
    order: list[str] = []

    def note(word: str) -> Any:
        return lambda: order.append(word)

    @component
    def Part(name: str, inner: Any = None) -> Any:
        use_on_mount(note(f"{name} mount"))
        use_on_execution_start(note(f"{name} execution start"))
        use_on_tick_start(note(f"{name} tick start"))
        use_after_compile(note(f"{name} after compile"))
        use_on_tick_end(note(f"{name} tick end"))
        use_on_execution_end(note(f"{name} execution end"))
        use_on_message(lambda entry: order.append(f"{name} {entry.role}"))

        @use_continuation
        def on(tick: Tick) -> None:
            order.append(f"{name} continuation")

        return inner

    @component
    def Tree() -> Any:
        return [Part(name="root", inner=Part(name="child")), Timeline()]

    def model(context: CompiledContext) -> str:
        order.append("model")
        return "answer"

    await agent(model, root=Tree).send("hi")

    def both(*words: str) -> list[str]:
        return [f"{name} {word}" for word in words for name in ("child", "root")]

    assert order == [
        *both("mount", "user", "execution start", "tick start", "after compile"),
        "model",
        *both("assistant", "tick end", "continuation", "execution end"),
    ]


async def test_state_from_any_hook_or_tool_is_in_the_very_next_compile() -> None:
    @component
    def Tree() -> Any:
        words, set_words = use_state(())

        def add(word: str) -> None:
            set_words(lambda present: (*present, word))

        use_on_mount(lambda: add("mount"))
        use_on_execution_start(lambda: add("execution"))
        use_on_tick_start(lambda: add("tick"))
        use_on_tick_end(lambda: add("end"))

        @tool
        def say(word: str) -> str:
            """Say a word."""
            add(word)
            return "said"

        return [System(" ".join(words)), say, Timeline()]

    model = ScriptedModel([call("say", word="tool")], "b")
    await App(Tree, model=model).session().send("hi")
    assert [str(context.system) for context in model.contexts] == [
        "mount execution tick",
        "mount execution tick tool end tick",
    ]


async def test_a_hook_runs_the_closure_of_the_latest_render() -> None:
    seen: list[int] = []

    @component
    def Tree() -> Any:
        count, set_count = use_state(0)
        use_on_tick_start(lambda: set_count(count + 1))
        use_on_tick_end(lambda: seen.append(count))
        return Timeline()

    @tool
    def act() -> str:
        """Act."""
        return "x"

    await agent([call("act")], "b", root=Tree, tools=[act]).send("hi")
    assert seen == [1, 2]


# Messages meanwhile


async def test_queue_steer_and_hooks_let_the_execution_go_on() -> None:
    @component
    def Tree() -> Any:
        @use_on_tick_end
        def remind(tick: Tick, session: Session) -> None:
            if tick.number == 1:
                session.steer("from a hook")

        return Timeline()

    held = pause()
    session = agent(["a", held], "b", "c", root=Tree)
    execution = session.send("hi")
    await held.reached
    session.queue("queued")
    held.release()
    result = await execution
    assert [entry.text for entry in session.timeline] == ["hi", "a", "queued", "b", "from a hook", "c"]
    assert [tick.reason for tick in result.ticks] == ["messages are waiting", "messages are waiting", ""]


async def test_messages_queued_at_rest_go_with_the_next_send() -> None:
    session = agent("a")
    session.queue("first")
    session.steer("second")
    await session.send("third")
    assert {entry.text for entry in session.timeline if entry.role == "user"} == {"first", "second", "third"}


async def test_messages_that_wait_are_of_one_session_and_not_endless() -> None:
    session = agent("a", "b")
    session.queue("kept")
    fork = session.fork()
    await fork.send("there")
    assert [entry.text for entry in fork.timeline] == ["there", "a"]
    for _ in range(999):
        session.steer("more")
    for post in (session.queue, session.steer):
        with pytest.raises(SessionError, match="1,000 messages wait"):
            post("too much")
    await session.send("here")
    assert len(session.timeline) == 1_002
    session.queue("again")


async def test_an_interrupt_stops_and_sends_before_all_that_is_queued() -> None:
    held = pause()
    session = agent(["a", held], "b", "c")
    first, queued = session.send("1"), session.send("2")
    await held.reached
    urgent = session.interrupt("now")
    assert urgent is not None
    assert (await first).stop_reason is StopReason.aborted
    assert (await urgent).text == "b"
    assert (await queued).text == "c"
    assert [entry.text for entry in session.timeline if entry.role == "user"] == ["1", "now", "2"]
    assert session.interrupt() is None
    at_rest = session.interrupt("at rest")
    assert at_rest is not None
    with pytest.raises(ModelError, match="3 responses"):
        await at_rest


async def test_a_bare_render_runs_without_a_message_and_takes_props() -> None:
    @component
    def Greeter(name: str = "nobody") -> Any:
        return [System(f"Greet {name}."), Timeline()]

    session = agent("hello", "hello again", root=Greeter)
    assert (await session.render(name="Ryan")).text == "hello"
    assert str(session.ticks[0].context.system) == "Greet Ryan."
    await session.send("hi")
    assert str(session.ticks[1].context.system) == "Greet Ryan."
    assert [entry.role for entry in session.timeline] == ["assistant", "user", "assistant"]


async def test_props_for_an_element_are_refused_at_the_call() -> None:
    session = agent("a", root=Root())
    with pytest.raises(SessionError, match="an element, not a component"):
        session.render(name="x")
    assert (await session.send("hi")).text == "a"


async def test_calls_and_results_can_be_sent_together_and_never_apart() -> None:
    session = App(Root, model=ScriptedModel("fine", "fine too", "fine again")).session()
    result = Entry.of("tool", ToolResult("1", "look", (Text("found"),)))
    await session.send(
        [
            {"role": "user", "content": "look"},
            Entry.of("assistant", ToolCall("1", "look", {})),
            result,
        ]
    )
    assert [entry.role for entry in session.timeline] == ["user", "assistant", "tool", "assistant"]
    with pytest.raises(SessionError, match="send calls and results together"):
        session.send(result)
    await session.send([Entry.of("assistant", ToolCall("2", "look", {}))])
    assert [entry.role for entry in session.timeline][4:] == ["assistant", "tool", "assistant"]
    await session.send({"role": "assistant", "content": [ToolCall("3", "look", {})]})
    assert [entry.role for entry in session.timeline][7:] == ["assistant", "tool", "assistant"]
    with pytest.raises(SessionError, match=r"a message of the user holds no ToolCall, got ToolCall\(id='4'"):
        session.send([ToolCall("4", "look", {})])


async def test_metadata_that_is_not_json_is_refused_at_the_call() -> None:
    session = agent("a")
    with pytest.raises(SessionError, match="metadata"):
        session.send("hi", metadata={"x": object()})
    assert len(session.timeline) == 0


# Tools in the loop


async def test_parallel_tools_run_together_others_in_order_and_results_stand_in_call_order() -> None:
    running: list[str] = []
    most = [0]
    meet = asyncio.Barrier(2)

    async def inside(name: str, wait: Any) -> str:
        running.append(name)
        most[0] = max(most[0], len(running))
        await wait()
        running.remove(name)
        return name

    @tool(parallel=True)
    async def beside(name: str) -> str:
        """Run beside others."""
        return await inside(name, meet.wait)

    @tool
    async def alone(name: str) -> str:
        """Run alone."""
        assert not running
        return await inside(name, lambda: asyncio.sleep(0))

    calls = [
        call("beside", name="a"),
        call("beside", name="b"),
        call("alone", name="c"),
        call("alone", name="d"),
        call("beside", name="e"),
        call("beside", name="f"),
    ]
    session = agent(calls, "done", tools=[beside, alone])
    await session.send("go")
    assert [str(block) for block in session.timeline[2].content] == list("abcdef")
    assert most == [2]


async def test_sync_tools_that_are_parallel_run_in_threads_at_the_same_time() -> None:
    meet = threading.Barrier(2, timeout=5)

    @tool(parallel=True)
    def beside() -> str:
        """Run beside others."""
        meet.wait()
        return "met"

    result = await agent([call("beside"), call("beside")], "done", tools=[beside]).send("go")
    assert [run.result.text for run in result.tool_calls if run.result] == ["met", "met"]


async def answer_with(session: Session, *answers: Any, message: str = "go") -> Any:
    execution = session.send(message)
    waiting = list(answers)
    async for event in execution:
        if isinstance(event, ConfirmationRequested):
            approved, reason, *edited = waiting.pop(0)
            execution.confirm(event.call.id, approved, reason, *edited)
    return await execution


async def test_a_call_can_be_approved_denied_with_a_reason_or_edited_and_is_checked_again() -> None:
    ran: list[int] = []

    @tool(confirm=True)
    def pay(amount: int) -> str:
        """Pay."""
        ran.append(amount)
        return f"paid {amount}"

    calls = [call("pay", amount=n) for n in (1, 2, 3, 4)]
    session = agent(calls, "done", tools=[pay])
    result = await answer_with(
        session,
        (True, None),
        (False, "too much"),
        (True, None, {"amount": 30}),
        (True, None, {"amount": "lots"}),
    )
    results = [run.result for run in result.tool_calls]
    assert ran == [1, 30]
    assert [item.text for item in results[:3]] == [
        "paid 1",
        "the user declined this call: too much",
        "paid 30",
    ]
    assert [item.status for item in results] == ["done", "denied", "done", "error"]
    assert "amount" in results[3].text


async def test_an_edited_input_can_be_checked_before_it_is_the_answer() -> None:
    @tool(confirm=True)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    execution = agent([call("pay", amount=1)], "done", tools=[pay]).send("go")
    async for event in execution:
        if isinstance(event, ConfirmationRequested):
            with pytest.raises(ToolError, match="- amount: "):
                execution.check(event.call.id, {"amount": "lots"})
            execution.check(event.call.id, {"amount": 2})
            execution.confirm(event.call.id, True, input={"amount": 2})
    (run,) = (await execution).tool_calls
    assert run.result is not None
    assert run.result.text == "paid 2"


async def test_a_user_only_tool_is_not_the_models_and_an_alias_reaches_its_tool() -> None:
    @tool(audience="user")
    def wipe() -> str:
        """Wipe everything."""
        return "wiped"

    @tool(aliases=["find"])
    def search() -> str:
        """Search."""
        return "found"

    session = agent([call("wipe"), call("find"), call("serch")], "done", tools=[wipe, search])
    result = await session.send("go")
    texts = [run.result.text for run in result.tool_calls if run.result]
    assert "there is no tool 'wipe'" in texts[0]
    assert texts[1] == "found"
    assert "did you mean 'search'" in texts[2]
    assert await session.dispatch("wipe") == "wiped"


@pytest.mark.parametrize("fatal", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_tool_that_raises_what_it_should_not_ends_only_its_own_call(fatal: Any, kind: str) -> None:
    @tool(name="bad")
    def sync_bad() -> str:
        """Go wrong."""
        raise fatal

    @tool(name="bad")
    async def async_bad() -> str:
        """Go wrong."""
        raise fatal

    session = agent([call("bad")], "done", tools=[sync_bad if kind == "sync" else async_bad])
    result = await asyncio.wait_for(session.send("go"), 5)
    assert session.status == "idle"
    if result.stop_reason is StopReason.end_turn:
        assert [run.result.is_error for run in result.tool_calls if run.result] == [True]
    assert session.timeline[2].role == "tool"


async def test_knobs_and_state_set_in_a_tool_of_any_thread_reach_the_next_tick() -> None:
    @component
    def Tree() -> Any:
        depth, set_depth = use_knob("depth", 1, min=1, max=9)

        @tool
        def deeper(context: ToolContext) -> str:
            """Go deeper."""
            assert context.session is not None
            context.session.knobs["depth"] = 3
            set_depth(lambda present: present + 1)
            return str(context.session.knobs["depth"])

        return [System(f"depth {depth}"), deeper, Timeline()]

    session = agent([call("deeper")], "b", root=Tree)
    result = await session.send("hi")
    assert str(result.ticks[1].context.system) == "depth 4"


async def test_a_tool_ends_with_its_events_and_its_whole_traceback_is_for_the_user() -> None:
    @tool
    def broken() -> str:
        """Break."""
        raise ZeroDivisionError("1/0")

    session = agent([call("broken")], "done", tools=[broken])
    events = await EventRecorder().record(session.send("go"))
    end = events.of(ToolEnd)[0]
    assert end.result.text == "ZeroDivisionError: 1/0"
    assert "raise ZeroDivisionError" in end.traceback
    assert [event.call.name for event in events.of(ToolStart)] == ["broken"]


# Failures


class Faulty:
    """An adapter with a fault of its own; a plain iterator, not a generator."""

    name = "faulty"
    source: Source = "simulated"
    capabilities = Capabilities()

    def __init__(self, *events: ModelEvent | Exception) -> None:
        self.events = list(events)

    def stream(self, context: CompiledContext) -> AsyncIterator[ModelEvent]:
        return self

    def __aiter__(self) -> AsyncIterator[ModelEvent]:
        return self

    async def __anext__(self) -> ModelEvent:
        if not self.events:
            raise StopAsyncIteration
        event = self.events.pop(0)
        if isinstance(event, Exception):
            raise event
        return event


START = (MessageStart("faulty", "simulated"), ContentBlockStart(0, "text"), TextDelta(0, "so far"))


@pytest.mark.parametrize(
    ("events", "error", "says"),
    [
        ((*START, ZeroDivisionError("a bug")), ZeroDivisionError, "a bug"),
        (START, ModelError, "without saying that it was complete"),
        (
            (START[0], "so far"),
            ModelError,
            "stream.. of faulty gave a str: 'so far'; the adapter has to be corrected",
        ),
        ((START[0], TextDelta(3, "x")), ModelError, "block 3, which it had not started"),
        ((*START, ModelError("lost", retryable=True, kind="connection")), ModelError, "lost"),
    ],
)
async def test_whatever_an_adapter_does_is_an_error_in_place(events: Any, error: Any, says: str) -> None:
    session = agent("fine")
    execution = session.send("hi", model=Faulty(*events))
    with pytest.raises(error, match=says):
        await execution
    assert execution.partial.stop_reason is StopReason.error
    assert isinstance(execution.ticks[0].error, error)
    if len(events) >= 3:
        assert (session.timeline[-1].text, session.timeline[-1].status) == ("so far", "interrupted")
    assert (await session.send("again")).text == "fine"


async def test_an_adapter_need_not_be_a_generator() -> None:
    events = (*START, MessageDelta("end_turn"), MessageStop())
    assert (await agent().send("hi", model=Faulty(*events))).text == "so far"


async def test_a_stream_that_is_no_stream_is_told_to_the_adapters_author() -> None:
    class Whole(Faulty):
        async def stream(self, context: CompiledContext) -> str:  # type: ignore[override]  # that is its fault
            return "everything at once"

    with pytest.raises(ModelError, match=r"of faulty returned a coroutine; .* write it as 'async def stream"):
        await agent().send("hi", model=Whole())


async def test_data_that_cannot_be_fetched_fails_that_execution_and_is_tried_again() -> None:
    tries: list[int] = []

    async def fetch() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("no route to host")
        return "sunny"

    @component
    def Weather() -> Any:
        return System(str(use_data("weather", fetch)))

    @component
    def Tree() -> Any:
        return [Weather(), Timeline()]

    model = ScriptedModel("fine")
    session = App(Tree, model=model).session()
    with pytest.raises(
        RenderError, match=r"use_data\('weather'\) of .*Weather.* failed: OSError: no route"
    ) as caught:
        await session.send("hi")
    assert "Weather" in caught.value.path
    assert model.contexts == []
    result = await session.send("again")
    assert str(result.ticks[0].context.system) == "sunny"
    assert len(tries) == 2


async def test_a_mount_hook_that_failed_is_called_again() -> None:
    tries: list[int] = []

    @component
    def Tree() -> Any:
        @use_on_mount
        async def connect() -> None:
            tries.append(1)
            if len(tries) == 1:
                raise OSError("not yet")

        return Timeline()

    session = agent("a", "b", root=Tree)
    with pytest.raises(OSError, match="not yet"):
        await session.send("hi")
    await session.send("again")
    await session.send("again")
    assert len(tries) == 2


class Person(BaseModel):
    name: str


async def test_a_request_id_sends_once_and_an_output_is_read() -> None:
    model = ScriptedModel('{"name": "Ryan"}', "b")
    session = App(Root, model=model).session()
    first = session.send("who", request_id="r1", output=Person)
    assert session.send("who", request_id="r1", output=Person) is first
    assert (await first).output == Person(name="Ryan")
    assert len(model.contexts) == 1
    with pytest.raises(SessionError, match="another message"):
        session.send("what", request_id="r1")


async def test_an_interrupt_inside_a_tool_stops_the_execution_before_the_model_is_called_again() -> None:
    @tool(thread=False)
    def interrupted() -> str:
        """Be stopped."""
        raise KeyboardInterrupt

    model = ScriptedModel([call("interrupted")], "fine")
    session = App(Timeline(), model=model, tools=[interrupted]).session()
    result = await session.send("go")
    assert (result.stop_reason, result.reason) == (StopReason.aborted, "stopped by the interrupt")
    assert len(model.contexts) == 1
    assert session.timeline[-1].role == "tool"
    assert (await session.send("on")).text == "fine"


async def test_a_forgotten_await_is_said_where_the_result_is_read() -> None:
    execution = agent("Hello.").send("Hi.")
    with pytest.raises(AttributeError, match=r"by awaiting it: \(await session.send\(…\)\).text"):
        _ = execution.text  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="no attribute 'txet'"):
        _ = execution.txet  # type: ignore[attr-defined]
    assert (await execution).text == "Hello."
