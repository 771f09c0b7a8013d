"""What the difference of two contexts says of a budget: what went for want of room, and what that costs."""

from __future__ import annotations

from typing import Any

import pytest

from nbsession import App, Fit, Priority, Section, System, Timeline, component, use_knob
from nbsession.testing import ScriptedModel
from nbsession.usage import set_price


class Priced(ScriptedModel):
    """A scripted model under a name that has a price."""

    @property
    def name(self) -> str:
        return "acme:priced"


@component
def Reader() -> Any:
    budget, _ = use_knob("budget", 1000, min=1)
    documents = [Priority(n, Section(name + "x" * 399, id=name), key=name) for n, name in enumerate("abc")]
    return Fit(System("Read."), documents, Timeline(), max_tokens=budget)


async def test_a_preview_of_the_budget_says_what_would_go_and_what_would_come_back() -> None:
    session = App(Reader, model=ScriptedModel("Yes.", "Yes.")).session()
    await session.send("?")
    smaller = session.preview(budget=250)
    assert [(item.path[-10:], item.priority, item.tokens) for item in smaller.diff.left] == [
        ("Section[a]", 0, 100)
    ]
    assert not smaller.diff.returned
    assert "− a · Reader/Fit.0/1/Priority[a]/Section[a] (≈100 tokens), left for want of room" in str(smaller)
    assert str(smaller).endswith("≈100 tokens left for want of room, ≈310 tokens of the prefix broken")
    session.knobs["budget"] = 250
    await session.send("?")
    assert str(session.preview(budget=1000).diff.trade).startswith("≈1")
    assert "tokens returned" in str(session.preview(budget=1000))


async def test_where_the_price_is_known_it_is_weighed_in_dollars() -> None:
    set_price("acme:priced", input=10, output=20, cache_read=1, cache_write=12)
    session = App(Reader, model=Priced("Yes.", "Yes.")).session()
    await session.send("?")
    trade = session.preview(budget=250).diff.trade
    assert trade is not None
    assert trade.saves == pytest.approx(trade.left / 1e6)
    assert trade.costs == pytest.approx(trade.broken * 11 / 1e6)
    assert str(trade).endswith(f"(≈${trade.costs:.2g} once, −≈${trade.saves:.2g} a request)")


async def test_a_context_without_a_budget_weighs_nothing() -> None:
    @component
    def Plain() -> Any:
        return [System("Read."), Timeline()]

    session = App(Plain, model=ScriptedModel("Yes.", "Yes.")).session()
    await session.send("?")
    diff = (await session.send("?")).ticks[0].context.diff(session.ticks[0].context)
    assert (diff.left, diff.returned, diff.trade) == ((), (), None)


async def test_the_text_of_a_context_lists_what_there_was_no_room_for() -> None:
    session = App(Reader, model=ScriptedModel("Yes.")).session()
    session.knobs["budget"] = 250
    context = (await session.send("?")).ticks[0].context
    assert "── not sent · Reader/Fit.0/1/Priority[a]/Section[a]: budget (priority 0, ≈100 tokens)" in str(
        context
    )
