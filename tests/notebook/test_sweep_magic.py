"""``%session sweep`` in a real kernel: live, stopped, and with the notebook's loop left free."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.notebook.kernels import OLDER, ROOT, Kernel, Ran, older_ipykernel, running_kernel
from tests.notebook.test_magics import CURRENT, SETUP, fine, one_line, open_session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AGENT = """
@component
def Echo():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    depth, _ = use_knob("depth", 1, min=1, max=5)
    return [System(f"You are {tone}, {depth} deep."), Timeline()]
"""


@pytest.fixture(scope="module", params=[*OLDER, "installed"])
def any_kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    version: str = request.param
    folder = older_ipykernel(version) if version != "installed" else None
    with running_kernel(folder, XDG_DATA_HOME=str(tmp_path_factory.mktemp("data"))) as kernel:
        fine(kernel.run(SETUP + AGENT))
        yield kernel


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with running_kernel(XDG_DATA_HOME=str(tmp_path_factory.mktemp("data"))) as kernel:
        fine(kernel.run(SETUP + AGENT))
        yield kernel


def page_of(kernel: Kernel, id: str) -> str:
    """The comm of the widget that a cell made."""
    opened = kernel.until(
        lambda m: (
            m["msg_type"] == "comm_open"
            and m["parent_header"].get("msg_id") == id
            and m["content"]["data"].get("state", {}).get("_model_module") == "anywidget"
        )
    )
    return str(opened["content"]["comm_id"])


def say(kernel: Kernel, comm: str, **message: Any) -> None:
    kernel.comm(comm, {"method": "custom", "content": message})


def table(ran: Ran) -> str:
    """The sweep's table as text: what stands below it, to choose two rows, has none."""
    return [shown for shown in ran.shown if shown][-1]


def test_a_sweep_asks_under_every_combination_and_shows_them_side_by_side(any_kernel: Kernel) -> None:
    open_session(any_kernel, "*['one', 'two', 'three', 'four']")
    ran = fine(
        any_kernel.run('%session sweep tone=friendly,terse depth=1,3 --message "Who are you?" --as found')
    )
    assert "4 model calls at least (tools ask for more), ≈" in ran.text
    lines = table(ran).splitlines()
    assert lines[1].split()[:4] == ["#", "tone", "depth", "context"]
    assert [line.split()[1:3] for line in lines[2:6]] == [
        ["friendly", "1"], ["friendly", "3"], ["terse", "1"], ["terse", "3"],
    ]  # fmt: skip
    assert "+ You are terse, 1 deep." in table(ran)
    assert fine(any_kernel.run("print(len(found), found[3].text != '')")).text == "4 True\n"
    assert fine(any_kernel.run(f"print(len({CURRENT}.timeline), len({CURRENT}.ticks))")).text == "0 0\n"


def test_an_interrupt_stops_a_sweep_and_what_was_answered_stays(any_kernel: Kernel) -> None:
    open_session(any_kernel, "'Primus', *[['Well, ', pause()]] * 9")
    cell = any_kernel.start('%session sweep tone=terse --repeat 8 --message "Go." --as found')
    any_kernel.until_text(cell, "Primus")
    began = time.monotonic()
    any_kernel.interrupt()
    ran = any_kernel.finish(cell)
    assert time.monotonic() - began < 2
    assert one_line(ran) == "SessionInterrupted: stopped by the interrupt; what came is kept"
    assert "Primus" in table(ran)
    assert "not asked" in table(ran)
    assert fine(any_kernel.run("print(found[0].text, found.done)")).text == "Primus True\n"


def test_the_notebooks_loop_is_free_while_a_sweep_runs(any_kernel: Kernel) -> None:
    fine(
        any_kernel.run("""
import threading
@tool
async def where() -> str:
    "Say where it runs."
    await asyncio.sleep(0)
    return threading.current_thread().name
bot = App(Echo, model=ScriptedModel(call("where"), "done"), tools=[where])
%session new bot
""")
    )
    fine(any_kernel.run('%session sweep --repeat 1 tone=terse --message "where?" --as found'))
    fine(any_kernel.run("bot.model.responses = (*bot.model.responses, call('where'), 'done')"))
    blocked = 'for _ in range(1):\n    %session sweep tone=terse --message "where?" --as blocked'
    fine(any_kernel.run(blocked))
    names = fine(
        any_kernel.run("print(*[s[0].result.tool_calls[0].result.text for s in (found, blocked)])")
    ).text
    assert names == "MainThread nbsession\n"


def test_stop_on_the_page_stops_it_and_rows_fill_in_as_they_come(kernel: Kernel) -> None:
    open_session(kernel, "'**first**', *[['Well, ', pause()]] * 9")
    id_ = kernel.start('%session sweep --repeat 8 --message "Go."')
    comm = page_of(kernel, id_)
    say(kernel, comm, k="hello", me="me")
    kernel.until(lambda m: m["content"].get("comm_id") == comm and "<strong>first" in str(m["content"]))
    kernel.until(
        lambda m: m["content"].get("comm_id") == comm and "1 of 8 answered, 4 under way" in str(m["content"])
    )
    say(kernel, comm, k="stop")
    ran = kernel.finish(id_)
    assert one_line(ran) == "SessionInterrupted: stopped by the user; what came is kept"
    (static,) = ran.of("update_display_data")
    assert "<strong>first" in static["data"]["text/html"]
    assert "data-do=stop" not in static["data"]["text/html"]
    assert "stopped by the user, 3 not asked" in static["data"]["text/plain"]


def test_without_a_message_the_last_one_is_asked_again(kernel: Kernel) -> None:
    open_session(kernel, "'hi', 'a', 'b'")
    said = one_line(kernel.run("%session sweep tone=friendly,terse"))
    assert said.endswith('has no message to ask again yet; give one: %session sweep … --message "…"')
    fine(kernel.run("%%session\nWho are you?"))
    ran = fine(kernel.run("%session sweep tone=friendly,terse --as found"))
    assert "“Who are you?”" in table(ran)
    texts = fine(
        kernel.run("print([e.text for e in found[1].session.timeline][0], len(found[1].session.timeline))")
    )
    assert texts.text == "Who are you? 2\n"


def test_contexts_alone_are_shown_and_nothing_is_sent(kernel: Kernel) -> None:
    open_session(kernel, "'never'")
    ran = fine(kernel.run('%session sweep depth=1,2,3 --message "Hi" --context-only --as found'))
    assert "nothing was sent; sending would take 3 model calls at least" in table(ran)
    assert "depth = 3" in table(ran)
    assert fine(kernel.run("print(len(bot.model.contexts), len(found))")).text == "0 3\n"


def test_max_cost_bounds_all_rows_together(kernel: Kernel) -> None:
    fine(
        kernel.run("""
from nbsession.usage.prices import set_price
class Priced(ScriptedModel):
    name = "somebody:priced"
set_price("somebody:priced", input=1_000_000, output=0)  # a US dollar each token
bot = App(Echo, model=Priced(*["ok"] * 6))
%session new bot
""")
    )
    ran = fine(kernel.run('%session sweep --repeat 6 --message "Hi" --max-cost 30 --as found'))
    assert "stopped by the budget" in table(ran)
    assert "pass the sweep's budget of $30.0000" in table(ran)
    spent = fine(kernel.run("print(0 < found.cost <= 30, 0 < sum(row.text == 'ok' for row in found) < 6)"))
    assert spent.text == "True True\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "",
            "SessionError: %session sweep needs a knob with its values, knob=a,b (here: tone, depth), or --repeat N",
        ),
        ("tone", "SessionError: a knob is swept as tone=a,b"),
        ("tune=terse", "KnobError: no knob is named 'tune'; did you mean 'tone'?"),
        ("tone=terse,rude", "KnobError: knob 'tone' must be one of 'friendly', 'terse', got 'rude'"),
        ("depth=1,x", "KnobError: knob 'depth' must be a whole number, got 'x'"),
        ("depth=1,9", "KnobError: knob 'depth' must be between 1 and 5, got 9"),
        ("depth=1,1", "KnobError: knob 'depth' has the value 1 twice"),
        ("depth=1 --repeat 0", "SessionError: --repeat takes a whole number from 1, got '0'"),
        ("depth=1 --repeat 2000", "SessionError: the sweep would have 2,000 rows"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_sent(kernel: Kernel, line: str, says: str) -> None:
    open_session(kernel, "'never'")
    assert one_line(kernel.run(f'%session sweep {line} --message "Hi"')).startswith(says)
    assert fine(kernel.run("print(len(bot.model.contexts))")).text == "0\n"


def test_a_sweep_may_stand_between_other_lines_and_in_a_text_it_is_only_text(kernel: Kernel) -> None:
    open_session(kernel, "'one', 'two'")
    ran = fine(
        kernel.run(
            'text = """\n%session sweep\n"""\n'
            '%session sweep tone=terse \\\n  --message "Hi" --as one\n'
            "print(text.strip(), len(one))\n"
        )
    )
    assert "%session sweep 1" in ran.text


def test_a_sweep_at_the_end_of_a_cell_shows_itself(kernel: Kernel) -> None:
    open_session(kernel, "'one', 'two'")
    ran = fine(kernel.run(f"await {CURRENT}.sweep('Hi', tone=['friendly', 'terse'])"))
    (shown,) = ran.of("execute_result")
    assert "Sweep of session" in shown["data"]["text/plain"]
    assert "<table class=grid>" in shown["data"]["text/html"]


def test_knobs_and_their_values_are_completed(kernel: Kernel) -> None:
    open_session(kernel, "'one'")
    complete = (
        "from nbsession.notebook.completion import complete; sessions = get_ipython().nbsession.sessions"
    )
    fine(kernel.run(complete))
    asked = {
        "%session sweep ": "['tone=', 'depth=', '--message', ",
        "%session sweep to": "['tone=']",
        "%session sweep tone=terse d": "['depth=']",
        "%session sweep tone=": "['tone=friendly', 'tone=terse']",
        "%session sweep tone=friendly,": "['tone=friendly,terse']",
        "%session sweep depth=": "[]",
        "%session sweep tone=terse --c": "['--context-only']",
        "%session sw": "['sweep']",
    }
    for line, begins in asked.items():
        found = fine(kernel.run(f"print(complete(sessions, {line!r}))")).text
        assert found.startswith(begins), line


def test_frozen_knobs_are_a_panel_without_a_widget_and_text_where_it_is_none(kernel: Kernel) -> None:
    open_session(kernel, "*['one', 'two', 'three', 'four']")
    ran = fine(kernel.run("%session knobs --freeze tone=terse,friendly depth=1,2"))
    (shown,) = [content["data"] for content in ran.of("display_data")]
    assert set(shown) == {"text/html", "text/plain"}
    assert shown["text/plain"].startswith("tone = 'friendly', depth = 1: ≈")
    assert "You are friendly, 1 deep." in shown["text/plain"]
    html, _, data = shown["text/html"].partition('<script type="application/json">')
    assert "You are friendly, 1 deep." in html
    assert "You are terse, 2 deep." in data
    refused = kernel.run("%session knobs tone=terse")
    assert one_line(refused) == (
        "SessionError: %session knobs shows them; set one by its control, or in Python: session.knobs['tone'] = 'terse'; "
        "what they would change, without a kernel: %session knobs --freeze tone=terse"
    )
    fine(kernel.run(f"panel = {CURRENT}.freeze(depth=[1, 2])"))
    assert "You are friendly, 1 deep." in fine(kernel.run("panel")).shown[-1]


def test_a_session_is_exported_and_a_file_that_is_there_stays(kernel: Kernel, tmp_path: Path) -> None:
    open_session(kernel, "'one', 'two'", "--id exported")
    assert one_line(kernel.run("%session export 'demo.html'")).startswith(
        "SessionError: session 'exported' has no message"
    )
    fine(kernel.run("%%session\nHi"))
    path = tmp_path / "my demo.html"
    ran = fine(kernel.run(f"%session export '{path}'"))
    assert ran.text == f"session 'exported' is written to {path}\n"
    assert "default-src" in path.read_text("utf-8")
    path.write_text("mine", "utf-8")
    assert "is there already; give another name, or force=True (--force)" in one_line(
        kernel.run(f"%session export '{path}'")
    )
    assert path.read_text("utf-8") == "mine"
    fine(kernel.run(f"%session export '{path}' --force"))
    assert one_line(kernel.run("%session export demo.docx")).startswith(
        "SessionError: 'demo.docx' ends with '.docx'"
    )
    fine(kernel.run(f"%session export '{tmp_path}/demo.py'"))
    script = (tmp_path / "demo.py").read_text("utf-8")
    assert "def Echo():" in script
    assert "App(Echo, " in script


TERMINAL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors='nocolor')
for cell in {cells!r}:
    shell.run_cell(cell)
"""


def in_a_terminal(*cells: str, typed: str = "") -> str:
    """Run cells in plain IPython in a terminal of 100 columns, and return what was written to it."""
    ours, theirs = pty.openpty()
    program = TERMINAL.format(cells=cells)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "TERM": "xterm"}
    running = subprocess.Popen(
        [sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    os.write(ours, typed.encode())  # the terminal keeps it until somebody reads
    written = bytearray()
    with contextlib.suppress(OSError):  # how Linux tells that the other end is closed
        while read := os.read(ours, 4096):
            written += read
    os.close(ours)
    assert running.wait(30) == 0
    return written.decode("utf-8")


def test_a_terminal_shows_how_far_a_sweep_is_in_one_line_that_is_written_anew() -> None:
    written = in_a_terminal(
        SETUP + AGENT + "bot = app(*['one', 'two', 'three'])",
        "%session new bot",
        "%session sweep tone=friendly,terse --message Go",
    )
    before, *states = re.findall(r"\r([^\r\n]*)\x1b\[K", written)
    assert before == "0 of 2 answered"  # said before anything is sent, however fast the answers come
    assert any(state.startswith("2 of 2 answered · 2 model calls · ") for state in states)
    assert all("tokens in" in state and "cost" in state for state in states[:-1])
    assert states[-1] == ""  # the line is free for the table
    assert all(len(state) < 100 for state in states)
    assert written.count("Sweep of session") == 1


def test_without_a_terminal_no_progress_is_written() -> None:
    printed = subprocess.run(
        [
            sys.executable,
            "-c",
            TERMINAL.format(
                cells=[
                    SETUP + AGENT + "bot = app('one', 'two')",
                    "%session new bot",
                    "%session sweep tone=friendly,terse --message Go",
                ]
            ),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert "Sweep of session" in printed
    assert "\r" not in printed
    assert "\x1b" not in printed


def test_stop_ends_a_sweep_that_nobody_waits_for(kernel: Kernel) -> None:
    open_session(kernel, "*[['Well, ', pause()]] * 9", "--id swept-1")
    fine(kernel.run(f"sweep = {CURRENT}.sweep('Go.', repeat=3)"))
    assert fine(kernel.run("%session stop")).text == "stopped a sweep of 'swept-1'\n"
    assert fine(kernel.run("await sweep; print(sweep.reason)")).text == "stopped by the user\n"


def test_running_a_sweeps_cell_again_closes_the_rows_of_the_first(kernel: Kernel) -> None:
    fine(
        kernel.run("""
import gc
opened = []
@component
def Holding():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    def hold():
        opened.append(tone)
        return lambda: opened.remove(tone)
    use_effect(hold, [tone])
    return [System("You hold on."), Timeline()]
bot = App(Holding, model=ScriptedModel(*["ok"] * 9))
%session new bot
""")
    )
    for _ in range(3):
        fine(kernel.run('%session sweep tone=friendly,terse --message "Hi" --as found'))
    # What is collected here is closed on the engine's loop, in turn.
    closing = "gc.collect(); get_ipython().nbsession.sessions.current.knobs.values(); "
    fine(kernel.run(f"{closing}await asyncio.sleep(0)"))
    assert fine(kernel.run(f"{closing}print(sorted(opened))")).text == "['friendly', 'terse']\n"


def test_the_help_names_it(kernel: Kernel) -> None:
    assert re.search(
        r"%session sweep \[KNOB=A,B…\] +ask one message under", fine(kernel.run("%session help")).text
    )
