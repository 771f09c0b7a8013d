"""Our outputs can be read and used by everybody: axe-core finds nothing grave, light and dark, live and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.notebook.e2e.axe import faults
from tests.notebook.e2e.test_sessions import errors, output

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.notebook.e2e.conftest import MakeNotebook
    from tests.notebook.e2e.lab import Notebook

pytestmark = pytest.mark.timeout(240)

AGENT = """
%load_ext nbsession
import pandas as pd
from nbsession import App, Fit, Knobs, Section, System, Timeline, component, tool, use_knob, use_state
from nbsession.testing import ScriptedModel, call

@component
def Guide():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"], group="Voice")
    name, _ = use_knob("name", "Ada", group="Voice", max_length=40, description="what it is called")
    depth, _ = use_knob("depth", 3, min=1, max=9)
    warmth, _ = use_knob("warmth", 0.5, min=0.0, max=1.0)
    cite, _ = use_knob("cite", True)
    year, _ = use_knob("year", 2026)
    country, _ = use_knob("country", "CH", options=["CH", "AT", "DE", "IT", "FR", "ES"])
    plan, set_plan = use_state([])

    @tool
    def prices(country: str) -> pd.DataFrame:
        "Look up prices."
        set_plan(lambda kept: [*kept, country])
        return pd.DataFrame({"town": ["Bern", "Chur"], "price": [99.5, None]})

    @tool
    def forecast() -> dict:
        "Look up a forecast."
        return {"town": "Bern", "days": [{"day": n, "sky": "grey"} for n in range(60)]}

    @tool
    def broken() -> str:
        "Fail."
        raise ValueError("the line is dead")

    @tool(confirm=True)
    def book(town: str) -> str:
        "Book."
        return "Booked."

    return [
        System(f"You are {name}, a {tone} guide to {country} in {year}. Depth: {depth} of 9, {warmth} warm."),
        cite and Section("Name your sources.", id="cite", title="Citations"),
        plan and Section("\\\\n".join(plan), id="plan", title="Plan"),
        prices, forecast, broken, book,
        Knobs(),
        Timeline(),
    ]
"""
SAID = "'# Go\\n\\n| a | b |\\n|---|---|\\n| 1 | `2` |\\n\\n1. to **Bern**\\n2. and *Chur*\\n\\n```python\\nprint(1)\\n```\\n\\n> now, $x^2$'"
OPEN = f"""
looked = [call('prices', country='CH'), call('forecast'), call('broken')]
app = App(Guide, model=ScriptedModel(looked, {SAID}, *['Yes.'] * 2, [call('book', town='Bern')], 'Done.'))
%session new app --id guide
"""
CELLS = (
    AGENT,
    OPEN,
    "%%session\nWhere shall I go?",
    "%session context --diff 0",
    "%session tree",
    "%session ticks",
    "%session history",
    "%session list",
    "%session knobs",
    "%session sweep tone=friendly,terse",
    "app.session('guide')",
    "app.session('guide').preview(tone='terse')",
    "%session inspect",
    "%session knobs --freeze tone=friendly,terse",
    "%session check",
    "%session context --cache",
    "%session bisect tick.number > 0",
    "%session break on tool=none_of_these",
    "app.session('guide').compare(app.session('guide').fork(0))",
    "%%session\nBook it.",
)
ASKING = len(CELLS) - 1
UNFOLD = (
    "() => document.querySelectorAll('.jp-OutputArea-output details').forEach(each => { each.open = true; })"
)


def test_nothing_grave_is_found_in_any_output_live_or_saved(notebook: MakeNotebook, page: Page) -> None:
    opened = notebook(*CELLS)
    for index in range(ASKING):
        opened.run(index)
    output(opened, 8).get_by_role("button", name="terse").click()
    expect(output(opened, 8)).to_contain_text("broken by")
    output(opened, 9).get_by_label("with row").select_option(index=1)
    page.evaluate(UNFOLD)
    output(opened, 2).get_by_role("button", name="Edit and re-run").first.click()
    output(opened, 2).get_by_role("button", name="Copy as Python").last.click()
    expect(output(opened, 2).get_by_role("button", name="Send in a fork")).to_be_visible()
    expect(output(opened, 2).locator("textarea[readonly]")).to_be_visible()
    both(opened, "live")
    opened.start(ASKING)
    allow = output(opened, ASKING).locator("button[data-do^=yes]")
    expect(allow).to_be_visible()
    both(opened, "asking")
    allow.click()
    opened.finish()
    assert errors(opened) == []
    opened.reopen_without_kernel()
    page.evaluate(UNFOLD)
    both(opened, "saved")


def both(opened: Notebook, when: str) -> None:
    for theme in ("Dark", "Light"):
        opened.theme(f"JupyterLab {theme}")
        assert faults(opened.page) == [], f"{when}, {theme}"
