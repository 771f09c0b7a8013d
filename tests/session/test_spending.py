"""What a session has used and may use: also where an answer was cut, and by what it spawned."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, StopReason, System, Timeline, component, tool, use_usage
from nbsession.errors import ModelError
from nbsession.events import MessageDelta, MessageStart
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call, pause
from nbsession.usage import Usage, prices

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent
    from nbsession.tools import ToolContext


class Priced(ScriptedModel):
    """A scripted model with a price, which says at once what its input is counted as, if it is told to."""

    def __init__(self, *responses: Any, counted: Usage | None = None, name: str = "somebody:priced") -> None:
        super().__init__(*responses)
        self._name = name
        self._counted = counted

    @property
    def name(self) -> str:
        return self._name

    async def stream(self, context: CompiledContext) -> AsyncIterator[ModelEvent]:
        async for event in super().stream(context):
            if isinstance(event, MessageStart):
                event.usage = self._counted
            yield event


@component
def Root() -> Any:
    return [System("You count. " * 50), Timeline()]


@pytest.fixture(autouse=True)
def _prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "_set", {})
    prices.set_price("somebody:priced", input=1_000_000, output=2_000_000, cache_read=100_000)


def used(tokens: int) -> MessageDelta:
    return MessageDelta("end_turn", Usage(input_tokens=tokens))


async def test_an_answer_that_was_stopped_is_charged_as_far_as_it_came() -> None:
    here = pause()
    session = App(Root, model=Priced(["Four words came so far", here, "never"])).session()
    execution = session.send("go")
    await here.reached
    execution.abort()
    result = await execution
    assert result.usage == Usage(result.ticks[0].context.tokens, 6, estimated=True)
    assert result.cost == pytest.approx(result.usage.input_tokens + 2 * 6)
    assert session.usage.cost == result.cost


async def test_what_the_provider_counted_before_the_cut_counts() -> None:
    told = Usage(5_000, 1, cache_read_tokens=4_000)
    model = Priced(["Some words", ModelError("cut")], counted=told)
    session = App(Root, model=model).session()
    with pytest.raises(ModelError):
        await session.send("go")
    [tick] = session.ticks
    assert tick.usage == Usage(5_000, 3, cache_read_tokens=4_000, estimated=True)
    assert tick.cost == pytest.approx(1_000 + 4_000 / 10 + 2 * 3)
    assert (session.usage.context_tokens, session.usage.total_tokens) == (5_000, 5_003)


async def test_a_call_that_came_to_nothing_costs_nothing_even_of_a_model_without_a_price() -> None:
    session = App(Root, model=Priced(ModelError("no key"), name="nobody:knows")).session()
    with pytest.raises(ModelError):
        await session.send("go")
    assert (session.ticks[0].cost, session.usage.cost) == (0.0, 0.0)
    await session.send("go", model=Priced(["a", used(3)]))
    assert session.usage.cost == pytest.approx(3)
    await session.send("go", model=Priced(["a", used(3)], name="nobody:knows"))
    assert session.usage.cost is None


async def test_an_answer_that_a_crash_cut_is_charged_and_the_budget_still_kept() -> None:
    store, crashed, here = MemoryStore(), MemoryStore(), pause()
    app = App(Root, model=Priced(["a", used(7)], ["words", here]), store=store)
    session = app.session("s")
    await session.send("go")
    running = session.send("go on")
    await here.reached
    crashed._sessions, crashed._texts = copy.deepcopy(store._sessions), dict(store._texts)
    running.abort()
    await running
    again = App(Root, model=Priced(["a", used(1)]), store=crashed, budget=100_000).session("s")
    cut = again.ticks[1]
    assert (cut.usage.input_tokens, cut.usage.estimated) == (cut.context.tokens, True)
    assert again.usage.cost == pytest.approx(7 + cut.context.tokens + 2 * cut.usage.output_tokens)
    assert (await again.send("go on")).stop_reason is StopReason.end_turn


async def test_an_executions_budget_binds_what_it_spawns() -> None:
    @component
    def Helper() -> Any:
        return Timeline()

    spent: list[Any] = []

    @tool
    async def delegate(context: ToolContext) -> str:
        """Let another one do it."""
        for _ in range(2):
            result = await context.spawn(Helper, "help")
            spent.append(result.stop_reason)
        return "done"

    @component
    def Lead() -> Any:
        return [delegate, Timeline()]

    model = Priced([call("delegate"), MessageDelta("tool_use", Usage(10))], ["a", used(2_000)], "never")
    session = App(Lead, model=model).session()
    result = await session.send("go", budget=1_500)
    assert spent == [StopReason.end_turn, StopReason.budget]
    assert result.stop_reason is StopReason.budget
    assert "pass the execution's budget of $1500.0000" in result.reason
    assert len(model.contexts) == 2
    model.responses = (*model.responses[:2], ["b", used(1)])
    assert (await session.send("go on")).stop_reason is StopReason.end_turn


async def test_what_spawned_sessions_used_is_kept_and_a_past_tick_compiles_with_what_it_saw() -> None:
    @component
    def Helper() -> Any:
        return Timeline()

    @tool
    async def delegate(context: ToolContext) -> str:
        """Let another one do it."""
        return str(await context.spawn(Helper, "help"))

    @component
    def Lead() -> Any:
        return [
            System(f"{use_usage().total_tokens} tokens, {use_usage().cost} dollars"),
            delegate,
            Timeline(),
        ]

    store = MemoryStore()
    calling = [call("delegate"), MessageDelta("tool_use", Usage(10))]
    model = Priced(calling, ["a", used(2_000)], ["b", used(5)], "c")
    session = App(Lead, model=model, store=store).session("s")
    await session.send("go")
    assert session.usage.total_tokens == 2_015
    for tick in session.ticks:
        assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash
    now = session.compile().hash
    await session.aclose()
    again = App(Lead, model=model, store=store, budget={"tokens": 2_016}).session("s")
    assert (again.usage.total_tokens, again.usage.cost) == (2_015, 2_015)
    assert again.compile().hash == now
    assert (await again.send("more")).stop_reason is StopReason.budget


async def test_the_share_of_the_window_is_what_the_model_counted() -> None:
    class Small(Priced):
        @property
        def capabilities(self) -> Any:
            return type(super().capabilities)(window=10_000)

    session = App(Root, model=Small(["a", used(2_500)])).session()
    await session.send("go")
    assert session.usage.share == 0.25


async def test_a_sweep_says_what_it_cost() -> None:
    session = App(Root, model=Priced(["a", used(3)], ["b", used(4)])).session()
    sweep = await session.sweep("go", repeat=2)
    assert sweep.usage.input_tokens == 7
    assert sweep.cost == pytest.approx(7)
    assert session.usage.cost == 0
