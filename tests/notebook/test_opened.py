"""``%session open``: what another tool recorded, in the notebook's cards, scrubber and differences."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from nbsession.notebook.opened import Opened
from nbsession.notebook.panels.inspector import Inspector
from nbsession.traces import load
from tests.notebook.kernels import Kernel, Ran, running_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbsession import Session

FILES = Path(__file__).parents[1] / "traces" / "files"
LOG = FILES / "weather.eval"
SCRIPT = "<script>alert(1)</script>"

SETUP = """
%load_ext nbsession
from nbsession import *
from nbsession.testing import ScriptedModel

@component
def Echo():
    return [System("You tell the weather."), Timeline()]
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with running_kernel(XDG_DATA_HOME=str(tmp_path_factory.mktemp("data"))) as kernel:
        fine(kernel.run(SETUP))
        yield kernel


def fine(ran: Ran) -> Ran:
    assert ran.error is None, "\n".join(ran.error["traceback"])
    return ran


def said(ran: Ran) -> str:
    """Return the one line that a cell's error is."""
    assert ran.error is not None
    (line,) = ran.error["traceback"]
    return str(line)


def html(ran: Ran) -> str:
    pages = [content["data"] for content in ran.of("display_data")]
    return "".join(str(page.get("text/html", "")) for page in pages)


def test_a_file_of_several_conversations_lists_them_and_one_is_opened_by_its_id(kernel: Kernel) -> None:
    listed = html(fine(kernel.run(f"%session open {LOG}")))
    assert "2 conversations" in listed
    assert "foreign trace from inspect 0.3.285" in listed
    assert "bern" in listed
    assert SCRIPT not in listed
    opened = fine(kernel.run(f"%session open {LOG} bern")).text
    assert "'bern' (2 ticks) is a foreign trace from inspect 0.3.285, to be looked at" in opened
    assert "- scored by includes: C" in opened


def test_it_is_inspected_tick_by_tick_and_its_texts_stay_texts(kernel: Kernel) -> None:
    fine(kernel.run(f"%session open {LOG} hostile"))
    page = html(fine(kernel.run("%session inspect")))
    assert "&lt;script&gt;" in page
    assert SCRIPT not in page
    assert "foreign trace from inspect 0.3.285" in page
    assert "tells of no components" in page


async def test_every_place_of_the_scrubber_can_be_gone_to_and_nothing_would_be_sent_now() -> None:
    trace = load(LOG)["bern"]
    panel = Inspector(cast("Session", Opened(trace, asyncio.get_running_loop())))
    assert "It rains in Bern." in panel.html()
    for place, shown in enumerate(("weather", "Take an umbrella.")):
        panel.hear({"me": 1, "k": "go", "tick": place})
        assert panel.marks[0] == place
        assert shown in str(panel.answer())
    panel.hear({"me": 1, "k": "compare", "beside": "none"})
    panel.hear({"me": 1, "k": "go", "tick": 2})
    assert panel.is_now
    assert "what would be sent now needs a session" in panel.said
    panel.hear({"me": 1, "k": "go", "tick": 0})
    panel.hear({"me": 1, "k": "session", "id": "other"})
    assert "there is no fork 'other'" in panel.said


async def test_two_traces_stand_side_by_side_in_the_inspector() -> None:
    loop = asyncio.get_running_loop()
    one, other = (cast("Session", Opened(trace, loop)) for trace in load(LOG))
    panel = Inspector(one, [("other", other)])
    panel.hear({"me": 1, "k": "company", "id": "hostile"})
    panel.hear({"me": 1, "k": "go", "tick": 0})
    assert not panel.said
    assert "&lt;script&gt;" in panel.html()
    assert SCRIPT not in panel.html()


def test_its_ticks_and_their_contexts_are_shown_and_compared(kernel: Kernel) -> None:
    fine(kernel.run(f"%session open {LOG} bern"))
    ticks = html(fine(kernel.run("%session ticks")))
    assert "What is the weather in Bern?" in ticks
    assert "mockllm/model" in ticks
    assert "%session fork" not in ticks
    shown = html(fine(kernel.run("%session context 1 --diff 0")))
    assert "What was sent at tick 1, compared with tick 0" in shown
    assert "It rains in Bern." in shown
    listed = html(fine(kernel.run("%session list")))
    assert "a foreign trace from inspect 0.3.285" in listed


def test_a_trace_without_times_and_models_says_unknown(kernel: Kernel) -> None:
    fine(kernel.run(f"%session open {FILES / 'chatlas.json'}"))
    ticks = html(fine(kernel.run("%session ticks")))
    assert "1970" not in ticks
    assert ticks.count("unknown") >= 2
    assert "1970" not in html(fine(kernel.run("%session list")))


def test_it_stands_beside_a_session_and_says_where_they_part(kernel: Kernel) -> None:
    fine(kernel.run("bot = App(Echo, model=ScriptedModel('Take a coat.'))"))
    fine(kernel.run("%session new bot --id mine"))
    fine(kernel.run("%%session\nWhat is the weather in Bern?"))
    fine(kernel.run(f"%session open {FILES / 'chatlas.json'}"))
    for one, other in (("chatlas", "mine"), ("mine", "chatlas")):
        fine(kernel.run(f"%session use {one}"))
        assert "they part at tick 0" in html(fine(kernel.run(f"%session compare {other}")))


def test_it_is_exported_and_nothing_is_sent_to_it(kernel: Kernel, tmp_path: Path) -> None:
    fine(kernel.run(f"%session open {LOG} bern"))
    fine(kernel.run(f"%session export {tmp_path / 'bern.html'}"))
    assert "It rains in Bern." in (tmp_path / "bern.html").read_text("utf-8")
    for line in (
        "%%session\nHello",
        "%session knobs",
        "%session tree",
        "%session context",
        "%session fork 0",
    ):
        assert "is a foreign trace from inspect 0.3.285, which is there to be looked at" in said(
            kernel.run(line)
        )
    fine(kernel.run("%session stop"))
    fine(kernel.run("%session history"))


def test_a_file_that_is_no_trace_is_one_line(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "prose.md"
    path.write_text("Hello", "utf-8")
    assert "is no JSON; traces are read from" in said(kernel.run(f"%session open {path}"))
    assert "cannot be read: No such file" in said(kernel.run("%session open nowhere.eval"))
    assert "has no conversation 'berm'; did you mean 'bern'?" in said(kernel.run(f"%session open {LOG} berm"))
