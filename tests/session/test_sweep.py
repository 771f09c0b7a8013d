"""Sweeps: one message under many settings, side by side."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from nbsession import (
    App,
    KnobError,
    RenderError,
    Session,
    SessionError,
    StopReason,
    System,
    Timeline,
    component,
    tool,
    use_effect,
    use_knob,
)
from nbsession.testing import ScriptedModel, call, pause
from tests.support.notepad import Notepad


def respond(context: Any) -> str:
    return "short" if "a terse assistant" in str(context.system) else "long and friendly"


def notepad(*responses: Any) -> Session:
    return App(Notepad, model=ScriptedModel(*(responses or [respond] * 20))).session("s")


async def test_a_sweep_sends_under_every_combination_and_leaves_the_session_alone() -> None:
    session = notepad()
    await session.send("hello")
    before = session.compile().hash
    sweep = await session.sweep("and now?", tone=["friendly", "terse"], repeat=2)
    assert [(row.knobs["tone"], row.run, row.text) for row in sweep] == [
        ("friendly", 0, "long and friendly"),
        ("friendly", 1, "long and friendly"),
        ("terse", 0, "short"),
        ("terse", 1, "short"),
    ]
    assert session.compile().hash == before
    assert len(session.timeline) == 2
    assert session.knobs["tone"] == "friendly"
    assert str(sweep).splitlines()[-1].startswith("tone='terse'     ≈")
    assert str(sweep).endswith(" tokens  short")


async def test_the_context_of_a_row_is_the_one_that_is_sent() -> None:
    sweep = await notepad().sweep("hi", {"tone": ["terse"]})
    row = sweep[0]
    assert row.result is not None
    assert row.context.hash == row.result.ticks[0].context.hash


async def test_what_is_asked_is_no_difference_between_rows() -> None:
    sweep = await notepad("hi.", *[respond] * 2).sweep("hi", tone=["friendly", "terse"])
    diff = sweep[1].context.diff(sweep[0].context)
    assert (diff.added, diff.removed, diff.moved) == ((), (), ())
    assert [new.title or new.kind for _, new in diff.changed] == ["system", "Knobs"]


async def test_contexts_alone_cost_nothing() -> None:
    model = ScriptedModel()
    session = App(Notepad, model=model).session()
    sweep = session.sweep("hi", tone=["friendly", "terse"], context_only=True)
    assert len(sweep) == 2
    assert [row.result for row in await sweep] == [None, None]
    assert model.contexts == []
    assert sweep[0].context.hash != sweep[1].context.hash


def test_contexts_alone_need_no_loop() -> None:
    assert len(notepad().sweep("hi", tone=["terse"], context_only=True)) == 1


async def test_an_executor_may_take_the_sending_over() -> None:
    seen: list[Any] = []

    async def executor(session: Session, message: Any) -> Any:
        seen.append((session.knobs["tone"], message))
        return await session.send(f"{message}!")

    sweep = await notepad().sweep("hi", tone=["friendly", "terse"], executor=executor)
    assert seen == [("friendly", "hi"), ("terse", "hi")]
    assert [row.text for row in sweep] == ["long and friendly", "short"]


async def test_a_row_that_fails_keeps_its_error_and_the_others_go_on() -> None:
    session = notepad(ValueError("broken"), "fine")
    sweep = await session.sweep("hi", tone=["friendly", "terse"])
    assert sorted(row.text for row in sweep) == ["", "fine"]
    assert [type(row.error) for row in sweep if row.error] == [ValueError]


async def test_cancelling_a_sweep_aborts_what_it_sent() -> None:
    held = pause()
    session = notepad(["a", held], ["b", held])
    sweep = session.sweep("hi", tone=["friendly", "terse"])

    async def waiting() -> None:
        await sweep

    task = asyncio.create_task(waiting())
    await held.reached
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for row in sweep:
        assert row.execution is not None
        assert (await row.execution).stop_reason is StopReason.aborted


@pytest.mark.parametrize(
    ("knobs", "options", "says"),
    [
        ({"tone": ["rude"]}, {}, "must be one of"),
        ({"tonne": ["terse"]}, {}, "did you mean 'tone'"),
        ({"tone": "terse"}, {}, "as a list"),
        ({"tone": []}, {}, "no values to sweep"),
        ({"tone": ["terse", "friendly", "terse"]}, {}, "'terse' twice"),
        ({"tone": ["terse"]}, {"repeat": 0}, "repeat must be at least 1, got 0"),
        ({"tone": ["terse"]}, {"concurrency": 0}, "concurrency must be at least 1, got 0"),
        ({"tone": ["terse"]}, {"repeat": 1001}, "1,001 rows, and at most 1,000"),
        ({"tone": ["terse"]}, {"budget": -1}, "a budget is"),
    ],
)
async def test_a_malformed_sweep_is_refused_before_anything_is_sent(
    knobs: Any, options: Any, says: str
) -> None:
    model = ScriptedModel("never")
    session = App(Notepad, model=model).session()
    with pytest.raises((KnobError, SessionError), match=says):
        session.sweep("hi", knobs, **options)
    with pytest.raises(SessionError, match="empty"):
        session.sweep("", tone=["terse"])
    assert model.contexts == []


async def test_where_a_context_cannot_be_made_the_row_is_named_and_nothing_is_sent() -> None:
    @component
    def Dividing() -> Any:
        by, _ = use_knob("by", 1)
        return [System(str(1 // by)), Timeline()]

    model = ScriptedModel("never")
    with pytest.raises(RenderError) as raised:
        App(Dividing, model=model).session().sweep("hi", by=[1, 0])
    assert raised.value.__notes__ == ["in the sweep's row by=0"]
    assert model.contexts == []


# The last message, asked again


async def test_without_a_message_the_last_one_is_asked_again_from_the_moment_before_it() -> None:
    session = notepad("Hi.", call("add_note", note="milk"), "Noted.", "again", "again")
    await session.send("Hello.")
    await session.send("Note: milk.")
    before = session.compile().hash
    sweep = await session.sweep(tone=["friendly", "terse"])
    for row in sweep:
        assert [entry.text for entry in row.session.timeline] == ["Hello.", "Hi.", "Note: milk.", "again"]
        assert "milk" not in str(row.context.system)
    assert sweep[0].context.hash == session.ticks[1].context.hash
    assert sweep[1].context.hash != sweep[0].context.hash
    assert "milk" in str(session.compile().system)
    assert session.compile().hash == before


async def test_where_no_message_was_sent_there_is_none_to_ask_again() -> None:
    with pytest.raises(SessionError, match="no message to ask again yet"):
        notepad().sweep(tone=["terse"])


# How many at a time, and how far it is


async def test_no_more_rows_than_asked_for_are_under_way_at_a_time() -> None:
    running, most = 0, 0

    async def answer(context: Any) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        return "ok"

    sweep = await notepad(*[answer] * 10).sweep("hi", repeat=10, concurrency=3)
    assert most == 3
    assert [row.text for row in sweep] == ["ok"] * 10
    most = 0
    await notepad(*[answer] * 10).sweep("hi", repeat=10)
    assert most == 4


async def test_rows_are_given_as_they_are_answered() -> None:
    first, second = pause(), pause()
    sweep = notepad(["one", first], ["two", second], "three").sweep("hi", repeat=3, concurrency=2)
    await first.reached
    await second.reached
    assert [row.status for row in sweep] == ["running", "running", "waiting"]
    second.release()
    texts = []
    async for row in sweep:
        texts.append(row.text)
        if len(texts) == 2:
            first.release()
    assert texts == ["two", "three", "one"]
    assert sweep.done
    assert all(row.seconds is not None and row.seconds >= 0 for row in sweep)


async def test_a_sweep_that_is_stopped_keeps_what_was_answered_and_asks_no_more() -> None:
    held = pause()
    model = ScriptedModel("one", ["two", held])
    session = App(Notepad, model=model).session()
    sweep = session.sweep("hi", repeat=4, concurrency=1)
    await held.reached
    sweep.abort()
    await sweep
    assert [row.status for row in sweep] == ["done", "done", "unsent", "unsent"]
    assert [row.text for row in sweep] == ["one", "two", "", ""]
    assert sweep[1].result is not None
    assert sweep[1].result.stop_reason is StopReason.aborted
    assert sweep.reason == "stopped by the user"
    assert len(model.contexts) == 2
    assert [row async for row in sweep] == list(sweep)


async def test_stopping_ends_an_executor_too() -> None:
    reached = asyncio.Event()

    async def executor(session: Session, message: Any) -> Any:
        reached.set()
        await asyncio.Event().wait()

    sweep = notepad().sweep("hi", repeat=2, executor=executor, concurrency=1)
    await reached.wait()
    sweep.abort()
    assert [row.status for row in await sweep] == ["unsent", "unsent"]


async def test_a_tool_that_asks_for_confirmation_is_denied() -> None:
    paid = []

    @tool(confirm=True)
    def pay(amount: int) -> str:
        """Pay."""
        paid.append(amount)
        return "paid"

    app = App(Notepad, model=ScriptedModel(call("pay", amount=5), "It was denied."), tools=[pay])
    (row,) = await app.session().sweep("Pay.", repeat=1)
    assert row.text == "It was denied."
    assert row.result is not None
    assert "nobody is asked during a sweep" in str(row.result.tool_calls[0].result)
    assert paid == []


# Budgets


async def test_the_rows_together_stay_within_the_budget_of_the_sweep() -> None:
    session = notepad()
    one = session.compile("hi").tokens
    sweep = await session.sweep("hi", repeat=6, budget={"tokens": 3 * one + 30})
    reasons = [row.result.stop_reason for row in sweep if row.result is not None]
    assert reasons.count(StopReason.budget) >= 3
    assert reasons.count(StopReason.end_turn) >= 1
    assert sweep.usage.total_tokens <= 3 * one + 30
    (told, *_) = [row.result.reason for row in sweep if row.result and row.result.stop_reason == "budget"]
    assert "the sweep's budget" in told


async def test_the_rows_together_stay_within_what_is_left_of_the_sessions_budget() -> None:
    one = notepad().compile("hi").tokens
    app = App(Notepad, model=ScriptedModel(*["ok"] * 20), budget={"tokens": 4 * one})
    session = app.session()
    await session.send("hi")
    left = 4 * one - session.usage.total_tokens
    sweep = await session.sweep("hi", repeat=6)
    assert sweep.usage.total_tokens <= left
    assert 0 < sum(row.text == "ok" for row in sweep) < 6
    assert any(row.result is not None and "the session's budget" in row.result.reason for row in sweep)


async def test_what_a_failed_row_cost_is_counted() -> None:
    session = notepad(call("add_note", note="x"), ValueError("broken"))
    sweep = await session.sweep("hi", tone=["terse"])
    assert sweep[0].error is not None
    assert sweep[0].partial is not None
    assert sweep.usage.input_tokens == sweep[0].partial.usage.input_tokens > 0
    assert sweep.cost == sweep[0].partial.cost


# The rows' sessions


async def test_a_rows_session_can_be_gone_on_with() -> None:
    sweep = await notepad().sweep("hi", tone=["friendly", "terse"])
    assert (await sweep[1].session.send("and now?")).text == "short"
    assert sweep[1].text == "short"
    assert sweep[1].session.parent == "s"


def holding(opened: list[str], empty: asyncio.Event) -> App:
    @component
    def Holding() -> Any:
        name, _ = use_knob("name", "a")

        def hold() -> Any:
            opened.append(name)

            def let_go() -> None:
                opened.remove(name)
                if not opened:
                    empty.set()

            return let_go

        use_effect(hold, [name])
        return [System("You hold something open."), Timeline()]

    return App(Holding, model=ScriptedModel(*["ok"] * 9))


@pytest.mark.parametrize("by", ["sweep", "session", "nobody"])
async def test_the_rows_are_closed_by_hand_with_the_session_or_when_nobody_holds_them(by: str) -> None:
    opened: list[str] = []
    empty = asyncio.Event()
    session = holding(opened, empty).session("h")
    sweep: Any = await session.sweep("hi", name=["b", "c"])
    assert sorted(opened) == ["b", "c"]
    row = sweep[0]
    if by == "sweep":
        await sweep.aclose()
        assert row.text == "ok"
    elif by == "session":
        await session.aclose()
    else:
        kept = row.session
        del sweep, row
        gc.collect()
        await asyncio.sleep(0)
        assert kept.status == "idle"
        assert sorted(opened) == ["b", "c"]
        del kept
        gc.collect()
        await asyncio.wait_for(empty.wait(), 10)
    assert opened == []


async def test_closing_a_sweep_stops_what_runs() -> None:
    held = pause()
    sweep = notepad(["one", held]).sweep("hi", repeat=2, concurrency=1)
    await held.reached
    await sweep.aclose()
    assert [row.status for row in sweep] == ["done", "unsent"]
    assert {row.session.status for row in sweep} == {"closed"}
