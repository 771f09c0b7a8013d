"""The panel of knobs in a real JupyterLab: moved, sent with, and read again where there is no kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.notebook.e2e.test_sessions import drag, errors, output, stop_button

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.notebook.e2e.conftest import MakeNotebook

pytestmark = pytest.mark.timeout(240)

AGENT = """
%load_ext nbsession
from nbsession import App, Section, System, Timeline, component, use_knob
from nbsession.testing import ScriptedModel

@component
def Guide():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"], group="Voice")
    name, _ = use_knob("name", "Ada", group="Voice", max_length=40, description="what it is called")
    depth, _ = use_knob("depth", 3, min=1, max=9)
    cite, _ = use_knob("cite", True)
    year, _ = use_knob("year", 2026)
    country, _ = use_knob("country", "CH", options=["CH", "AT", "DE", "IT", "FR", "ES"])
    return [
        System(f"You are {name}, a {tone} guide to {country} in {year}. Depth: {depth} of 9."),
        cite and Section("Name your sources.", id="cite", title="Citations"),
        Timeline(),
    ]
"""
SLOW = "'one two three four five ' * 40"


def test_a_panel_sends_in_its_cell_and_reads_well_in_both_themes(notebook: MakeNotebook, page: Page) -> None:
    opened = notebook(
        AGENT,
        f"app = App(Guide, model=ScriptedModel('Go to Bern.', 'Bern.', {SLOW}, rate=40))\n%session new app --id panel-guide",
        "%%session\nWhere shall I go?",
        "%session knobs",
        "print(len(app.session('panel-guide').ticks), app.session('panel-guide').knobs['depth'])",
    )
    for index in range(4):
        opened.run(index)
    panel = output(opened, 3)
    drag(panel.locator(".widget-slider .noUi-handle").first, page, by=400)
    panel.get_by_role("button", name="terse").click()
    expect(panel).to_contain_text("broken by system")
    expect(panel).to_contain_text("set by you")
    for theme in ("Dark", "Light"):
        opened.theme(f"JupyterLab {theme}")
        opened.screenshot(f"panel-moved-{theme.lower()}", of=panel)
    panel.get_by_role("button", name="Send with this").click()
    expect(panel.locator(".foot")).to_be_visible()
    expect(panel).to_contain_text("Nothing would change")
    expect(panel).to_contain_text("Bern.")
    panel.get_by_role("textbox", name="message").fill("Count.")
    panel.get_by_role("button", name="Send with this").click()
    expect(panel).to_contain_text("three four")
    opened.screenshot("panel-sent", of=panel)
    stop_button(opened, 3).click()
    expect(panel).to_contain_text("stopped")
    # The last answer stands in the place of the one before.
    expect(panel.locator(".foot")).to_have_count(1)
    opened.run(4)
    expect(output(opened, 4)).to_have_text("3 9")
    page.set_viewport_size({"width": 600, "height": 900})
    opened.screenshot("panel-600", of=panel)
    assert errors(opened) == []
    opened.reopen_without_kernel()
    expect(output(opened, 3)).to_contain_text("one two three four")
    expect(output(opened, 3)).to_contain_text("what it is called")
    opened.screenshot("panel-without-a-kernel", of=output(opened, 3))
    assert opened.errors == []
