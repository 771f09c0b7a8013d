"""A breakpoint in a notebook: the cell returns, others look, let it go on, or end it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Session, System, Timeline, component, tool
from nbsession.context import context_of
from nbsession.events import BreakpointReached, TickContext, TickStart
from nbsession.notebook.view import templates
from nbsession.notebook.view.execution import ExecutionView
from nbsession.notebook.view.fields import fields_of
from nbsession.notebook.view.live import Ui
from nbsession.notebook.view.transcript import Transcript
from nbsession.testing import ScriptedModel, call
from tests.notebook.kernels import Kernel, Ran, running_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

SETUP = """
%load_ext nbsession
from nbsession import *
from nbsession.testing import ScriptedModel, call

@tool
def search(query: str) -> str:
    "Search."
    return f"Found {query}."

@component
def Agent():
    return [System("You are here."), search, Timeline()]

def app():
    return App(Agent, model=ScriptedModel(call("search", query="milk"), "Done.", "Next."))
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as kernel:
        fine(kernel.run(SETUP))
        yield kernel


def fine(ran: Ran) -> Ran:
    assert ran.error is None, "\n".join(ran.error["traceback"])
    return ran


def stopped(kernel: Kernel, options: str = "", magic: str = "%%session") -> Ran:
    fine(kernel.run("bot = app()\n%session new bot --as talk"))
    assert "tool=search" in fine(kernel.run("%session break on tool=search")).shown[-1]
    return fine(kernel.run(f"{magic} {options}\nBuy milk."))


def test_the_cell_returns_and_another_one_goes_on(kernel: Kernel) -> None:
    ran = stopped(kernel, "--as answer")
    assert (
        "stopped at the breakpoint tool=search: search gave a result; %session continue goes on" in ran.text
    )
    assert "stopped at a breakpoint" in fine(kernel.run("print(answer.status)")).text
    assert "Found milk." in fine(kernel.run("print(answer.stopped.context.messages[-1])")).text
    assert "stands here" in fine(kernel.run("%session break")).shown[-1]
    assert "goes on" in fine(kernel.run("%session continue")).text
    assert "Done." in fine(kernel.run("print((await answer).text)")).text


def test_what_is_sent_meanwhile_says_what_it_waits_for(kernel: Kernel) -> None:
    stopped(kernel)
    ran = fine(kernel.run("%%session --as following\nAnd then?"))
    assert "stopped at the breakpoint" in ran.text
    fine(kernel.run("%session continue"))
    assert "Next." in fine(kernel.run("print((await following).text)")).text


def test_stop_ends_it_and_a_blocking_cell_returns_too(kernel: Kernel) -> None:
    ran = stopped(kernel, "--as answer", "%%time\n%%session")
    assert "%session stop ends it" in ran.text
    fine(kernel.run("%session stop"))
    assert "aborted" in fine(kernel.run("print((await answer).stop_reason)")).text
    assert "0 breakpoints" in fine(kernel.run("%session break --clear")).shown[-1]
    ran = kernel.run("%session continue")
    assert ran.error is not None
    assert "does not stand at a breakpoint" in ran.error["traceback"][0]


def test_a_breakpoint_that_cannot_be_read_says_how_to_write_one(kernel: Kernel) -> None:
    fine(kernel.run("bot = app()\n%session new bot"))
    ran = kernel.run("%session break on tool")
    assert ran.error is not None
    assert "a breakpoint is on tool=NAME, part=NAME or tokens>N, got 'tool'" in ran.error["traceback"][0]


def test_the_output_says_where_it_stands_and_shows_what_is_about_to_be_sent() -> None:
    run = Transcript()
    run.apply(TickStart(0))
    run.apply(BreakpointReached(0, "tokens>1", "the context has ≈9 tokens"))
    assert run.state == "stopped at a breakpoint"
    context = context_of(["You are here."])
    run.look(context)
    html = templates.macro("execution", "page")(Ui(), run)
    assert "Stopped at the breakpoint tokens&gt;1: the context has ≈9 tokens" in html
    assert "You are here." in html
    run.apply(TickContext(0, context, "scripted"))
    assert run.ledger.latest is context


@tool
def search(query: str) -> str:
    """Search."""
    return f"Found {query}."


@component
def Agent() -> Any:
    return [System("You are here."), search, Timeline()]


async def standing() -> tuple[Session, ExecutionView, asyncio.Task[None]]:
    """Return a session whose execution stands at a breakpoint, and the view that follows it."""
    session = App(Agent, model=ScriptedModel(call("search", query="milk"), "Done.")).session()
    session.breakpoints.add(tool="search")
    execution = session.send("Buy milk.")
    view = ExecutionView(execution)
    following = asyncio.create_task(view.follow())
    async for event in execution:
        if isinstance(event, BreakpointReached):
            break
    for _ in range(5):  # the view reads the same events in a task of its own
        await asyncio.sleep(0)
    return session, view, following


async def test_a_button_lets_it_go_on_and_goes_away() -> None:
    session, view, following = await standing()
    assert "data-do=on>Go on</button>" in view.html()
    assert "<textarea" in view.html()
    view.hear({"k": "resume", "fields": {}})
    assert "data-do=on" not in view.html()
    await following
    assert session.ticks[-1].text == "Done."
    assert "Stopped at the breakpoint tool=search: search gave a result; went on" in view.html()


async def test_what_is_sent_is_edited_where_it_stands_and_marked_as_edited() -> None:
    session, view, following = await standing()
    assert session.current is not None
    stopped = session.current.stopped
    assert stopped is not None
    result = next(field for field in fields_of(stopped.context)[0] if field.text == "Found milk.")
    view.hear({"k": "resume", "fields": {result.name: "Found nothing."}})
    await following
    sent = session.ticks[-1].context
    assert "Found nothing." in next(part.text for part in sent.parts if part.edited)


async def test_an_edit_that_does_not_fit_says_why_and_it_goes_on_standing() -> None:
    session, view, following = await standing()
    view.hear({"k": "resume", "fields": {"part:Agent/Nowhere": "x"}})
    assert "Agent/Nowhere" in view.html()
    assert "data-do=on>Go on</button>" in view.html()
    assert session.current is not None
    assert session.current.stopped is not None
    view.hear({"k": "resume"})
    await following


async def test_the_button_goes_away_when_another_cell_lets_it_go_on_and_when_it_is_stopped() -> None:
    session, view, following = await standing()
    assert session.current is not None
    session.current.resume()
    await following
    assert "data-do=on" not in view.html()
    session, view, following = await standing()
    view.hear({"k": "stop"})
    await following
    assert "data-do=on" not in view.html()


async def test_the_saved_form_has_no_button_and_no_form() -> None:
    _, view, following = await standing()
    static = view.static()["text/html"]
    assert "Stopped at the breakpoint tool=search" in static
    for control in ("<button", "<textarea", "<input"):
        assert control not in static
    view.hear({"k": "stop"})
    await following
