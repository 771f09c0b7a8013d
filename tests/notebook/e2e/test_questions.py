"""A question that waits, under its cell in a real JupyterLab: its form, its answer, what goes on, and what is left of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.notebook.e2e.axe import faults
from tests.notebook.e2e.test_execution_view import output, pictures

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.notebook.e2e.conftest import MakeNotebook

pytestmark = pytest.mark.timeout(240)

AGENT = '''\
%load_ext nbsession
from typing import Literal
from pydantic import BaseModel
from nbsession import App, Pause, System, Timeline, component, tool
from nbsession.testing import ScriptedModel, call

class Booking(BaseModel):
    hotel: str
    nights: int
    breakfast: bool = True
    room: Literal["single", "double"] = "double"

@tool
def ask(question: str) -> str:
    """Ask the person."""
    raise Pause(question)

@tool
def sure(what: str) -> bool:
    """Have it approved."""
    raise Pause(f"{what}: is that right?", answer=bool)

@tool
def choose(day: str) -> str:
    """Let the person choose."""
    raise Pause("Which train?", answer=Literal["08:02", "10:02", "12:02"])

@tool
def book(town: str) -> str:
    """Have a room chosen."""
    raise Pause(f"Which room in {town}?", answer=Booking)

@tool
def list_stops() -> str:
    """Ask for a list."""
    raise Pause("Which stops on the way?", answer=list[str])

@component
def Guide():
    return [System("You plan trips."), ask, sure, choose, book, list_stops, Timeline()]

LONG = "We go to the coast first, and then along it, as slowly as the train goes. " * 8
app = App(Guide, model=ScriptedModel(
    call("ask", question="Where do you want to go, and what must not be missed there?"), LONG,
    [call("sure", what="Two nights"), call("choose", day="Monday")], "The 10:02 it is.",
    call("book", town="Genoa"), "Booked.",
    call("list_stops"), "Three stops.",
    rate=0))
%session new app --id trip --as trip
'''

CONFIRMED = '''
@tool(confirm=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"

app = App(Guide, tools=[pay], model=ScriptedModel(call("pay", amount=5), "Paid.", call("pay", amount=6), "Paid."))
%session new app
'''


def test_questions_are_answered_by_keyboard_under_their_cell_and_what_goes_on_streams_there(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        AGENT,
        "%%session\nPlan a trip.",
        "%%session\nWhen?",
        "%%session\nA room, please.",
        "%%session\nAnd the way?",
    )
    opened.run(0)

    opened.run(1)
    under = output(opened, 1)
    field = under.get_by_role("textbox", name="Answer")
    expect(field).to_be_focused()
    pictures(opened, page, "question-text", field)
    assert faults(page) == []
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # nothing is written yet
    expect(under.get_by_role("alert")).to_have_text("write an answer first")
    expect(field).to_be_focused()
    page.keyboard.type("Genoa")
    page.keyboard.press("Enter")
    page.keyboard.type("and its harbour")
    page.keyboard.press("Control+Enter")
    expect(under).to_contain_text("answered: Genoa and its harbour", timeout=30_000)
    expect(under).to_contain_text("along it, as slowly")
    expect(under.locator(".answer")).to_have_count(0)
    expect(under.get_by_role("button", name="Stop")).to_have_count(0)
    opened.screenshot("question-answered", of=under)
    assert "answer" not in json.dumps([out.get("metadata") for out in opened.outputs()[1]])

    opened.run(2)
    under = output(opened, 2)
    expect(under.get_by_role("button", name="Yes")).to_be_focused()
    pictures(opened, page, "question-choices", under.get_by_role("button", name="10:02"))
    page.keyboard.press("Enter")
    expect(under).to_contain_text("answered: yes")
    under.get_by_role("button", name="10:02").press("Enter")
    expect(under).to_contain_text("The 10:02 it is.")
    opened.screenshot("question-both-answered", of=under)

    opened.run(3)
    under = output(opened, 3)
    expect(under.get_by_role("textbox", name="hotel")).to_be_focused()
    page.keyboard.type("Bristol")
    nights = under.get_by_role("spinbutton", name="nights")
    nights.fill("1.5")
    nights.press("Enter")
    expect(nights).to_be_focused()
    expect(under.get_by_role("alert")).to_contain_text("is to be a whole number, got 1.5")
    expect(under.get_by_role("textbox", name="hotel")).to_have_value("Bristol")
    pictures(opened, page, "question-fields", nights)
    assert faults(page) == []
    nights.fill("2")
    under.get_by_role("checkbox", name="breakfast").uncheck()
    under.get_by_role("combobox", name="room").select_option('"single"')
    nights.press("Enter")
    expect(under).to_contain_text("Booked.")
    expect(under).to_contain_text('answered: {"hotel": "Bristol", "nights": 2, "breakfast": false')

    opened.run(4)
    under = output(opened, 4)
    field = under.get_by_role("textbox", name="Answer")
    field.fill("Pisa, Lucca")
    field.press("Control+Enter")
    expect(under.get_by_role("alert")).to_contain_text("JSON")
    field.fill('["Pisa", "Lucca"]')
    field.press("Control+Enter")
    expect(under).to_contain_text("Three stops.")
    assert opened.errors == []


def test_a_question_is_answered_on_a_page_that_was_loaded_later_and_is_text_in_a_saved_notebook(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        AGENT,
        "%%session\nPlan a trip.",
        "%session answer",
        "%session waiting",
        "print((await trip.answer(trip.waiting[0].id, 'by the program')).stop_reason)",
    )
    for index in (0, 1, 2):
        opened.run(index)
    first, second = output(opened, 1), output(opened, 2)
    expect(second.get_by_role("textbox", name="Answer")).to_be_visible()
    first.get_by_role("textbox", name="Answer").fill("not sent yet")

    opened.save()
    opened.reload()
    field = first.get_by_role("textbox", name="Answer")
    expect(field).to_be_visible()
    expect(field).not_to_be_focused()
    field.fill("Genoa")
    first.get_by_role("button", name="Answer").click()
    expect(first).to_contain_text("along it, as slowly", timeout=30_000)
    expect(first.get_by_role("button", name="Stop")).to_have_count(0)
    expect(second).to_contain_text("answered in another output: Genoa")
    expect(second.get_by_role("textbox")).to_have_count(0)
    opened.screenshot("question-elsewhere", of=second)
    assert "application/vnd.jupyter.widget-view+json" not in str(opened.outputs()[1])
    assert opened.errors == []


def test_where_the_program_answers_the_form_goes_away_and_a_saved_question_has_no_button(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        AGENT,
        "%%session\nPlan a trip.",
        "print((await trip.answer(trip.waiting[0].id, 'the sea')).stop_reason)",
        "%%session\nWhen?",
        "%session waiting",
        "%session answer",
        "%session answer 10:02",
    )
    for index in (0, 1):
        opened.run(index)
    first = output(opened, 1)
    expect(first.get_by_role("textbox", name="Answer")).to_be_visible()
    opened.run(2)
    expect(first).to_contain_text("answered by the program: the sea")
    expect(first.get_by_role("textbox")).to_have_count(0)

    opened.run(3)
    third = output(opened, 3)
    expect(third.get_by_role("button", name="Yes")).to_be_visible()
    opened.restart()
    expect(third.locator(".answer")).to_have_count(0)
    expect(third).to_contain_text("%session answer qu_")
    opened.run(0)  # which opens the stored session again
    opened.run(4)
    expect(output(opened, 4)).to_contain_text("Two nights: is that right?")
    opened.screenshot("question-waiting", of=output(opened, 4))
    opened.run(5)
    asked = output(opened, 5)
    expect(asked.get_by_role("button", name="Yes")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(asked).to_contain_text("answered: no", timeout=30_000)
    expect(asked.get_by_role("button", name="10:02")).to_be_visible()
    opened.run(6)
    expect(output(opened, 6)).to_contain_text("answered: 10:02")
    expect(asked).to_contain_text("answered by %session answer: 10:02")
    opened.screenshot("question-line", of=output(opened, 6))

    opened.reopen_without_kernel()
    expect(third).to_contain_text("waits for an answer since")
    assert opened.cells().locator(".jp-OutputArea button").count() == 0
    opened.screenshot("question-saved", of=third)
    assert faults(page) == []
    assert opened.errors == []


def test_a_confirmation_is_allowed_always_by_keyboard(notebook: MakeNotebook, page: Page) -> None:
    opened = notebook(
        AGENT + CONFIRMED,
        "%%session\nPay.",
        "%%session\nPay again.",
    )
    opened.run(0)
    opened.start(1)
    under = output(opened, 1)
    expect(under.get_by_role("button", name="Allow", exact=True)).to_be_focused()
    expect(under.get_by_role("button", name="Always")).to_be_visible()
    pictures(opened, page, "question-always", under.get_by_role("button", name="Always"))
    under.get_by_role("button", name="Allow", exact=True).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(under.get_by_role("button", name="Always")).to_be_focused()
    page.keyboard.press("Enter")
    opened.finish()
    expect(under).to_contain_text("paid 5")
    opened.run(2)  # nobody is asked
    expect(output(opened, 2)).to_contain_text("paid 6")
    assert opened.errors == []
