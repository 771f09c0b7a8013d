"""A breakpoint in a notebook: the cell returns, others look, let it go on, or end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nbsession.context import context_of
from nbsession.events import BreakpointReached, TickContext, TickStart
from nbsession.notebook.view import templates
from nbsession.notebook.view.live import Ui
from nbsession.notebook.view.transcript import Transcript
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
    assert run.state == "stopped at a breakpoint: %session continue, or Stop"
    context = context_of(["You are here."])
    run.look(context)
    html = templates.macro("execution", "page")(Ui(), run)
    assert "Stopped at the breakpoint tokens&gt;1: the context has ≈9 tokens" in html
    assert "You are here." in html
    run.apply(TickContext(0, context, "scripted"))
    assert run.ledger.latest is context
