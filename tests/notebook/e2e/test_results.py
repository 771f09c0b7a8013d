"""Results of tools in a real JupyterLab: tables are tables, and nothing is taller than it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.notebook.e2e.test_sessions import errors, output

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.notebook.e2e.conftest import MakeNotebook

pytestmark = pytest.mark.timeout(240)

TOOLS = """
%load_ext nbsession
import pandas as pd
from nbsession import App, System, Timeline, component, tool
from nbsession.testing import ScriptedModel, call

PRICES = pd.DataFrame({
    "town": ["Zürich", "Bern", "Sankt Gallen"],
    "nights": [1, 12, 3],
    "price": [99.5, 1240.0, None],
    "remark": ["", "from $5 to $10 more at the weekend, and breakfast is not included", "closed"],
})

@component
def Agent():
    @tool
    def prices(country: str) -> pd.DataFrame:
        "Look up prices."
        return PRICES

    @tool
    def readings() -> pd.DataFrame:
        "Look up many rows and columns."
        return pd.DataFrame({f"sensor_{n}": [n * row / 7 for row in range(500)] for n in range(50)})

    @tool
    def forecast() -> dict:
        "Look up a forecast."
        return {"town": "Bern", "days": [{"day": n, "rain": n / 10, "sky": "grey"} for n in range(60)]}

    @tool
    def report() -> str:
        "Read a report."
        return "It rained, and then it rained again. " * 200

    return [System("You look things up."), prices, readings, forecast, report, Timeline()]
"""
CALLS = "[call('prices', country='CH'), call('readings'), call('forecast'), call('report')], 'Take Bern.'"
TALLEST = 420
"""Pixels of anything that a tool returned."""


def test_results_are_shown_as_what_they_are_and_read_the_same_when_restored(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        TOOLS,
        f"app = App(Agent, model=ScriptedModel({CALLS}))\n%session new app --id results",
        "%%session\nWhere shall we go?",
        "get_ipython().nbsession.sessions.get('results').ticks[0]",
    )
    for index in range(3):
        opened.run(index)
    assert errors(opened) == []
    cell = output(opened, 2)
    tables = cell.locator(".tab table")
    expect(tables).to_have_count(2)
    expect(tables.nth(0).locator("tbody tr")).to_have_count(3)
    expect(tables.nth(0)).to_contain_text("from $5 to $10 more at the weekend")
    expect(tables.nth(1).locator("tbody tr")).to_have_count(41)
    expect(cell).to_contain_text("500 rows × 50 columns")
    aligned = "cells => cells.map(cell => getComputedStyle(cell).textAlign)"
    assert tables.nth(0).locator("tbody tr").nth(1).locator("td").evaluate_all(aligned) == [
        "right",
        "left",
        "right",
        "right",
        "left",
    ]
    for summary in cell.locator("details.call > summary").all():
        summary.click()
    for shown in cell.locator(".tab, .call pre").all():
        box = shown.bounding_box()
        assert box is not None
        assert box["height"] <= TALLEST
        assert box["x"] + box["width"] <= 1200
    seen = tables.locator("td").all_inner_texts()
    assert opened.errors == []
    for theme in ("Light", "Dark"):
        opened.theme(f"JupyterLab {theme}")
        opened.screenshot(f"results-tables-{theme.lower()}", of=tables.nth(0))
        opened.screenshot(f"results-json-{theme.lower()}", of=cell.locator(".call pre").last)
    opened.restart()
    for index in (0, 1, 3):
        opened.run(index)
    assert errors(opened) == []
    assert output(opened, 3).locator(".tab td").all_inner_texts() == seen
