"""Sweeps: one message under many settings, side by side."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from nbsession import App, KnobError, Session, SessionError, StopReason
from nbsession.testing import ScriptedModel, pause
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
    assert str(sweep).splitlines()[-1].startswith("tone='terse': ≈")


async def test_the_context_of_a_row_is_the_one_that_is_sent() -> None:
    sweep = await notepad().sweep("hi", {"tone": ["terse"]})
    row = sweep[0]
    assert row.result is not None
    assert row.context.hash == row.result.ticks[0].context.hash


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
        ({"tone": ["terse"]}, {"repeat": 0}, "at least 1, got 0"),
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
