"""What was found out about a session, in a real JupyterLab: intervals drawn, light and dark, and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.notebook.e2e.axe import faults
from tests.notebook.e2e.test_sessions import errors, output

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.notebook.e2e.conftest import MakeNotebook

pytestmark = pytest.mark.timeout(240)

AGENT = """
%load_ext nbsession
from random import Random
from nbsession import App, Section, System, Timeline, component, use_knob
from nbsession.testing import ScriptedModel

chance = Random(3)

@component
def Guide():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    return [
        System("You are a guide."),
        Section("The traveller stands in Vienna.", id="city"),
        Section("The office was founded in 1907, and has moved twice since. " * 30, id="history"),
        Section(f"Be {tone}.", id="tone"),
        Timeline(),
    ]

def answer(context):
    said = str(context.system)
    place = "Vienna" if "Vienna" in said else "Somewhere that I do not know, tell me more"
    return f"{place}, {' '.join(chance.choices(['well', 'I', 'say', 'it', 'is', 'good', 'fine'], k=4))}."

app = App(Guide, model=ScriptedModel(*[answer] * 100))
"""


def test_an_explanation_draws_its_intervals_in_both_themes_and_saved(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        AGENT,
        "%session new app --id guide",
        "%%session\nWhere am I?",
        "app.session('guide').knobs['tone'] = 'terse'",
        "%%session\nAnd now?",
        "%session explain 1",
        "%session explain 1 --max-cost 0.50",
    )
    for index in range(7):
        opened.run(index)
    priced, explained = output(opened, 5), output(opened, 6)
    expect(priced).to_contain_text("nothing was asked so far; it takes ≈30 model calls")
    expect(explained).to_contain_text(
        "1 of 4 components made a difference that is no noise: Guide/Section[city]"
    )
    expect(explained.locator(".here")).to_contain_text("a real difference")
    expect(explained.get_by_role("img")).to_have_count(4)
    expect(explained.locator(".words")).to_contain_text("never changed in 2 ticks")
    for theme in ("Dark", "Light"):
        opened.theme(f"JupyterLab {theme}")
        opened.screenshot(f"explanation-{theme.lower()}", of=explained)
        assert faults(page) == []
    drawn = explained.locator(".here .span").bounding_box()
    dot = explained.locator(".here .span > b").bounding_box()
    assert drawn is not None
    assert dot is not None
    assert drawn["x"] < dot["x"] < drawn["x"] + drawn["width"]
    assert errors(opened) == []
    opened.reopen_without_kernel()
    expect(output(opened, 6)).to_contain_text("a real difference")
    opened.screenshot("explanation-without-a-kernel", of=output(opened, 6))
    assert opened.errors == []
