"""The picture of the README: a cell with its context unfolded, and a knob that was moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.notebook.e2e.lab import ARTIFACTS
from tests.notebook.e2e.test_sessions import errors, output

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.notebook.e2e.conftest import MakeNotebook

pytestmark = pytest.mark.timeout(240)

AGENT = """
%load_ext nbsession
from nbsession import App, Section, System, Timeline, component, tool, use_knob, use_state
from nbsession.testing import ScriptedModel, call

@component
def Planner():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    stops, set_stops = use_state([])

    @tool
    def add_stop(city: str) -> str:
        "Add a city to the plan."
        set_stops(lambda kept: [*kept, city])
        return f"{city} is in the plan."

    return [
        System(f"You plan trips by train, and are {tone}."),
        add_stop,
        Timeline(),
        stops and Section("\\n".join(stops), id="plan", title="Plan"),
    ]

app = App(Planner, model=ScriptedModel(call("add_stop", city="Vienna"), "Vienna is in your plan. Where to next?"))
%session new app --id trip
"""


def test_the_readmes_picture_shows_what_the_model_saw_and_what_a_knob_would_change(
    notebook: MakeNotebook, page: Page
) -> None:
    page.set_viewport_size({"width": 1000, "height": 1100})
    opened = notebook(AGENT, "%%session\nAdd Vienna to my trip.", "%session knobs")
    opened.run_all()
    assert errors(opened) == []
    page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    sent = output(opened, 1).locator("details.ctx").nth(1)
    sent.locator("> summary").click()
    panel = output(opened, 2)
    panel.get_by_role("button", name="terse").click()
    expect(panel).to_contain_text("No model call was made.")
    ARTIFACTS.mkdir(exist_ok=True)
    for theme in ("Light", "Dark"):
        opened.theme(f"JupyterLab {theme}")
        opened.cells().nth(1).scroll_into_view_if_needed()
        page.mouse.move(0, 0)
        cells = [opened.cells().nth(n).bounding_box() for n in (1, 2)]
        assert cells[0] is not None
        assert cells[1] is not None
        top, bottom = cells[0]["y"], cells[1]["y"] + cells[1]["height"]
        page.screenshot(
            path=ARTIFACTS / f"readme-{theme.lower()}.png",
            clip={"x": cells[0]["x"], "y": top, "width": cells[0]["width"], "height": bottom - top},
        )
    assert opened.errors == []
