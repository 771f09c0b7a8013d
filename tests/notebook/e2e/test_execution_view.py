"""What stands under a session cell in a real JupyterLab: its two views of a context, its tools, its buttons."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.notebook.e2e.test_access import both

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.notebook.e2e.conftest import MakeNotebook
    from tests.notebook.e2e.lab import Notebook

pytestmark = pytest.mark.timeout(240)

AGENT = '''\
%load_ext nbsession
from nbsession import App, Knobs, Section, System, Timeline, component, tool, use_knob, use_state
from nbsession.testing import ScriptedModel, call

@component
def Plan():
    stops, set_stops = use_state([])

    @tool
    def add_stop(stop: str, nights: int = 1) -> str:
        """Add a stop to the plan."""
        set_stops(lambda kept: [*kept, stop])
        return "Added."

    return [add_stop, stops and Section("\\n".join(f"- {s}" for s in stops), id="plan", title="Plan")]

@component
def Guide():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    return [System(f"You are a {tone} guide who plans trips."), Plan(), Knobs(), Timeline()]
'''

SHOP = """\\
from typing import Literal
import pandas

@component
def Shop():
    @tool(confirm=lambda input, _: f"Pay {input['amount']} for the {input['what']}?")
    def pay(what: str, amount: int, currency: Literal["EUR", "USD"] = "EUR", tip: bool = False) -> str:
        "Pay."
        return f"paid {amount} {currency}"

    @tool
    def stock(shelf: str):
        "Look at the shelves."
        return pandas.DataFrame({"what": ["tea", "cake"], "left": [3, 12]})

    @tool
    def shelves() -> dict:
        "Where things stand."
        return {"kitchen": {"tea": [1, 2, 3], "cake": {"kind": "carrot"}}, "cellar": []}

    @tool
    def lost():
        "Fail."
        raise KeyError("the key of the cellar is under the mat, or so they said when they left in a hurry")

    return [System("You keep shop."), pay, stock, shelves, lost, Timeline()]

def paying(what, amount):
    return [call("pay", what=what, amount=amount)], f"That was the {what}."

pays = [response for what in (("room", 80), ("meal", 30), ("taxi", 20)) for response in paying(*what)]
shelves = App(Shop, model=ScriptedModel([call("stock", shelf="kitchen"), call("shelves"), call("lost")], "So."))
app = App(Shop, model=ScriptedModel(*pays))
%session new app
"""


def scripted(*responses: str) -> str:
    return f"app = App(Guide, model=ScriptedModel({', '.join(responses)}))\n%session new app"


def output(notebook: Notebook, index: int) -> Locator:
    """What stands under the code cell of that index."""
    return notebook.cells().nth(index).locator(".jp-Cell-outputArea")


def pictures(notebook: Notebook, page: Page, name: str, of: Locator) -> None:
    """Keep pictures in both themes, and of a narrow page."""
    for theme in ("Light", "Dark"):
        notebook.theme(f"JupyterLab {theme}")
        notebook.screenshot(f"{name}-{theme.lower()}", of=of)
    page.set_viewport_size({"width": 600, "height": 900})
    notebook.screenshot(f"{name}-narrow", of=of)
    page.set_viewport_size({"width": 1200, "height": 900})


def test_a_context_is_seen_as_sent_or_as_a_tree_also_without_a_kernel(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        AGENT, scripted("[call('add_stop', stop='Rome')]", "'Rome it is.'"), "%%session\nAdd Rome, please."
    )
    opened.run_all()
    second = output(opened, 2).locator("details.ctx").nth(1)
    second.locator("> summary").click()
    expect(second.get_by_text("You are a friendly guide")).to_be_visible()
    pictures(opened, page, "view-list", second)
    second.get_by_text("As a tree").click()
    expect(second.get_by_text("3 messages, 2 new")).to_be_visible()
    expect(second.get_by_text("You are a friendly guide")).to_be_hidden()
    pictures(opened, page, "view-tree", second)
    opened.reopen_without_kernel()
    second.locator("> summary").click()
    expect(second.get_by_text("You are a friendly guide")).to_be_visible()
    second.get_by_text("As a tree").click()
    expect(second.get_by_text("3 messages, 2 new")).to_be_visible()
    opened.screenshot("view-tree-untrusted", of=second)
    assert opened.errors == []


def test_a_finished_tick_leads_to_its_source_a_fork_its_python_and_an_edited_answer(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        AGENT,
        scripted("[call('add_stop', stop='Rome')]", "'Rome it is.'", "'Oslo it is.'"),
        "%%session\nAdd Rome, please.",
    )
    opened.run_all()
    under = output(opened, 2)
    acts = under.locator(".acts")
    expect(acts).to_have_count(2)
    last = under.locator(".tick").nth(1)

    last.locator("details.ctx > summary").click()
    last.get_by_text("As a tree").click()
    last.get_by_role("button", name="In[1], line 5").click()
    expect(last.locator(".lines")).to_contain_text("def Plan():")
    opened.screenshot("view-source", of=last)

    last.get_by_role("button", name="Copy as Python").click()
    expect(last.get_by_role("textbox", name="This tick as Python")).to_have_value(
        re.compile(r"session = app.session.*\nfork = session.fork.at=1, before=True", re.DOTALL)
    )
    opened.screenshot("view-python", of=acts.nth(1))

    last.get_by_role("button", name="Fork here").click()
    expect(last.locator(".desk")).to_contain_text("%session use se_")
    opened.screenshot("view-fork", of=acts.nth(1))

    last.get_by_role("button", name="Edit and re-run").click()
    last.locator(".desk summary", has_text="guide who plans").click()
    last.get_by_role("textbox", name="Text of system").fill("You are a guide who is terse.")
    last.get_by_role("button", name="Show the difference").click()
    expect(last.locator(".out")).to_contain_text("edited")
    expect(last.locator(".out del")).to_contain_text("friendly")
    opened.screenshot("view-edit", of=last.locator(".out"))
    last.get_by_role("button", name="Send in a fork").click()
    expect(under.get_by_role("region", name="The answer to the edit")).to_contain_text("Oslo it is.")
    expect(under.get_by_role("region", name="The answer as it was")).to_contain_text("Rome it is.")
    expect(under).to_contain_text("Edited and sent again from tick 1")
    pictures(opened, page, "view-answers", under.locator(".two"))

    saved = opened.save()
    assert "Edited and sent again" in saved.cells[2].outputs[0].data["text/html"]
    assert "Fork here" not in json.dumps(saved)
    assert not saved.metadata.get("widgets")
    opened.reload()
    expect(output(opened, 2).locator(".acts")).to_have_count(2)  # the kernel is there still
    assert opened.errors == []
    opened.restart()
    expect(output(opened, 2).locator(".acts")).to_have_count(0)


def test_a_call_that_asks_is_answered_by_keyboard_and_its_arguments_are_edited_in_place(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        AGENT,
        SHOP,
        "%%session\nPay for the room.",
        "%%session\nAnd for the meal.",
        "%%session\nAnd the taxi.",
    )
    opened.run(0)
    opened.run(1)

    opened.start(2)
    allow = output(opened, 2).get_by_role("button", name="Allow", exact=True)
    expect(allow).to_be_focused()
    opened.screenshot("ask", of=allow)
    page.keyboard.press("Enter")
    opened.finish()
    expect(output(opened, 2)).to_contain_text("paid 80")

    opened.start(3)
    expect(output(opened, 3).get_by_role("button", name="Allow", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    opened.finish()
    expect(output(opened, 3)).to_contain_text("declined")

    opened.start(4)
    under = output(opened, 4)
    expect(under.get_by_role("button", name="Allow", exact=True)).to_be_focused()
    under.get_by_text("Edit the arguments").click()
    amount = under.get_by_role("spinbutton", name="amount")
    amount.fill("1.5")
    amount.press("Enter")
    expect(amount).to_be_focused()
    expect(amount).to_have_attribute("aria-invalid", "true")
    expect(under.get_by_role("alert").last).to_contain_text("got 1.5")
    pictures(opened, page, "ask-edit", amount)
    amount.fill("12")
    under.get_by_role("combobox", name="currency").select_option('"USD"')
    under.get_by_role("button", name="Allow with these").click()
    opened.finish()
    expect(under).to_contain_text("paid 12 USD")
    opened.screenshot("ask-answered", of=under)
    assert opened.errors == []


def test_after_a_reload_the_stale_mark_and_a_rerun_still_reach_an_output_that_was_there_before(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        AGENT,
        scripted("'Rome it is.'", "'Oslo it is.'"),
        "towns = ['Rome']",
        "%%session\nAdd {{towns[0]}}, please.",
        "towns.append('Bern')",
    )
    for index in range(4):
        opened.run(index)
    opened.save()
    opened.reload()
    under = output(opened, 3)
    expect(under.locator(".acts")).to_have_count(1)
    opened.run(4)
    expect(under).to_contain_text("towns has changed since")
    under.get_by_role("button", name="Edit and re-run").click()
    under.locator(".desk summary", has_text="guide who plans").click()
    under.get_by_role("textbox", name="Text of system").fill("You are terse.")
    under.get_by_role("button", name="Send in a fork").click()
    expect(under).to_contain_text("Edited and sent again from tick 0")
    expect(under).to_contain_text("Oslo it is.")
    expect(under).to_contain_text("towns has changed since")
    saved = opened.save().cells[3].outputs[0].data["text/html"]
    assert "towns has changed since" in saved
    assert "Oslo it is." in saved
    assert opened.errors == []


def test_after_a_reload_what_a_panel_sends_stands_in_the_place_of_what_it_sent_before(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        AGENT,
        scripted("'Rome it is.'", "'Bern it is.'", "'Oslo it is.'"),
        "%%session\nWhere shall I go?",
        "%session knobs",
    )
    for index in range(4):
        opened.run(index)
    panel = output(opened, 3)
    panel.get_by_role("button", name="Send with this").click()
    expect(panel.locator(".foot")).to_be_visible()
    expect(panel).to_contain_text("Bern it is.")
    opened.save()
    opened.reload()
    expect(panel.locator(".acts")).to_have_count(1)
    panel.get_by_role("button", name="Send with this").click()
    expect(panel).to_contain_text("Oslo it is.")
    expect(panel.locator(".foot")).to_have_count(1)
    expect(panel).not_to_contain_text("Bern it is.")
    saved = opened.save().cells[3].outputs[-1].data
    assert "Oslo it is." in saved["text/html"]
    assert "application/vnd.jupyter.widget-view+json" not in saved
    assert opened.errors == []


def test_where_an_execution_stands_at_a_breakpoint_a_button_lets_it_go_on_and_a_form_edits_what_is_sent(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        AGENT,
        scripted(
            "[call('add_stop', stop='Rome')]",
            "'Rome it is.'",
            "[call('add_stop', stop='Oslo')]",
            "'Oslo it is.'",
        ),
        "%session break on tool=add_stop",
        "%%session\nAdd Rome, please.",
        "%%session\nAdd Oslo, please.",
    )
    for index in range(4):
        opened.run(index)
    under = output(opened, 3)
    go_on = under.get_by_role("button", name="Go on", exact=True)
    expect(go_on).to_be_focused()
    pictures(opened, page, "breakpoint", go_on)
    assert "Go on" not in json.dumps(opened.save())
    go_on.focus()
    page.keyboard.press("Enter")
    expect(under.locator(".foot")).to_be_visible()
    expect(under).to_contain_text("Rome it is.")
    expect(under).to_contain_text("add_stop gave a result; went on")
    expect(under.get_by_role("button", name="Go on")).to_have_count(0)

    opened.run(4)
    under = output(opened, 4)
    under.get_by_text("Edit what is sent").click()
    under.locator(".answer summary", has_text="Added.").last.click()
    under.get_by_role("textbox", name="Text of tool").last.fill("There is no room in Oslo.")
    both(opened, "at a breakpoint")
    pictures(opened, page, "breakpoint-edit", under.get_by_role("textbox", name="Text of tool").last)
    under.get_by_role("button", name="Go on with these").click()
    expect(under.locator(".foot")).to_be_visible()
    under.locator("details.ctx > summary").last.click()
    expect(under.locator(".r", has_text="There is no room in Oslo.").first).to_contain_text("edited")
    opened.screenshot("breakpoint-edited", of=under.locator(".foot"))
    assert opened.errors == []


def test_a_tools_frame_its_json_and_its_error_are_shown_as_what_they_are(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(AGENT, SHOP, "%session new shelves\n", "%%session\nShow me all.")
    opened.run_all()
    under = output(opened, 3)
    expect(under.locator(".tab td", has_text="tea")).to_be_visible()
    expect(under.get_by_text("KeyError").first).to_be_visible()
    under.locator("summary", has_text="shelves()").click()
    under.get_by_text("As the model got it").first.click()
    pictures(opened, page, "tools", under.locator(".tab"))
    assert opened.errors == []
