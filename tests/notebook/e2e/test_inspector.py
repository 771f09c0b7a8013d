"""The inspector in a real JupyterLab: stepped through by keyboard, compared, beside the notebook, and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.notebook.e2e.test_sessions import errors, output

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.notebook.e2e.conftest import MakeNotebook

pytestmark = pytest.mark.timeout(240)

PLANNER = '''
%load_ext nbsession
from nbsession import App, Knobs, Section, System, Timeline, component, tool, use_effect, use_knob, use_state
from nbsession.testing import ScriptedModel, call

@component
def Plan(stops):
    return Section("\\n".join(f"{n}. {stop}" for n, stop in enumerate(stops, 1)), id="plan", title="Plan")

@component
def Rules(pace="slow"):
    return Section(f"Travel at a {pace} pace. Prefer trains to planes, and name the source of every time and price.", id="rules", title="Rules")

@component
def Planner():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    stops, set_stops = use_state([])

    @tool
    def add_stop(town: str, nights: int = 1) -> str:
        """Add a stop to the plan."""
        set_stops(lambda kept: [*kept, town])
        return f"{town} for {nights} nights is stop {len(stops) + 1}."

    return [
        System(f"You are a {tone} travel planner. Ask when something is unclear, and keep the plan up to date."),
        add_stop,
        Rules(pace="slow"),
        stops and Plan(stops=stops),
        Knobs(),
        Timeline(),
    ]

TOWNS = ["Zürich", "Bern", "Sankt Gallen", "Lugano", "Genf"]
turns = [turn for town in TOWNS for turn in (call("add_stop", town=town, nights=2), f"**{town}** is on the plan: two nights, by train, about 1 h 20 min from the stop before.")]
app = App(Planner, model=ScriptedModel(*turns, "Nothing more."))
%session new app --id trip
for town in TOWNS:
    app.session("trip").run(f"Please add {town} for two nights to our trip, and say how long the train takes.")
'''


def test_ticks_are_stepped_through_by_keyboard_and_all_that_is_shown_stays_in_step(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(PLANNER, "%session inspect", "app.session('trip').run('And now?').text")
    opened.run(0)
    opened.run(1)
    assert errors(opened) == []
    panel = output(opened, 1).locator(".nbs-inspector")
    slider = panel.get_by_role("slider", name="Tick")
    expect(panel.locator(".now")).to_have_text("Tick 9")
    expect(panel.locator(".bars > i")).to_have_count(10)
    slider.focus()
    page.keyboard.press("Home")
    expect(panel.locator(".now")).to_have_text("Tick 0")
    expect(panel.locator(".after")).to_contain_text("Zürich for 2 nights is stop 1.")
    expect(panel.locator(".tree")).to_contain_text("stops = []")
    page.keyboard.press("ArrowRight")
    expect(panel.locator(".now")).to_have_text("Tick 1")
    expect(panel.locator(".after")).to_contain_text("Zürich is on the plan")
    expect(panel.locator(".tree")).to_contain_text("stops = ['Zürich']")
    expect(slider).to_be_focused()
    page.keyboard.press("End")
    expect(panel.locator(".now")).to_have_text("Tick 9")
    for width in (1200, 600):
        page.set_viewport_size({"width": width, "height": 1300})
        for theme in ("Light", "Dark"):
            opened.theme(f"JupyterLab {theme}")
            slider.focus()
            page.keyboard.press("Home")
            for _ in range(4):
                page.keyboard.press("ArrowRight")
            expect(panel.locator(".now")).to_have_text("Tick 4")
            opened.screenshot(f"inspector-{width}-{theme.lower()}", of=panel.locator(".head"))
    assert opened.errors == []
