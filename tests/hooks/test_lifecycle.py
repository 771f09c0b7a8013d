"""Life-cycle hooks and continuations, in live sessions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    Continue,
    HookError,
    RenderError,
    Result,
    Section,
    SessionError,
    Stop,
    StopReason,
    System,
    Tick,
    Timeline,
    component,
    tool,
    use_after_compile,
    use_continuation,
    use_knob,
    use_on_execution_end,
    use_on_execution_start,
    use_on_message,
    use_on_mount,
    use_on_tick_end,
    use_on_tick_start,
    use_on_unmount,
    use_state,
)
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call, pause, render

if TYPE_CHECKING:
    from nbsession import CompiledContext, Entry, Session


def live(root: Any, *responses: Any, **options: Any) -> Session:
    """Return a session whose model answers with ``responses``, then with "ok"."""
    left = list(responses)

    def answer(context: CompiledContext) -> Any:
        return left.pop(0) if left else "ok"

    return App(root, model=ScriptedModel(*[answer] * 50), **options).session()


def system(tick: Tick) -> str:
    return str(tick.context.system)


def watching(happened: list[str]) -> Any:
    """Return a component of two levels, each of which writes down what it hears."""

    def listen(who: str) -> None:
        use_on_mount(lambda: happened.append(f"{who} mount"))
        use_on_execution_start(lambda: happened.append(f"{who} execution start"))
        use_on_tick_start(lambda: happened.append(f"{who} tick start"))
        use_after_compile(lambda: happened.append(f"{who} compiled"))
        use_on_tick_end(lambda: happened.append(f"{who} tick end"))
        use_on_execution_end(lambda: happened.append(f"{who} execution end"))
        use_on_unmount(lambda: happened.append(f"{who} unmount"))

    @component
    def Below() -> Any:
        listen("below")
        return System("s")

    @component
    def Agent() -> Any:
        listen("root")
        return [Below(), Timeline()]

    return Agent


TICK = ["tick start", "compiled", "tick end"]


async def test_hooks_run_in_the_stated_order_children_first() -> None:
    happened: list[str] = []
    session = live(watching(happened))
    await session.send("a")
    await session.send("b")
    await session.aclose()

    execution = ["execution start", *TICK, "execution end"]
    assert happened == [
        f"{who} {what}" for what in ["mount", *execution, *execution, "unmount"] for who in ("below", "root")
    ]


async def test_hooks_are_given_as_much_as_they_take() -> None:
    got: dict[str, tuple[Any, ...]] = {}

    @component
    def Agent() -> Any:
        @use_on_mount
        def mounted(session: Session) -> None:
            got["mount"] = (session,)

        @use_on_execution_start
        async def started(execution: Any, session: Session) -> None:
            got["start"] = (execution, session)

        @use_on_message
        def message(entry: Entry, session: Session) -> None:
            got.setdefault("messages", ())
            got["messages"] += (entry.text,)

        @use_on_tick_start
        def tick_start(tick: Tick, session: Session) -> None:
            got["tick start"] = (tick.number, session)

        @use_after_compile
        async def compiled(context: CompiledContext) -> None:
            got["compiled"] = (context,)

        @use_on_tick_end
        def tick_end(tick: Tick, *rest: Any) -> None:
            got["tick end"] = (tick, *rest)

        @use_on_execution_end
        def ended(result: Result, session: Session) -> None:
            got["end"] = (result, session)

        return [System("s"), Timeline()]

    session = live(Agent, "hello")
    execution = session.send("hi")
    result = await execution

    tick = result.ticks[0]
    assert got["mount"] == (session,)
    assert got["start"] == (execution, session)
    assert got["messages"] == ("hi", "hello")
    assert got["tick start"] == (0, session)
    assert got["compiled"] == (tick.context,)
    assert got["tick end"] == (tick, session)
    assert got["end"][1] is session
    assert got["end"][0].text == "hello"


async def test_hooks_are_awaited_one_after_another() -> None:
    happened: list[str] = []

    @component
    def Slow(name: str) -> Any:
        @use_on_tick_start
        async def start() -> None:
            happened.append(f"{name} begins")
            await asyncio.sleep(0)
            happened.append(f"{name} ends")

        return System(name)

    @component
    def Agent() -> Any:
        return [Slow(name="a"), Slow(name="b"), Timeline()]

    await live(Agent).send("go")
    assert happened == ["a begins", "a ends", "b begins", "b ends"]


async def test_what_mounts_during_a_tick_hears_of_its_start() -> None:
    happened: list[int] = []

    @component
    def Below() -> Any:
        use_on_tick_start(lambda tick: happened.append(tick.number))
        return Section("below")

    @component
    def Agent() -> Any:
        shown, set_shown = use_state(0)
        use_on_tick_start(lambda: set_shown(lambda n: n + 1))
        return [System("s"), shown and Below(), Timeline()]

    session = live(Agent)
    await session.send("a")
    await session.send("b")
    assert happened == [0, 1]


async def test_a_hook_that_mounts_others_without_end_is_told() -> None:
    @component
    def Link() -> Any:
        deeper, set_deeper = use_state(False)
        use_on_tick_start(lambda: set_deeper(True))
        return Link() if deeper else System("end")

    @component
    def Agent() -> Any:
        return [Link(), Timeline()]

    with pytest.raises(RenderError, match="on_tick_start callbacks mounted others"):
        await live(Agent).send("go")


async def test_what_a_hook_sets_after_the_compile_is_in_the_next_one_and_not_in_this_ticks_past() -> None:
    @component
    def Agent() -> Any:
        count, set_count = use_state(0)
        tone, set_tone = use_knob("tone", "warm")

        @use_after_compile
        def compiled() -> None:
            set_count(lambda n: n + 1)
            set_tone("cool")

        return [System(f"{count} {tone}"), Timeline()]

    session = live(Agent)
    await session.send("a")
    await session.send("b")

    assert [system(tick) for tick in session.ticks] == ["0 warm", "1 cool"]
    for tick in session.ticks:
        assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash


async def test_the_end_hook_runs_once_after_an_error_too() -> None:
    ends: list[StopReason] = []

    @component
    def Agent() -> Any:
        use_on_execution_end(lambda result: ends.append(result.stop_reason))
        return [System("s"), Timeline()]

    session = live(Agent, OSError("cut"), "fine")
    with pytest.raises(OSError, match="cut"):
        await session.send("a")
    await session.send("b")
    assert ends == [StopReason.error, StopReason.end_turn]


async def test_the_end_hook_runs_once_after_an_abort_and_before_it_is_stored() -> None:
    hold = pause()
    ends: list[StopReason] = []
    store = MemoryStore()

    @component
    def Agent() -> Any:
        count, set_count = use_state(0)

        @use_on_execution_end
        def ended(result: Result) -> None:
            ends.append(result.stop_reason)
            set_count(lambda n: n + 1)

        return [System(f"{count} so far"), Timeline()]

    session = App(Agent, model=ScriptedModel(["half", hold]), store=store).session("x")
    execution = session.send("a")
    await hold.reached
    execution.abort()
    result = await execution

    assert result.stop_reason is StopReason.aborted
    assert ends == [StopReason.aborted]
    await session.aclose()
    assert App(Agent, store=store).session("x").state == {"Agent#0": 1}


async def test_an_error_in_a_hook_says_whose_it_is() -> None:
    @component
    def Agent() -> Any:
        @use_on_tick_start
        def start() -> None:
            raise ValueError("no")

        return Timeline()

    with pytest.raises(ValueError, match="no") as raised:
        await live(Agent).send("a")
    assert raised.value.__notes__ == ["raised in use_on_tick_start of Agent"]


async def test_a_hook_that_takes_too_much_is_told_how_much_there_is() -> None:
    @component
    def Agent() -> Any:
        use_on_tick_start(lambda tick, session, more: (tick, session, more))
        return Timeline()

    with pytest.raises(SessionError, match="takes 3 arguments; 2 are given"):
        await live(Agent).send("a")


def test_a_hook_of_something_else_than_a_function_is_refused() -> None:
    @component
    def Agent() -> Any:
        use_on_mount("later")  # type: ignore[type-var]  # the error is the test

    with pytest.raises(HookError, match=r"Agent: use_on_mount takes a function, got str"):
        render(Agent())


# Continuations


@pytest.mark.parametrize(
    ("opinion", "stop", "reason", "ticks"),
    [
        (None, StopReason.end_turn, "", 2),
        (False, StopReason.stopped, "a continuation said to stop", 1),
        (Stop("enough"), StopReason.stopped, "enough", 1),
    ],
)
async def test_a_continuation_may_stop_what_would_go_on(
    opinion: Any, stop: StopReason, reason: str, ticks: int
) -> None:
    @tool
    def look() -> str:
        """Look."""
        return "seen"

    @component
    def Agent() -> Any:
        use_continuation(lambda tick: opinion if tick.should_continue else None)
        return [look, Timeline()]

    result = await live(Agent, [call("look")], "done").send("go")
    assert (result.stop_reason, result.reason, len(result.ticks)) == (stop, reason, ticks)


async def test_a_continuation_may_go_on_and_say_why() -> None:
    @component
    def Agent() -> Any:
        use_continuation(lambda tick: Continue("once more") if tick.number < 1 else None)
        return [System("s"), Timeline()]

    result = await live(Agent).send("go")
    assert [tick.reason for tick in result.ticks] == ["once more", ""]
    assert result.stop_reason is StopReason.end_turn


async def test_the_root_speaks_last_and_sees_the_decision_so_far() -> None:
    seen: list[bool] = []

    @component
    def Below() -> Any:
        use_continuation(lambda _: True)
        return System("s")

    @component
    def Agent() -> Any:
        @use_continuation
        def decide(tick: Tick) -> Stop:
            seen.append(tick.should_continue)
            return Stop("I am the root")

        return [Below(), Timeline()]

    result = await live(Agent).send("go")
    assert seen == [True]
    assert (result.stop_reason, result.reason) == (StopReason.stopped, "I am the root")


async def test_an_opinion_of_another_kind_is_refused() -> None:
    @component
    def Agent() -> Any:
        use_continuation(lambda: "maybe")
        return Timeline()

    with pytest.raises(SessionError, match="a continuation returned 'maybe'; return None, a bool, Stop"):
        await live(Agent).send("go")
