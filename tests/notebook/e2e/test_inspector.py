"""The inspector in a real JupyterLab: stepped through by keyboard, compared, beside the notebook, and saved."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.notebook.e2e.test_access import both
from tests.notebook.e2e.test_sessions import errors, output

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page, WebSocket

    from tests.notebook.e2e.conftest import MakeNotebook
    from tests.notebook.e2e.lab import Notebook

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
%session new app --id NAME --as session
for town in TOWNS:
    session.run(f"Please add {town} for two nights to our trip, and say how long the train takes.")
'''


def planner(name: str) -> str:
    """Return a cell that makes a session of that name, of ten ticks."""
    return PLANNER.replace("NAME", name)


def test_ticks_are_stepped_through_by_keyboard_and_all_that_is_shown_stays_in_step(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(planner("stepped"), "%session inspect", "session.run('And now?').text")
    opened.run(0)
    opened.run(1)
    assert errors(opened) == []
    panel = output(opened, 1).locator(".nbs-inspector")
    slider = panel.get_by_role("slider", name="Tick", exact=True)
    now = panel.locator(".now")
    expect(now).to_have_text("Tick 9")
    expect(panel.locator(".bars > i:not(.next)")).to_have_count(10)
    expect(output(opened, 1).locator(".nbs-inspected")).to_be_hidden()
    slider.focus()
    page.keyboard.press("Home")
    expect(now).to_have_text("Tick 0")
    expect(panel.locator(".after")).to_contain_text("Zürich for 2 nights is stop 1.")
    expect(panel.locator(".tree").first).to_contain_text("stops = []")
    page.keyboard.press("ArrowRight")
    expect(now).to_have_text("Tick 1")
    expect(panel.locator(".after")).to_contain_text("Zürich is on the plan")
    expect(panel.locator(".tree").first).to_contain_text("stops = ['Zürich']")
    expect(slider).to_be_focused()
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^tick 1, ≈[0-9,]+ tokens"))
    page.keyboard.press("End")
    expect(now).to_have_text("Now")
    expect(panel.locator(".after")).to_contain_text("Nothing of this was sent")
    pictures(opened, panel, "inspector-now")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(now).to_have_text("Tick 9")
    panel.locator(".bars > i").nth(3).click()
    expect(now).to_have_text("Tick 3")
    panel.get_by_role("button", name="The next tick").press("Enter")
    expect(now).to_have_text("Tick 4")
    pictures(opened, panel, "inspector")
    slider.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(now).to_have_text("Tick 9")
    opened.run(2)
    expect(now).to_have_text("Tick 10")
    expect(panel.locator(".after")).to_contain_text("Nothing more.")
    expect(panel.locator(".bars > i:not(.next)")).to_have_count(11)
    assert opened.errors == []


def test_a_step_to_the_next_tick_waits_for_no_kernel_and_shows_it_as_it_is_compared_now(
    notebook: MakeNotebook, page: Page
) -> None:
    sockets: list[WebSocket] = []

    def opens(socket: WebSocket) -> None:
        sockets.append(socket)

    page.on("websocket", opens)
    held = "from pathlib import Path\nimport time\nwhile not Path('go').exists(): time.sleep(0.01)"
    opened = notebook(planner("ahead"), "%session inspect", held)
    opened.run(0)
    *_, socket = sockets

    def came(tick: int) -> Callable[[str | bytes], bool]:
        said = re.compile(rb'"k": "ahead", "edition": \d+, "tick": %d,' % tick)
        return lambda frame: said.search(frame if isinstance(frame, bytes) else frame.encode()) is not None

    with socket.expect_event("framereceived", came(8)):
        opened.run(1)
    panel = output(opened, 1).locator(".nbs-inspector")
    with socket.expect_event("framereceived", came(8)):
        panel.get_by_label("compared with").select_option("nothing")
    slider = panel.get_by_role("slider", name="Tick", exact=True)
    opened.start(2)
    expect(opened.cells().nth(2).locator(".jp-InputPrompt")).to_have_text("[*]:")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(panel.locator(".now").first).to_have_text("Tick 8")
    expect(panel.locator(".after")).to_contain_text("Genf for 2 nights is stop 5.")
    expect(panel.locator(".since")).to_have_count(0)
    expect(opened.cells().nth(2).locator(".jp-InputPrompt")).to_have_text("[*]:")
    opened.path.with_name("go").touch()
    opened.finish()
    expect(output(opened, 1).locator(".nbs-inspected")).to_contain_text("tick 8 of 10")
    expect(panel.locator(".now").first).to_have_text("Tick 8")
    assert opened.errors == []


def test_ticks_are_compared_components_left_out_and_run_without_and_forks_gone_through(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(planner("compared"), "%session inspect")
    opened.run(0)
    opened.run(1)
    assert errors(opened) == []
    panel = output(opened, 1).locator(".nbs-inspector")
    panel.get_by_label("compared with").select_option("tick …")
    number = panel.get_by_label("Number of the tick to compare with")
    number.fill("2")
    expect(panel.locator(".since")).to_contain_text("since tick 2")
    expect(panel.locator(".since")).to_contain_text("the prefix is broken by Plan")
    expect(panel.locator(".w").first).to_contain_text(
        "`stops` went from ['Zürich'] to 5 items, set by the tool add_stop in tick 8"
    )
    pictures(opened, panel, "inspector-compared")
    panel.get_by_role("checkbox", name="Send Rules").uncheck()
    expect(panel.locator(".ctx .title")).to_contain_text("Context without Rules")
    expect(panel.get_by_role("checkbox", name="Send Rules")).to_be_focused()
    panel.get_by_role("button", name="Run without it").click()
    expect(panel.locator(".trial")).to_contain_text("Nothing more.")
    expect(panel.locator(".after")).to_contain_text("Genf is on the plan")
    panel.get_by_text("Forks").click()
    pictures(opened, panel, "inspector-without")
    panel.locator(".trial").get_by_role("button").click()
    expect(panel.locator(".head")).to_contain_text("fork of compared, forked before tick 9")
    expect(panel.locator(".after")).to_contain_text("Nothing more.")
    expect(panel.locator("[aria-current]")).to_have_count(1)
    assert opened.errors == []


FORKED = """
fork = session.fork(5)
fork.model = ScriptedModel(call("add_stop", town="Chur", nights=3), "**Chur** is on the plan: three nights, and a day for the Bernina line.", "Well.")
fork.knobs["tone"] = "terse"
for message in ("Rather Chur, for three nights.", "And then?"):
    fork.run(message)
%session inspect
"""


def test_two_forks_are_stepped_through_in_step_and_where_they_part_is_found_by_a_key(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(planner("parted"), FORKED)
    opened.run(0)
    opened.run(1)
    assert errors(opened) == []
    panel = output(opened, 1).locator(".nbs-inspector")
    choice = panel.get_by_label("beside")
    choice.focus()
    choice.select_option(index=1)
    expect(panel.locator(".sides")).to_contain_text("parted · tick 9")
    assert choice.evaluate("node => node === document.activeElement")
    slider = panel.get_by_role("slider", name="Tick", exact=True)
    now, other = panel.locator(".now").first, panel.locator(".now[data-other]")
    slider.focus()
    page.keyboard.press("d")
    expect(now).to_have_text("Tick 6")
    expect(other).to_have_text("Tick 6")
    expect(panel.locator(".since")).to_contain_text("They part at tick 6: the context, from Planner")
    expect(panel.locator(".since")).to_contain_text("here")
    expect(panel.locator(".sides del").first).to_contain_text("You are a friendly travel planner")
    expect(panel.locator(".sides ins").first).to_contain_text("You are a terse travel planner")
    page.keyboard.press("ArrowRight")
    expect(other).to_have_text("Tick 7")
    expect(panel.locator(".sides")).to_contain_text("Chur is on the plan")
    both(opened, "two sessions side by side")
    pictures(opened, panel, "inspector-sides")
    slider.focus()
    page.keyboard.press("l")
    expect(panel.get_by_label("locked in step")).not_to_be_checked()
    page.keyboard.press("ArrowLeft")
    expect(now).to_have_text("Tick 6")
    expect(other).to_have_text("Tick 7")
    panel.get_by_role("button", name="The other one’s next tick").click()
    expect(other).to_have_text("Tick 8")
    page.keyboard.press("ArrowLeft")
    expect(now).to_have_text("Tick 5")
    page.keyboard.press("l")
    expect(panel.get_by_label("locked in step")).to_be_checked()
    panel.get_by_role("button", name="Go to where they part").click()
    expect(other).to_have_text("Tick 6")
    saved = output(opened, 1).locator(".nbs-inspected")
    expect(saved).to_contain_text("They part at tick 6")
    opened.reopen_without_kernel()
    expect(saved).to_be_visible()
    expect(saved.locator("button, input, select")).to_have_count(0)
    opened.screenshot("inspector-sides-saved", of=saved)
    assert opened.errors == []


def test_it_opens_beside_the_notebook_in_step_and_is_there_in_a_saved_notebook(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(planner("beside"), "%session inspect")
    opened.run(0)
    opened.run(1)
    panel = output(opened, 1).locator(".nbs-inspector")
    expect(panel.locator(".now")).to_have_text("Tick 9")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:create-output-view')")
    beside = page.locator(".jp-LinkedOutputView .nbs-inspector")
    expect(beside.locator(".now")).to_have_text("Tick 9")
    expect(page.locator(".jp-LinkedOutputView .nbs-inspected")).to_be_hidden()
    beside.get_by_role("slider", name="Tick", exact=True).press("Home")
    expect(beside.locator(".now")).to_have_text("Tick 0")
    expect(panel.locator(".now")).to_have_text("Tick 0")
    opened.screenshot("inspector-beside", of=beside)
    page.evaluate("() => window.jupyterapp.shell.currentWidget.close()")
    # The static form follows once the reader rests.
    saved = output(opened, 1).locator(".nbs-inspected")
    expect(saved).to_contain_text("tick 0 of 10")
    opened.reopen_without_kernel()
    expect(saved).to_be_visible()
    expect(saved).to_contain_text("Zürich for 2 nights is stop 1.")
    expect(saved.locator("button, input, select")).to_have_count(0)
    assert "widgets" not in opened.path.read_text("utf-8").partition('"metadata": {')[0]
    opened.screenshot("inspector-saved", of=saved)
    assert opened.errors == []


def pictures(opened: Notebook, panel: Locator, name: str) -> None:
    """Keep pictures of the panel in both themes, wide and narrow."""
    before = opened.page.viewport_size
    for width in (1200, 600):
        opened.page.set_viewport_size({"width": width, "height": 1300})
        for theme in ("Light", "Dark"):
            opened.theme(f"JupyterLab {theme}")
            opened.screenshot(f"{name}-{width}-{theme.lower()}", of=panel.locator(".head"))
    assert before is not None
    opened.page.set_viewport_size(before)
