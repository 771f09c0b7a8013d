"""What tools return, shown as what it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from nbsession import App, Session, System, Timeline, component, tool
from nbsession.events import ToolEnd
from nbsession.notebook.view.execution import ExecutionView
from nbsession.notebook.view.transcript import Transcript
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from pathlib import Path

FRAME = pd.DataFrame({"town": ["Zürich", "<b>Bern</b>"], "price": [5, 12.5]})


@component
def Agent() -> Any:
    @tool
    def frame() -> pd.DataFrame:
        """Return a data frame."""
        return FRAME

    @tool
    def both() -> list[Any]:
        """Return words and a data frame."""
        return ["Look:", FRAME]

    @tool
    def words() -> str:
        """Return text that reads as a data frame's."""
        return "| a |\n| --- |\n| 1 |\n\n1 row × 1 column"

    return [System("You look things up."), frame, both, words, Timeline()]


def opened(name: str) -> Session:
    return App(Agent, model=ScriptedModel(call(name), "Done.")).session()


async def shown(session: Session) -> str:
    view = ExecutionView(session.send("Go."))
    await view.follow()
    return re.sub(r"<style>.*?</style>", "", view.static()["text/html"], flags=re.DOTALL)


async def test_a_data_frame_is_a_table_with_its_numbers_to_the_right() -> None:
    html = await shown(opened("frame"))
    assert html.count("<table>") == 1
    assert "<th scope=col>town</th><th scope=col class=n>price</th>" in html
    assert "<td class=n>1</td><td>&lt;b&gt;Bern&lt;/b&gt;</td><td class=n>12.5</td>" in html
    assert "→ <span class=x>2 rows × 2 columns</span>" in html
    assert "| --- |" not in html.split("As the model got it")[0]


async def test_what_stands_beside_a_data_frame_is_shown_with_it() -> None:
    html = await shown(opened("both"))
    assert "Look: 2 rows × 2 columns" in html
    assert html.count("<table>") == 1


async def test_text_that_reads_as_a_table_stays_text() -> None:
    html = await shown(opened("words"))
    assert "<table>" not in html
    assert "| --- |" in html


async def test_a_data_frame_of_a_restored_session_is_a_table_still(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'kept.db'}"
    session = App(Agent, model=ScriptedModel(call("frame"), "Done."), store=SqlStore(store)).session("kept")
    await session.send("Go.")
    session.close()
    again = App(Agent, model=ScriptedModel(), store=SqlStore(store)).session("kept")
    (run,) = again.ticks[0].tool_calls
    assert run.value is None
    (shown_call,) = Transcript.of(again.ticks).calls()
    assert [table.columns for table in shown_call.tables] == [("", "town", "price")]
    again.close()


async def test_the_value_is_in_the_event_and_neither_in_its_json_nor_in_what_is_equal() -> None:
    events = [event async for event in opened("frame").send("Go.")]
    (end,) = (event for event in events if isinstance(event, ToolEnd))
    assert end.value is FRAME
    assert "value" not in end.to_dict()
    assert end.to_dict()["result"]["name"] == "frame"
