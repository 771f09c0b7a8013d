"""``%session connect`` in a real kernel: cells that speak to a server's session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nbsession.client import Client
from nbsession.notebook.forms import COMMANDS
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


OWN_TREE = [
    "predict tool=add_note",
    "check",
    "bisect 'no' in tick.text",
    "explain 0",
    "break",
    "break on tool=add_note",
    "continue",
    "tree",
    "history",
    "export x.html",
    "reset",
    "resume other",
    "knobs --freeze",
    "context --cache",
    "context --json",
    "context --without Notepad",
    "fork --without Notepad",
    "sweep tone=friendly,terse",
    "sweep tone=friendly,terse --message hi --context-only",
    "experiment cases tone=friendly,terse",
    "experiment cases tone=friendly,terse --plan",
]


def test_what_works_on_the_tree_itself_says_that_the_tree_is_elsewhere_and_what_to_do(kernel: Kernel) -> None:
    with serving(notepad("one")) as server:
        fine(kernel.run(f"%session connect {server.url}\ncases = ['hi']"))
        fine(kernel.run("%%session\nHello."))
        for command in OWN_TREE:
            ran = kernel.run(f"%session {command}")
            assert ran.error is not None, command
            assert ran.error["ename"] == "SessionError", command
            said = ran.error["evalue"]
            assert f"works on the session's own tree, which is at {server.url}; " in said, command
            assert len(ran.error["traceback"]) == 1, command
        assert "%session fork 0 --before" in str(kernel.run("%session reset").error)


def test_every_other_command_works_from_afar_or_says_in_a_line_why_it_does_not(kernel: Kernel) -> None:
    app = notepad("one", "two", "three", "four")
    with serving(app) as server:
        fine(kernel.run(f"%session connect {server.url} --id s --name all"))
        fine(kernel.run("%%session all\nHello."))
        fine(kernel.run("%%session all\nAnd?"))
        covered = {command.split()[0] for command in OWN_TREE}
        lines = {
            "use all": "2 ticks",
            "model": "the server's model",
            "model simulated": "model simulated, as the server at",
            "knobs": "",
            "context 1 --diff 0": "",
            "compare all": "",
            "waiting": "nothing waits",
            "stop": "nothing runs",
            "inspect": "",
            "ticks": "",
            "list": "",
            "help": "",
            "serve --stop": "nothing is served",
            "fork 0": "after tick 0",
        }
        refused = {
            "answer": "waits for no answer",
            "answer qu_1 yes": "has no question 'qu_1'",
            "context 7": "has no tick 7",
            "open nothing.json": "cannot be read",
            "new Nothing": "nothing is named 'Nothing'",
            "connect nowhere": "",
        }
        for command, said in lines.items():
            assert said in fine(kernel.run(f"%session {command}")).text, command
            covered.add(command.split()[0])
        for command, said in refused.items():
            ran = kernel.run(f"%session {command}")
            assert ran.error is not None, command
            assert said in ran.error["evalue"], command
            assert len(ran.error["traceback"]) == 1, command
            covered.add(command.split()[0])
        assert covered == set(COMMANDS)


def test_what_another_client_did_is_shown_and_a_model_that_is_chosen_is_the_servers(kernel: Kernel) -> None:
    app = notepad("one")
    with serving(app) as server, Client(server.url, token=TOKEN) as client:
        fine(kernel.run(f"%session connect {server.url} --id s --name shared"))
        client.session("s").run("Hello from elsewhere.")
        assert "1 model call" in fine(kernel.run("%session ticks")).shown[-1]
        assert "Hello from elsewhere." in fine(kernel.run("%session context")).shown[-1]
        fine(kernel.run("%session model simulated"))
        fine(kernel.run("%%session shared\nhi"))
        assert [tick.source for tick in app.opened["s"].ticks] == ["simulated", "simulated"]
        assert [tick.asked for tick in app.opened["s"].ticks] == ["scripted", "simulated"]


def test_what_another_client_began_is_stopped(kernel: Kernel) -> None:
    held = pause()
    app = notepad(["so far ", held, "never"])
    with serving(app) as server, Client(server.url, token=TOKEN) as client:
        fine(kernel.run(f"%session connect {server.url} --id s --name begun"))
        execution = client.session("s").send("Go.")
        assert held.reached.wait(20)
        assert "stopped 's'" in fine(kernel.run("%session stop")).text
        assert execution.result.stop_reason == "aborted"


def test_a_session_that_is_here_is_served_beside_one_of_a_server_and_may_have_its_id(kernel: Kernel) -> None:
    with serving(notepad("one")) as server:
        alone = kernel.run(f"%session connect {server.url} --id same --name there\n%session serve --port 0")
        assert alone.error is not None
        assert "needs a session that is here" in alone.error["evalue"]
        fine(kernel.run(HERE))
        fine(kernel.run("%session new Agent --id same --name here"))
        assert "serves Agent" in fine(kernel.run("%session serve --port 0")).text
        fine(kernel.run("%session serve --stop"))
        assert "at http" in fine(kernel.run("%session use there")).text


HERE = """
from nbsession import System, Timeline, component

@component
def Agent():
    return System("Help."), Timeline()
"""

INSPECTED = """
import re
from nbsession.notebook.panels.inspector import Inspector

sessions = get_ipython().nbsession.sessions
panel = Inspector(sessions.current)

async def at(tick):
    panel.hear({"k": "go", "tick": tick})
    return re.sub("<[^>]+>", " ", panel.html())

for tick in range(3):
    print(tick, sessions.engine.submit(at(tick)).result())
"""


def test_the_inspector_shows_what_was_sent_from_elsewhere_and_would_be_sent_now(kernel: Kernel) -> None:
    app = notepad([call("add_note", note="buy milk")], "Noted it.")
    with serving(app) as server, Client(server.url, token=TOKEN) as client:
        client.create("s").run("Remember the milk.")
        fine(kernel.run(f"%session connect {server.url} --id s --name inspected"))
        fine(kernel.run("%session inspect"))
        seen = fine(kernel.run(INSPECTED)).text
        assert seen.count("Remember the milk.") >= 3
        assert "Would be sent" in seen
        assert f"its components are at {server.url}" in seen
        assert "Traceback" not in seen


DESK = """
import asyncio, re
from nbsession.notebook.view.desk import Desk

sessions = get_ipython().nbsession.sessions
session = sessions.current
replied = asyncio.Queue()
desk = Desk(sessions)
desk.widget.send = lambda content, buffers=None: replied.put_nowait(content["html"])
print(desk.knows(session))

async def forked():
    desk.answer({"k": "fork", "n": 1, "of": session.id, "tick": 0})
    return await replied.get()

async def code():
    return desk.answer({"k": "python", "n": 2, "of": session.id, "tick": 0})

told = sessions.engine.submit(forked()).result()
print(re.sub("<[^>]+>", " ", told))
from html import unescape
written = unescape(re.search("<textarea[^>]*>(.*)</textarea>", sessions.engine.submit(code()).result(), re.DOTALL)[1])
get_ipython().run_line_magic("session", "use " + re.search("%session use (\\S+)<", told)[1])
"""


def test_the_buttons_under_a_tick_fork_at_the_server_and_write_python_that_asks_there(kernel: Kernel) -> None:
    app = notepad([call("add_note", note="buy milk")], "Noted it.", "Else.", "Again.")
    with serving(app) as server:
        fine(kernel.run(f"%session connect {server.url} --id s --name buttons"))
        fine(kernel.run("%%session\nRemember the milk."))
        told = fine(kernel.run(DESK)).text
        assert " data-far" in told
        assert "A copy of session s after tick 0 was made." in told
        assert "Else." in fine(kernel.run("%%session\nGo on.")).shown[-1]
        (fork,) = [session for name, session in app.opened.items() if name != "s"]
        assert fork.parent == "s"
        written = fine(kernel.run("print(written)")).text
        assert fine(kernel.run(written)).text == "Again.\n"


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
