"""``%session connect`` in a real kernel: cells that speak to a server's session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nbsession.testing import call, pause
from tests.client.conftest import TOKEN, serving
from tests.notebook.kernels import Kernel, Ran, running_kernel
from tests.server.conftest import notepad

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as kernel:
        fine(kernel.run(f"%load_ext nbsession\nimport os; os.environ['NBSESSION_TOKEN'] = {TOKEN!r}"))
        yield kernel


def fine(ran: Ran) -> Ran:
    assert ran.error is None, "\n".join(ran.error["traceback"])
    return ran


def test_cells_speak_to_the_servers_session_and_its_contexts_are_shown(kernel: Kernel) -> None:
    app = notepad([call("add_note", note="buy milk")], "Noted it.", "And more.", "Forked.")
    with serving(app) as server:
        made = fine(kernel.run(f"%session connect {server.url} --id shop --name far"))
        assert f"session 'shop' (Notepad) at {server.url} begins" in made.text
        answered = fine(kernel.run("%%session --as said\nRemember the milk."))
        assert "Noted it." in answered.shown[-1]
        assert "add_note" in answered.shown[-1]
        assert "2" in fine(kernel.run("print(len(said.ticks), said.text)")).text
        assert "buy milk" in fine(kernel.run("%session context")).shown[-1]
        assert "Remember the milk." in fine(kernel.run("%session context 0")).shown[-1]
        assert "add_note" in fine(kernel.run("%session ticks")).shown[-1]
        assert "friendly" in fine(kernel.run("%session knobs")).shown[-1]
        assert "And now" in fine(kernel.run("%%session --dry-run\nAnd now?")).shown[-1]
        assert "far (shop)" in fine(kernel.run("%session list")).shown[-1]
        assert "2 ticks" in fine(kernel.run("%session use far")).text
        assert "And more." in fine(kernel.run("%%time\n%%session far\nAgain?")).shown[-1]
        fine(kernel.run("%session fork 0 --name other"))
        assert "Forked." in fine(kernel.run("%%session other\nElse?")).shown[-1]
        assert len(app.opened["shop"].ticks) == 3
        again = fine(kernel.run(f"%session connect {server.url} --id shop --name far"))
        sent = [f"≈{tick.context.tokens:,}" for tick in app.opened["shop"].ticks]
        ticks = fine(kernel.run("%session ticks")).shown[-1]
        assert all(tokens in ticks for tokens in sent)
        assert "goes on after 3 ticks" in again.text


def test_what_works_on_the_tree_itself_says_that_the_tree_is_elsewhere(kernel: Kernel) -> None:
    with serving(notepad("one")) as server:
        fine(kernel.run(f"%session connect {server.url}"))
        for command in ("tree", "check", "export x.html", "history", "context --cache", "reset"):
            ran = kernel.run(f"%session {command}")
            assert ran.error is not None, command
            assert ran.error["ename"] == "SessionError"
            assert f"which is at {server.url}" in ran.error["evalue"], command
            assert len(ran.error["traceback"]) == 1


MOVED = """
import asyncio
from nbsession.notebook.panels.knobs import Panel

panel = Panel(get_ipython().nbsession.sessions.current)
panel.follow()
panel.controls["tone"].index = 1
while "terse assistant" not in panel.preview:
    await asyncio.sleep(0.01)
print(panel.preview)
panel.close()
"""


def test_a_knob_is_set_there_and_the_panel_shows_what_it_changes(kernel: Kernel) -> None:
    app = notepad("one")
    with serving(app) as server:
        fine(kernel.run(f"%session connect {server.url} --id s --name knobs"))
        shown = fine(kernel.run(MOVED))
        assert "system" in shown.text
        assert app.opened["s"].knobs["tone"] == "terse"


def test_the_interrupt_stops_what_runs_at_the_server(kernel: Kernel) -> None:
    held = pause()
    app = notepad(["so far ", held, "never"])
    with serving(app) as server:
        fine(kernel.run(f"%session connect {server.url} --id s --name stops"))
        started = kernel.start("%%session\nGo.")
        assert held.reached.wait(20)
        kernel.interrupt()
        ran = kernel.finish(started)
        assert ran.error is not None
        assert ran.error["ename"] == "SessionInterrupted"
        assert str(app.opened["s"].executions[-1].outcome.result(10).stop_reason) == "aborted"


def test_a_server_that_is_not_there_is_told_in_one_line_without_the_token(kernel: Kernel) -> None:
    ran = kernel.run(f"%session connect http://127.0.0.1:1 --token {TOKEN}")
    assert ran.error is not None
    assert "no server answers at http://127.0.0.1:1" in ran.error["evalue"]
    assert TOKEN not in str(ran.error)
    assert len(ran.error["traceback"]) == 1
