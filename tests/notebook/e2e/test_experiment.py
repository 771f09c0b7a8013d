"""An experiment in a real JupyterLab: live, stopped, finished and saved, light and dark, wide and narrow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.notebook.e2e.axe import faults
from tests.notebook.e2e.test_sessions import BUTTON, errors, output, plain

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.notebook.e2e.conftest import MakeNotebook
    from tests.notebook.e2e.lab import Notebook

pytestmark = pytest.mark.timeout(240)

GUIDE = """
%load_ext nbsession
from random import Random
from nbsession import App, Section, System, Timeline, component, use_knob
from nbsession.experiment import Case
from nbsession.testing import ScriptedModel, pause
from nbsession.usage import set_price

CITIES = "Vienna Rome Madrid Oslo Paris Bern Prague Lisbon Athens Dublin Riga Sofia Berlin Warsaw Tirana".split()
cases = [Case(f"What is {city} known for, and which capital do you speak of?", city, city.lower(), held_out=city > "S") for city in CITIES]

@component
def Guide():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse", "formal"])
    return [
        System("You are a guide to the capitals of Europe."),
        Section(f"Be {tone}." + (" Name the city that you speak of in the first word." if tone == "terse" else ""), id="tone"),
        tone == "formal" and Section("Address the traveller by surname.", id="manners"),
        Timeline(),
    ]

def answer(context):
    asked, said = str(context.messages[-1]), str(context.system)
    city = next(city for city in CITIES if city in asked)
    knows = "terse" in said or Random(city + said).random() < 0.2
    words = "its **coffee houses**, its music, and the long evenings by the river; " * ("terse" not in said)
    return f"{city if knows else 'The capital'}: {words}\\n\\n- a walk\\n- a museum\\n\\nEnjoy `your` stay!"

class Paid(ScriptedModel):
    name = "somebody:guide"

set_price("somebody:guide", input=3, output=15)

def named(result, case):
    return case.expected in result.text

def length(result, case):
    return len(result.text.split())
"""
OPEN = "app = App(Guide, model=Paid(*[answer] * 200))\n%session new app"
RUN = "%session experiment cases tone=friendly,terse,formal --score named,length --repeat 2 --as run"
HELD = "held = App(Guide, model=Paid(*[answer] * 11, *[['Well, ', pause()]] * 200))\n%session new held"


def test_a_run_is_seen_on_its_way_stopped_and_finished(notebook: MakeNotebook, page: Page) -> None:
    page.set_viewport_size({"width": 1200, "height": 1700})
    opened = notebook(GUIDE, HELD, RUN, OPEN, RUN, f"{RUN} --plan", "run")
    opened.run(0)
    opened.run(1)
    opened.start(2)
    live = output(opened, 2)
    expect(live.get_by_role("status")).to_have_text(
        re.compile(r"11 of 90 trials · cost \$0\.\d+ · about [\d.]+ (ms|s|min.*) left")
    )
    expect(live.get_by_role("progressbar")).to_have_attribute("value", "0.122")
    expect(live.locator(".grid").last).to_contain_text("terse")
    pictured(opened, "experiment-live", live)
    opened.stop(BUTTON)
    expect(live).to_contain_text("stopped by the user")
    expect(live.get_by_role("button")).to_have_count(0)
    assert errors(opened) == ["SessionInterrupted: stopped by the user; what came is kept"]
    pictured(opened, "experiment-stopped", live)
    for index in (3, 4, 5, 6):
        opened.run(index)
    done = output(opened, 4)
    expect(done).to_contain_text("90 of 90 trials")
    expect(done.locator(".here")).to_contain_text("a real difference")
    expect(done.get_by_role("img")).to_have_count(10)  # three arms and two differences, those held out, too
    expect(done.locator("details[open] .sides > div")).to_have_count(2)
    expect(done.locator("details[open] code").first).to_have_text(re.compile(r"^run\.trials\[\d+\]$"))
    expect(done).to_contain_text("Address the traveller by surname.")
    expect(output(opened, 6)).to_contain_text("90 of 90 trials")
    pictured(opened, "experiment", done)
    pictured(opened, "experiment-plan", output(opened, 5))
    for shown in (done.locator(".nbs.experiment").last, output(opened, 5).locator(".nbs.experiment")):
        room = shown.evaluate("each => [each.scrollWidth, each.clientWidth]")
        assert room[0] <= room[1]
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    page.set_viewport_size({"width": 600, "height": 1700})
    widths = done.locator(".nbs.experiment").last.evaluate(
        "each => [...each.querySelectorAll('.sides, .foot, .ctx, .flip, .r')].map(one => one.scrollWidth - one.clientWidth)"
    )
    assert max(widths) <= 1
    pictured(opened, "experiment-narrow", done)
    page.set_viewport_size({"width": 1200, "height": 1700})
    opened.reopen_without_kernel()
    expect(output(opened, 4)).to_contain_text("a real difference")
    assert plain(opened, 4).count("Held out · counted nowhere else") == 1
    opened.screenshot("experiment-without-a-kernel", of=output(opened, 4))
    assert opened.errors == []


def pictured(opened: Notebook, name: str, of: Locator) -> None:
    """Keep a picture in both themes, of the page and of all of the output, and have axe look at it."""
    from tests.notebook.e2e.lab import ARTIFACTS

    for theme in ("Dark", "Light"):
        opened.theme(f"JupyterLab {theme}")
        opened.screenshot(f"{name}-{theme.lower()}", of=of)
        of.screenshot(path=ARTIFACTS / f"{name}-{theme.lower()}-whole.png")
        assert faults(opened.page) == []
