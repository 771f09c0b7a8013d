"""Executions before which nobody sits."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Timeline, component, tool
from nbsession.events import ConfirmationRequested, Done
from nbsession.session import confirming
from nbsession.session.unattended import unattended
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from nbsession import Session


async def test_what_asks_is_denied_and_no_task_is_left_once_the_result_is_there() -> None:
    @component
    def Desk() -> Any:
        @tool(confirm=True)
        def pay() -> str:
            raise AssertionError("nobody allowed it")

        return [pay, Timeline()]

    model = ScriptedModel(call("pay"), "It was not paid.")
    session = App(Desk, model=model).session()
    before = asyncio.all_tasks()
    result = await unattended(session.send("Pay!"), during="a test")
    assert result.text == "It was not paid."
    assert "nobody is asked during a test" in str(model.contexts[1].messages)
    assert {task for task in asyncio.all_tasks() - before if "_deny" in repr(task)} == set()


class TestNobodyFollows:
    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(confirming, "PATIENCE", 0.0)

    async def test_that_a_call_waits_is_logged_with_how_to_answer(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = paying()
        heard = asyncio.Event()
        monkeypatch.setattr(confirming, "LOG", logging.getLogger("told of what waits"))
        confirming.LOG.addHandler(Telling(heard))
        execution = session.send("Pay!")
        await asyncio.wait_for(heard.wait(), 30)
        [question] = session.waiting
        assert [f"waits for a yes or no to the tool {PAY}" in said for said in caplog.messages] == [True]
        assert f"session.answer({question.id!r}, True)" in caplog.text
        session.answer(question.id, True)
        assert (await execution).text == "Paid."

    @pytest.mark.parametrize("whose", ["execution", "session"])
    async def test_who_follows_is_told_by_the_event_alone(
        self, whose: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        session = paying()
        followed = session.subscribe()
        if whose == "session":
            session.send("Pay!")
        events = followed if whose == "session" else session.send("Pay!")
        async for event in events:
            if isinstance(event, ConfirmationRequested):
                for _ in range(20):
                    await asyncio.sleep(0)
                session.answer(event.question, True)
            if isinstance(event, Done):
                break
        assert caplog.messages == []


PAY = "pay"


class Telling(logging.Handler):
    """Tells that something was logged."""

    def __init__(self, heard: asyncio.Event) -> None:
        super().__init__()
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.set()


def paying() -> Session:
    @component
    def Desk() -> Any:
        @tool(name=PAY, confirm=True)
        def pay() -> str:
            """Pay."""
            return "paid"

        return [pay, Timeline()]

    return App(Desk, model=ScriptedModel(call(PAY), "Paid.")).session()
