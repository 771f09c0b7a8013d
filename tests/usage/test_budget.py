"""Budgets: checked before every call, in US dollars or tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, BudgetError, Session, SessionError, StopReason, Timeline, component, tool
from nbsession.events import MessageDelta, MessageStart
from nbsession.stores import MemoryStore
from nbsession.testing import EventRecorder, ScriptedModel, call
from nbsession.usage import Budget, Usage, prices

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent


@tool
def act() -> str:
    """Act."""
    return "x"


@component
def Root() -> Any:
    return [act, Timeline()]


class Priced(ScriptedModel):
    """A scripted model that costs what a live one costs."""

    @property
    def name(self) -> str:
        return "somebody:knows"


def ticking(tokens: int) -> list[Any]:
    return [call("act"), MessageDelta("tool_use", Usage(input_tokens=tokens, output_tokens=0))]


def agent(model: ScriptedModel, budget: Any = None) -> Session:
    return App(Root, model=model, budget=budget).session()


async def test_a_sends_budget_in_tokens_ends_it_before_the_call_that_would_pass_it() -> None:
    model = ScriptedModel(ticking(500), ticking(500), "fine")
    session = agent(model)
    execution = session.send("go", budget={"tokens": 900})
    result = await execution
    assert result.stop_reason is StopReason.budget
    assert "would pass the execution's budget of 900 tokens" in result.reason
    assert "raise budget=" in result.reason
    assert len(model.contexts) == 2
    assert session.timeline[-1].role == "tool"
    assert "error" not in (await EventRecorder().record(execution)).types
    assert (await session.send("go on")).text == "fine"


async def test_a_sessions_budget_counts_all_of_its_executions() -> None:
    answer: list[Any] = ["a", MessageDelta("end_turn", Usage(input_tokens=400))]
    model = ScriptedModel(answer, answer, answer)
    session = agent(model, {"tokens": 1000})
    assert [(await session.send("go")).stop_reason for _ in range(3)] == ["end_turn", "end_turn", "end_turn"]
    assert (await session.send("go")).stop_reason is StopReason.budget
    assert len(model.contexts) == 3


async def test_a_budget_in_dollars_needs_a_price_and_keeps_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "_set", {})
    prices.set_price("somebody:knows", input=15.0, output=75.0)
    model = Priced(ticking(100_000), ticking(100_000))
    result = await agent(model).send("go", budget=1.0)
    assert result.stop_reason is StopReason.budget
    assert "$" in result.reason
    assert len(model.contexts) == 1
    assert (result.cost or 0) > 1

    class Unpriced(ScriptedModel):
        @property
        def name(self) -> str:
            return "nobody:else"

    refused = await agent(Unpriced("never")).send("go", budget=1.0)
    assert refused.stop_reason is StopReason.budget
    assert "the price of nobody:else is not known" in refused.reason


class Bounded(ScriptedModel):
    """Another one."""

    @property
    def name(self) -> str:
        return "anybody:bounded"


class Renamed(Priced):
    """A model that answers under another name than it is asked by, as those behind a gateway do."""

    async def stream(self, context: CompiledContext) -> AsyncIterator[ModelEvent]:
        async for event in super().stream(context):
            yield replace(event, model="somebody:else") if isinstance(event, MessageStart) else event


async def test_a_price_that_a_refusal_asks_for_lets_the_session_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prices, "_set", {})
    answer: list[Any] = ["fine", MessageDelta("end_turn", Usage(input_tokens=400))]
    store, model = MemoryStore(), Renamed(answer, answer)
    before = App(Root, model=model, store=store).session("kept")
    await before.send("go")  # unbounded, so nobody asked for a price
    before.close()
    prices.set_price("anybody:bounded", input=1, output=1)
    session = App(Root, model=Bounded(answer), store=store, budget=1.0).session("kept")
    refused = await session.send("go on")
    assert refused.stop_reason is StopReason.budget
    assert "the price of somebody:else, which answered before, is not known" in refused.reason
    assert "set_price('somebody:else', input=…, output=…)" in refused.reason

    prices.set_price("somebody:else", input=1000, output=1000)
    assert (await session.send("go on")).text == "fine"
    assert session.usage.cost == pytest.approx(0.4 + 0.0004)


async def test_an_answer_under_another_name_is_charged_by_the_name_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prices, "_set", {})
    prices.set_price("somebody:knows", input=1000, output=1000)
    answer: list[Any] = ["fine", MessageDelta("end_turn", Usage(input_tokens=490))]
    session = agent(Renamed(answer, answer), 1.0)
    assert [(await session.send("go")).cost for _ in range(2)] == [pytest.approx(0.49)] * 2
    assert (await session.send("go on")).stop_reason is StopReason.budget
    assert session.usage.cost == pytest.approx(0.98)


@pytest.mark.parametrize("wrong", ["1", -1, {}, {"eur": 1}, {"tokens": "many"}, True])
async def test_a_malformed_budget_is_refused_where_it_is_given(wrong: Any) -> None:
    session = agent(ScriptedModel("a"))
    with pytest.raises(SessionError, match="a budget is a number of US dollars"):
        session.send("go", budget=wrong)
    with pytest.raises(SessionError, match="a budget is a number of US dollars"):
        App(Root, budget=wrong)
    assert len(session.timeline) == 0


def test_a_budget_says_by_how_much_it_would_be_passed() -> None:
    with pytest.raises(BudgetError, match=r"budget of 100 tokens by ≈10 \(60 are used\)"):
        Budget(tokens=100).check("session's", "scripted", Usage(input_tokens=60), 0.0, 50)


async def test_a_sum_of_some_tokens_is_not_written_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "_set", {})
    prices.set_price("somebody:knows", input=5, output=25)
    result = await agent(Priced("never"), 0.000001).send("go")
    assert result.stop_reason is StopReason.budget
    assert "would cost about $0.0000" not in result.reason
    assert "budget of $1e-06" in result.reason
