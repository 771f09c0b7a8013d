"""Aborting at any moment: the timeline stays valid, and the session usable."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    Execution,
    KnobError,
    Session,
    StopReason,
    System,
    Timeline,
    component,
    tool,
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
from nbsession.content import Entry, ToolResult
from nbsession.events import ConfirmationRequested
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import EventRecorder, ScriptedModel, call, pause

if TYPE_CHECKING:
    from collections.abc import Callable


class Log:
    """What an agent's hooks and tools were called for."""

    def __init__(self) -> None:
        self.starts = 0
        self.ends: list[str] = []
        self.tool_runs = 0


def busy_agent(log: Log) -> Any:
    """An agent that awaits wherever an agent can."""

    @component
    def Busy() -> Any:
        use_knob("hurry", False, momentary=True)
        data = use_data("facts", step)
        seen, set_seen = use_state(0)

        @use_on_mount
        async def mounted() -> None:
            await asyncio.sleep(0)

        @use_on_execution_start
        async def started() -> None:
            log.starts += 1
            await asyncio.sleep(0)

        @use_on_execution_end
        async def ended(result: Any) -> None:
            log.ends.append(str(result.stop_reason))
            await asyncio.sleep(0)

        @use_on_tick_start
        async def tick_started() -> None:
            await asyncio.sleep(0)

        @use_on_tick_end
        async def tick_ended() -> None:
            await asyncio.sleep(0)

        @use_on_message
        async def message(entry: Entry) -> None:
            await asyncio.sleep(0)

        @tool
        def sync_tool() -> str:
            """Run in a thread."""
            log.tool_runs += 1
            set_seen(lambda n: n + 1)
            return "sync"

        @tool
        async def async_tool() -> str:
            """Run on the loop."""
            await asyncio.sleep(0)
            log.tool_runs += 1
            return "async"

        @tool(parallel=True)
        async def beside() -> str:
            """Run beside others."""
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return "beside"

        @tool(confirm=True)
        async def asks() -> str:
            """Ask first."""
            await asyncio.sleep(0)
            return "asked"

        return [
            System(f"facts: {data}, seen {seen}"),
            sync_tool,
            async_tool,
            beside,
            asks,
            Timeline(),
        ]

    return Busy


async def step() -> str:
    await asyncio.sleep(0)
    return "known"


SCRIPT: tuple[Any, ...] = (
    ["thinking…", call("sync_tool"), call("beside"), call("beside"), call("async_tool")],
    [call("asks"), call("nothing_like_it"), "and more"],
    "the end",
    "again",
)


def check_valid(session: Session) -> None:
    """Every call is answered right after it, once and in order, and nothing else is a result."""
    open_calls: list[str] = []
    for entry in session.timeline:
        answered = [block.call_id for block in entry.content if isinstance(block, ToolResult)]
        assert answered == open_calls, list(session.timeline)
        open_calls = [item.id for item in entry.tool_calls]
    assert open_calls == [], list(session.timeline)


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def abort_after(k: int, session: Session, stop: Callable[[Execution], None]) -> Execution:
    """Send, let the loop take ``k`` steps, stop, and wait for the end."""
    execution = session.send("go")
    confirming = asyncio.create_task(confirm_all(execution))
    for _ in range(k):
        if execution.done:
            break
        await asyncio.sleep(0)
    stop(execution)
    await execution
    await confirming
    return execution


async def confirm_all(execution: Execution) -> None:
    async for event in execution:
        if isinstance(event, ConfirmationRequested):
            await steps(3)
            execution.confirm(event.call.id, True)


@pytest.mark.parametrize("kept", [False, True], ids=["in memory", "with a store"])
async def test_an_abort_at_any_step_leaves_a_valid_timeline_and_a_usable_session(kept: bool) -> None:
    reasons = set()
    for k in range(0, 150, 1):
        log = Log()
        store = MemoryStore() if kept else None
        app = App(busy_agent(log), model=ScriptedModel(*SCRIPT, "again", "again"), store=store)
        session = app.session("s")
        session.compile()
        session.knobs["hurry"] = True
        execution = await abort_after(k, session, lambda execution: execution.abort("enough"))
        reasons.add(execution.partial.stop_reason)
        assert session.status == "idle"
        assert len(log.ends) == 1
        assert session.timeline[0].text == "go"
        assert session.knobs["hurry"] is False
        check_valid(session)
        model = ScriptedModel("next")
        assert (await session.send("next", model=model)).text == "next"
        roles = [message.role for message in model.contexts[0].messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
        check_valid(session)
        if kept:
            await session.aclose()
            again = app.session("s")
            assert [entry.id for entry in again.timeline] == [entry.id for entry in session.timeline]
            assert again.verify() == []
        await session.aclose()
    assert reasons == {StopReason.aborted, StopReason.end_turn}


async def test_events_of_an_aborted_execution_nest_wherever_it_was_cut() -> None:
    for k in range(0, 130, 3):
        session = App(busy_agent(Log()), model=ScriptedModel(*SCRIPT)).session()
        execution = await abort_after(k, session, lambda execution: execution.abort())
        recorder = await EventRecorder().record(execution)
        types = recorder.types
        assert types[0] == "execution_start"
        assert types[-2:] == ["execution_end", "done"]
        assert types.count("tick_start") == types.count("tick_end")
        assert types.count("tool_end") >= types.count("tool_start")
        numbers = [event.sequence for event in recorder.events if event.durable]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_cancelling_the_task_that_awaits_aborts() -> None:
    held = pause()
    session = App(busy_agent(Log()), model=ScriptedModel(["so far", held, "never"], "next")).session()
    execution = session.send("go")

    async def waiting() -> None:
        await execution

    task = asyncio.create_task(waiting())
    await held.reached
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    result = await execution
    assert result.stop_reason is StopReason.aborted
    assert (session.timeline[-1].text, session.timeline[-1].status) == ("so far", "interrupted")
    assert (await session.send("next")).text == "next"


async def test_a_timeout_around_an_execution_aborts_it() -> None:
    held = pause()
    session = App(Timeline_only, model=ScriptedModel(["so far", held])).session()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(session.send("go"), 0.05)
    assert session.executions[0].partial.stop_reason is StopReason.aborted
    assert session.status == "idle"


async def test_cancelling_a_reader_aborts_nothing() -> None:
    held = pause()
    session = App(Timeline_only, model=ScriptedModel(["so far", held, " and on"])).session()
    execution = session.send("go")
    reader = asyncio.create_task(EventRecorder().record(execution))
    await held.reached
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    held.release()
    assert (await execution).text == "so far and on"


@component
def Timeline_only() -> Any:
    return Timeline()


async def test_aborting_twice_or_after_the_end_does_nothing_more() -> None:
    held = pause()
    session = App(Timeline_only, model=ScriptedModel(["a", held], "b")).session()
    execution = session.send("go")
    await held.reached
    execution.abort("first")
    execution.abort("second")
    assert (await execution).reason == "first"
    execution.abort("third")
    assert (await execution).reason == "first"
    after = session.send("next")
    await after
    after.abort()
    assert (await after).stop_reason is StopReason.end_turn


async def test_an_aborted_queued_execution_disturbs_neither_the_running_one_nor_its_events() -> None:
    log = Log()
    held = pause()
    session = App(busy_agent(log), model=ScriptedModel(["a", held, "b"], "c")).session()
    session.compile()
    session.knobs["hurry"] = True
    running, queued, last = session.send("1"), session.send("2"), session.send("3")
    await held.reached
    queued.abort("changed my mind")
    result = await queued
    assert (result.stop_reason, result.reason) == (StopReason.aborted, "changed my mind")
    assert session.knobs["hurry"] is True
    assert log.ends == []
    assert (await EventRecorder().record(queued)).types == ["execution_start", "execution_end", "done"]
    held.release()
    assert (await running).text == "ab"
    assert (await last).text == "c"
    assert [entry.text for entry in session.timeline if entry.role == "user"] == ["1", "3"]


async def test_a_tool_that_swallows_its_cancellation_does_not_keep_the_execution_going() -> None:
    entered = asyncio.Event()

    @tool
    async def stubborn() -> str:
        """Refuse to be stopped."""
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return "done all the same"

    ran = []

    @tool
    def after() -> str:
        """Come after."""
        ran.append(1)
        return "never"

    model = ScriptedModel([call("stubborn"), call("after")], "never")
    session = App(Timeline_only, model=model, tools=[stubborn, after]).session()
    execution = session.send("go")
    await entered.wait()
    execution.abort()
    result = await execution
    assert result.stop_reason is StopReason.aborted
    assert (ran, len(model.contexts)) == ([], 1)
    assert [run.result.text for run in result.tool_calls if run.result] == [
        "done all the same",
        "Interrupted before it was run.",
    ]
    check_valid(session)


def test_a_program_that_ends_in_the_middle_leaves_a_valid_timeline_and_nothing_pending(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for k in range(0, 60, 4):
        log = Log()
        session = App(busy_agent(log), model=ScriptedModel(*SCRIPT)).session()
        handles: list[Execution] = []

        async def main(session: Session = session, handles: list[Execution] = handles, k: int = k) -> None:
            handles.extend([session.send("go"), session.send("queued")])
            await steps(k)

        asyncio.run(main())
        gc.collect()
        assert session.status == "idle"
        assert [handle.partial.stop_reason for handle in handles] == [StopReason.aborted] * 2
        assert all(handle.done for handle in handles)
        assert [entry.text for entry in session.timeline if entry.role == "user"] == ["go"]
        check_valid(session)
        assert session.run("again", model=ScriptedModel("fine")).text == "fine"
        session.close()
    assert caplog.text == ""


def test_a_session_outlives_a_loop_that_was_closed_without_cancelling() -> None:
    entered = asyncio.Event()

    @tool
    async def wait() -> None:
        """Wait for ever."""
        entered.set()
        await asyncio.get_running_loop().create_future()

    model = ScriptedModel([call("wait")], "fine")
    session = App(Timeline_only, model=model, tools=[wait]).session()
    loop = asyncio.new_event_loop()
    held: list[Execution] = []

    async def main() -> None:
        held.append(session.send("go"))
        await entered.wait()

    loop.run_until_complete(main())
    tasks = asyncio.all_tasks(loop)
    loop.close()
    assert session.run("again").text == "fine"
    assert held[0].partial.stop_reason is StopReason.aborted
    check_valid(session)
    for task in tasks:  # nothing can end them any more, which asyncio would complain of
        task._log_destroy_pending = False  # type: ignore[attr-defined]


async def test_an_end_hook_that_raises_fails_the_execution_and_the_others_are_called() -> None:
    called: list[str] = []

    @component
    def Child(name: str) -> Any:
        @use_on_execution_end
        def ended() -> None:
            called.append(name)
            if name == "first":
                raise RuntimeError("the hook broke")

    @component
    def Root() -> Any:
        return [Child(name="first"), Child(name="second"), Timeline()]

    session = App(Root, model=ScriptedModel("a", "b")).session()
    with pytest.raises(RuntimeError, match="the hook broke"):
        await session.send("go")
    assert called == ["first", "second"]
    assert session.status == "idle"
    assert session.timeline[-1].text == "a"


@pytest.mark.parametrize("hook", [use_on_mount, use_on_execution_start, use_on_tick_start, use_on_tick_end])
async def test_a_hook_that_raises_fails_the_execution_in_place_and_the_next_one_works(hook: Any) -> None:
    broken = [True]

    @component
    def Root() -> Any:
        def fail() -> None:
            if broken[0]:
                raise KeyError("missing")

        hook(fail)
        return Timeline()

    session = App(Root, model=ScriptedModel("a", "b")).session()
    execution = session.send("go")
    with pytest.raises(KeyError):
        await execution
    events = await EventRecorder().record(execution)
    assert "error" in events.types
    assert execution.partial.stop_reason is StopReason.error
    broken[0] = False
    assert (await session.send("again")).text in ("a", "b")
    check_valid(session)


@pytest.mark.parametrize("how", ["sync", "async", "by a function"])
async def test_state_that_cannot_be_kept_is_refused_where_it_is_set_and_names_itself(how: str) -> None:
    @component
    def Root() -> Any:
        value, set_value = use_state(0)
        other, set_other = use_state("")

        def spoil() -> str:
            """Set what no store takes."""
            set_other("kept")
            set_value({1, 2})
            return "set"

        async def spoil_here() -> str:
            """Set what no store takes, on the loop."""
            set_other("kept")
            set_value((lambda _: {1, 2}) if how == "by a function" else {1, 2})
            return "set"

        return [
            System(f"{other} {value}"),
            tool(name="spoil")(spoil if how == "sync" else spoil_here),
            Timeline(),
        ]

    session = App(Root, model=ScriptedModel([call("spoil")], "b")).session()
    result = await session.send("go")
    said = result.ticks[0].tool_calls[0].result
    assert said is not None
    assert said.is_error
    assert "state 0 of Root holds {1, 2} (set), which cannot be kept" in said.text
    assert str(result.ticks[1].context.system) == "kept 0"
    assert session.state == {"Root#0": 0, "Root#1": "kept"}
    check_valid(session)


async def test_state_that_a_function_made_on_the_loop_for_a_thread_fails_the_execution() -> None:
    @component
    def Root() -> Any:
        value, set_value = use_state(0)

        @tool
        def spoil() -> str:
            """Set what no store takes."""
            set_value(lambda _: {1, 2})
            return "set"

        return [System(f"{value}"), spoil, Timeline()]

    session = App(Root, model=ScriptedModel([call("spoil")], "b")).session()
    with pytest.raises(Exception, match=r"state 0 of Root holds \{1, 2\} \(set\), which cannot be kept"):
        await session.send("go")
    assert session.status == "idle"
    check_valid(session)


async def test_state_that_cannot_be_kept_from_the_start_fails_the_execution() -> None:
    @component
    def Root() -> Any:
        use_state(object)
        return Timeline()

    session = App(Root, model=ScriptedModel("a")).session()
    with pytest.raises(Exception, match=r"state 0 of Root holds <object .*persist=False"):
        await session.send("go")
    assert session.status == "idle"
    check_valid(session)


async def test_a_knob_error_in_a_hook_ends_as_an_error() -> None:
    @component
    def Root() -> Any:
        _, set_depth = use_knob("depth", 1, min=1, max=3)

        @use_on_tick_start
        def deeper() -> None:
            set_depth(7)

        return Timeline()

    session = App(Root, model=ScriptedModel("a")).session()
    with pytest.raises(KnobError, match="must be between 1 and 3, got 7"):
        await session.send("go")


async def test_a_store_that_fails_in_the_middle_loses_nothing(tmp_path: Any) -> None:
    class Failing(MemoryStore):
        broken = False

        def append(self, *arguments: Any, **options: Any) -> int:
            if self.broken:
                from nbsession import StoreError

                raise StoreError("the disk is full; make room")
            return super().append(*arguments, **options)

    store = Failing()
    app = App(busy_agent(Log()), model=ScriptedModel("a", "b", "c"), store=store)
    session = app.session("s")
    await session.send("one")
    store.broken = True
    for message in ("two", "three"):
        with pytest.raises(Exception, match="the disk is full"):
            await session.send(message)
    assert session.status == "idle"
    store.broken = False
    assert (await session.send("four")).text == "b"
    texts = [entry.text for entry in session.timeline]
    await session.aclose()
    again = app.session("s")
    assert [entry.text for entry in again.timeline] == texts == ["one", "a", "two", "three", "four", "b"]
    assert again.verify() == []


async def test_an_abort_while_a_real_store_writes_keeps_what_was_written(tmp_path: Any) -> None:
    for k in range(0, 40, 5):
        store = SqlStore(f"sqlite:///{tmp_path}/{k}.db")
        app = App(busy_agent(Log()), model=ScriptedModel(*SCRIPT), store=store)
        session = app.session("s")
        await abort_after(k, session, lambda execution: execution.abort())
        ids = [entry.id for entry in session.timeline]
        await session.aclose()
        again = app.session("s")
        assert [entry.id for entry in again.timeline] == ids
        assert again.verify() == []
        check_valid(again)
        await again.aclose()
        store.close()
