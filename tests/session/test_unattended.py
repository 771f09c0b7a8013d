"""Executions before which nobody sits."""

from __future__ import annotations

import asyncio
from typing import Any

from nbsession import App, Timeline, component, tool
from nbsession.session.unattended import unattended
from nbsession.testing import ScriptedModel, call


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
