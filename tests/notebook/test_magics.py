"""``%%session`` and ``%session`` in a real kernel: what a user types, sees, and can stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.notebook.kernels import OLDER, Kernel, Ran, older_ipykernel, running_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETUP = """
%load_ext nbsession
import asyncio
from nbsession import *
from nbsession.testing import ScriptedModel, call, pause

@component
def Echo():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    return [System(f"You are {tone}."), Timeline()]

def app(*responses):
    return App(Echo, model=ScriptedModel(*responses))
"""

CURRENT = "get_ipython().nbsession.sessions.current"


@pytest.fixture(scope="module", params=[*OLDER, "installed"])
def any_kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    version: str = request.param
    folder = older_ipykernel(version) if version != "installed" else None
    with running_kernel(folder, XDG_DATA_HOME=str(tmp_path_factory.mktemp("data"))) as kernel:
        fine(kernel.run(SETUP))
        yield kernel


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with running_kernel(XDG_DATA_HOME=str(tmp_path_factory.mktemp("data"))) as kernel:
        fine(kernel.run(SETUP))
        yield kernel


def fine(ran: Ran) -> Ran:
    assert ran.error is None, "\n".join(ran.error["traceback"])
    return ran


def one_line(ran: Ran) -> str:
    """The error of a cell, which must be shown in one line without a traceback."""
    assert ran.error is not None
    (line,) = ran.error["traceback"]
    assert "\n" not in line
    return str(line)


def open_session(kernel: Kernel, responses: str, options: str = "") -> None:
    fine(kernel.run(f"bot = app({responses})"))
    fine(kernel.run(f"%session new bot {options}"))


# Sending, on every ipykernel


def test_a_cell_sends_its_text_and_shows_the_answer(any_kernel: Kernel) -> None:
    open_session(any_kernel, "'Hello, Ryan.'")
    ran = fine(any_kernel.run("%%session --as answer\nMy name is Ryan."))
    assert "Hello, Ryan." in ran.shown[-1]
    assert fine(any_kernel.run("print(answer.text, answer.stop_reason)")).text == "Hello, Ryan. end_turn\n"


def test_the_message_reaches_the_model_as_it_was_written(any_kernel: Kernel) -> None:
    body = "quotes ' \" ''', braces {x}, a \\ backslash\n\n    indented, and $PATH\n%time"
    open_session(any_kernel, "'ok'")
    fine(any_kernel.run(f"%%session\n{body}\n"))
    assert fine(any_kernel.run("print(bot.model.contexts[0].messages[-1])")).text.strip().endswith(body)


def test_an_expression_stands_for_what_it_gives_and_raw_leaves_it(any_kernel: Kernel) -> None:
    open_session(any_kernel, "'ok', 'ok'", "--as talk")
    fine(any_kernel.run("import pandas as pd\ndf = pd.DataFrame({'city': ['Basel', 'Bern']})"))
    fine(any_kernel.run("%%session\nThere are {{len(df)}} of {single}: {{df}}"))
    said = fine(any_kernel.run("print(bot.model.contexts[0].messages[-1])")).text
    assert "There are 2 of {single}: " in said
    assert "| Basel |" in said
    kept = fine(any_kernel.run("print(talk.timeline[0].metadata['inserted'])")).text
    assert kept.strip() == "[['len(df)', ''], ['df', '2 rows']]"
    fine(any_kernel.run("%%session --raw\nAs it is: {{len(df)}}"))
    assert "{{len(df)}}" in fine(any_kernel.run("print(bot.model.contexts[1].messages[-1])")).text


def test_an_expression_is_not_worked_out_for_a_session_a_tick_or_a_model_that_is_not_there(
    kernel: Kernel,
) -> None:
    open_session(kernel, "'ok'")
    fine(kernel.run("worked = []"))
    assert kernel.run("%%session nobody\n{{worked.append(1)}}").error is not None
    assert "there is no tick 7" in one_line(kernel.run("%%session --fork 7\n{{worked.append(1)}}"))
    assert "nowhere" in one_line(kernel.run("%%session --model nowhere:x\n{{worked.append(1)}}"))
    assert fine(kernel.run("print(worked)")).text.strip() == "[]"


def test_an_expression_that_raises_sends_nothing(any_kernel: Kernel) -> None:
    open_session(any_kernel, "'ok'", "--as talk")
    ran = any_kernel.run("%%session\n{{nowhere}}")
    assert ran.error is not None
    assert "{{nowhere}} raised NameError" in ran.error["evalue"]
    assert fine(any_kernel.run("print(len(talk.timeline))")).text.strip() == "0"


def test_leading_blanks_and_comments_stand_before_the_magic(any_kernel: Kernel) -> None:
    open_session(any_kernel, "'one'")
    assert "one" in fine(any_kernel.run("\n\n# ask it\n\n%%session\nHi")).shown[-1]


@pytest.mark.parametrize("around", ["%%time", "%%capture captured"])
def test_a_cell_within_a_cell_blocks_and_works(any_kernel: Kernel, around: str) -> None:
    open_session(any_kernel, "'inner'")
    ran = fine(any_kernel.run(f"{around}\n%%session --as answer\nHi"))
    assert ran.error is None
    assert fine(any_kernel.run("print(answer.text)")).text == "inner\n"


def test_a_cell_works_without_autoawait(any_kernel: Kernel) -> None:
    open_session(any_kernel, "'plain'")
    fine(any_kernel.run("%autoawait off"))
    try:
        assert "plain" in fine(any_kernel.run("%%session\nHi")).shown[-1]
    finally:
        any_kernel.run("%autoawait on")


@pytest.mark.parametrize("around", ["", "%%time\n"])
def test_an_interrupt_stops_in_one_line_and_keeps_what_came(any_kernel: Kernel, around: str) -> None:
    open_session(any_kernel, "['Well, ', pause(), 'never said'], 'Still here.'")
    cell = any_kernel.start(f"{around}%%session\nTell me a story.")
    any_kernel.until_text(cell, "Well,")
    began = time.monotonic()
    any_kernel.interrupt()
    ran = any_kernel.finish(cell)
    assert time.monotonic() - began < 2
    assert one_line(ran) == "SessionInterrupted: stopped by the interrupt; what came is kept"
    assert "Well," in ran.shown[-1]
    assert "Still here." in fine(any_kernel.run("%%session\nAre you there?")).shown[-1]
    statuses = fine(any_kernel.run(f"print([entry.status for entry in {CURRENT}.timeline])"))
    assert "interrupted" in statuses.text


def test_an_interrupt_reaches_an_async_tool_that_blocks_the_notebooks_loop(any_kernel: Kernel) -> None:
    fine(
        any_kernel.run("""
import threading
@tool
async def block() -> str:
    "Never come back."
    print("blocked", flush=True)
    threading.Event().wait(60)
bot = App(Echo, model=ScriptedModel(call("block"), "Still here."), tools=[block])
%session new bot
""")
    )
    cell = any_kernel.start("%%session\nBlock.")
    any_kernel.until(lambda message: "blocked" in str(message["content"].get("text", "")))
    began = time.monotonic()
    any_kernel.interrupt()
    ran = any_kernel.finish(cell)
    assert time.monotonic() - began < 2
    assert one_line(ran) == "SessionInterrupted: stopped by the interrupt; what came is kept"
    assert "Still here." in fine(any_kernel.run("%%session\nAre you there?")).shown[-1]


def test_an_async_tool_runs_on_the_notebooks_loop_or_where_that_is_blocked_on_the_engines(
    any_kernel: Kernel,
) -> None:
    fine(
        any_kernel.run("""
import threading
@tool
async def where() -> str:
    "Say where it runs."
    return threading.current_thread().name
bot = App(Echo, model=ScriptedModel(*[call("where"), "done"] * 3), tools=[where])
%session new bot
""")
    )
    fine(any_kernel.run("%%session --as free\nwhere?"))
    fine(any_kernel.run("%%time\n%%session --as blocked\nwhere?"))
    fine(any_kernel.run(f"run = {CURRENT}.run('where?')"))
    names = fine(any_kernel.run("print(*[r.tool_calls[0].result.text for r in (free, blocked, run)])")).text
    assert names == "MainThread nbsession nbsession\n"


# Options


def test_a_background_cell_returns_at_once_and_its_execution_can_be_awaited(kernel: Kernel) -> None:
    fine(kernel.run("gate = pause()"))
    open_session(kernel, "['a', gate, 'b']")
    fine(kernel.run("%%session --background --as later\nGo."))
    assert fine(kernel.run("print(later.status)")).text == "running\n"
    assert fine(kernel.run("gate.release(); print((await later).text)")).text == "ab\n"


def test_stop_ends_what_runs_in_the_background(kernel: Kernel) -> None:
    open_session(kernel, "['a', pause()]")
    fine(kernel.run("%%session --background --as later\nGo."))
    assert fine(kernel.run("%session stop")).text.startswith("stopped ")
    assert fine(kernel.run("print((await later).stop_reason)")).text == "aborted\n"
    assert fine(kernel.run("%session stop")).text == "nothing runs\n"


def test_a_dry_run_shows_the_context_with_the_message_and_sends_nothing(kernel: Kernel) -> None:
    open_session(kernel, "'never'")
    ran = fine(kernel.run("%%session --dry-run\nWould you?"))
    assert "Would you?" in ran.shown[-1]
    after = kernel.run(f"print(len(bot.model.contexts), len({CURRENT}.timeline))")
    assert fine(after).text == "0 0\n"


def test_a_steering_cell_speaks_to_the_running_execution(kernel: Kernel) -> None:
    fine(
        kernel.run("""
gate = pause()
@tool
def look() -> str:
    "Look."
    return "seen"
bot = App(Echo, model=ScriptedModel([gate, call("look")], "turned"), tools=[look])
%session new bot
""")
    )
    fine(kernel.run("%%session --background --as later\nGo left."))
    said = fine(kernel.run("%%session --steer\nNo, right.")).text
    assert said.endswith("the message goes into the running execution at its next tick\n")
    fine(kernel.run("gate.release(); await later"))
    assert fine(kernel.run("print(bot.model.contexts[-1].messages[-1])")).text.strip().endswith("No, right.")


def test_max_cost_is_told_to_the_session(kernel: Kernel) -> None:
    open_session(kernel, "'cheap'")
    fine(kernel.run("%%session --max-cost 0.5\nHi"))
    assert "--max-cost takes an amount" in one_line(kernel.run("%%session --max-cost 0\nHi"))


def test_max_ticks_ends_the_execution(kernel: Kernel) -> None:
    fine(
        kernel.run("""
@tool
def again() -> str:
    "Go on."
    return "more"
bot = App(Echo, model=ScriptedModel(call("again"), call("again")), tools=[again])
%session new bot
""")
    )
    fine(kernel.run("%%session --max-ticks 1 --as answer\nGo."))
    assert fine(kernel.run("print(answer.stop_reason, len(answer.ticks))")).text == "max_ticks 1\n"


def test_a_named_session_is_spoken_to_without_becoming_the_current_one(kernel: Kernel) -> None:
    open_session(kernel, "'from draft'", "--name draft")
    open_session(kernel, "'from final'", "--name final")
    assert "from draft" in fine(kernel.run("%%session draft\nHi")).shown[-1]
    assert "from final" in fine(kernel.run("%%session\nHi")).shown[-1]


def test_a_fork_is_sent_to_and_the_original_stays(kernel: Kernel) -> None:
    open_session(kernel, "'one', 'two'", "--name original")
    fine(kernel.run("%%session\nFirst"))
    assert "two" in fine(kernel.run("%%session --fork 0\nSecond")).shown[-1]
    lengths = "s = get_ipython().nbsession.sessions; print(len(s.get('original').timeline), len(s.current.timeline))"
    assert fine(kernel.run(lengths)).text == "2 4\n"


def test_a_models_name_may_be_a_variable(kernel: Kernel) -> None:
    open_session(kernel, "'not asked'")
    fine(kernel.run("other = ScriptedModel('from the other')"))
    assert "from the other" in fine(kernel.run("%%session --model other\nHi")).shown[-1]


def test_a_rerun_cell_takes_the_head_back_and_nothing_is_deleted(kernel: Kernel) -> None:
    open_session(kernel, "'1', '2', '3', '4'")
    fine(kernel.run("%%session\nfirst", cell="a"))
    fine(kernel.run("%%session\nsecond", cell="b"))
    fine(kernel.run("%%session\nfirst, again", cell="a"))
    fine(kernel.run(f"session = {CURRENT}"))
    texts = fine(kernel.run("print([e.text for e in session.timeline], len(session.timeline.all()))"))
    assert texts.text == "['first, again', '3'] 6\n"
    fine(kernel.run("%%session\nsecond", cell="b"))
    assert fine(kernel.run("print([e.text for e in session.timeline])")).text == (
        "['first, again', '3', 'second', '4']\n"
    )


# Confirmation


CONFIRM = """
done = []
@tool(confirm=True)
def delete(path: str) -> str:
    "Delete a file."
    done.append(path)
    return "deleted"
bot = App(Echo, model=ScriptedModel(call("delete", path="x"), "over"), tools=[delete])
%session new bot
"""


def test_where_nobody_can_be_asked_a_confirmation_is_denied_and_that_is_said(kernel: Kernel) -> None:
    fine(kernel.run(CONFIRM))
    ran = fine(kernel.run("%%session --as answer\nDelete x", allow_stdin=False))
    assert "denied: nobody can be asked here" in ran.text
    assert fine(kernel.run("print(done, answer.text)")).text == "[] over\n"


@pytest.mark.parametrize(("reply", "done"), [("y", "['x']"), ("n", "[]")])
def test_a_blocking_cell_asks_by_input(kernel: Kernel, reply: str, done: str) -> None:
    fine(kernel.run(CONFIRM))
    cell = kernel.start("%%time\n%%session\nDelete x", allow_stdin=True)
    prompt = kernel.client.get_stdin_msg(timeout=20)["content"]["prompt"]
    assert "delete" in prompt
    kernel.client.input(reply)
    fine(kernel.finish(cell))
    assert fine(kernel.run("print(done)")).text == f"{done}\n"


# Commands


def test_new_says_which_session_and_which_model(kernel: Kernel) -> None:
    fine(kernel.run("plain = App(Echo)"))
    assert fine(kernel.run("%session new plain --id who-1 --name me")).text == (
        "session 'who-1' (me) of plain begins; model simulated (rules, no language model)\n"
    )


def test_a_session_with_an_id_goes_on_after_a_restart_and_one_without_begins_afresh(tmp_path: Path) -> None:
    cells = ["%%session\nMy name is Ryan.", "%session list"]
    texts = []
    for _ in range(2):
        with running_kernel(XDG_DATA_HOME=str(tmp_path)) as kernel:
            fine(kernel.run(SETUP))
            opened = fine(kernel.run("%session new Echo --id user-123 --model simulated")).text
            for position, cell in enumerate(cells):
                fine(kernel.run(cell, cell=f"cell-{position}"))
            count = fine(kernel.run(f"print(len({CURRENT}.timeline))")).text
            fresh = fine(kernel.run("%session new Echo --model simulated")).text
            texts.append((opened, count, fresh))
    (first, count, fresh), (second, count_again, fresh_again) = texts
    assert "begins" in first
    assert "goes on after 2 entries" in second
    assert count == count_again == "2\n"  # the cell was run again, so the head went back
    assert "begins" in fresh
    assert "begins" in fresh_again


def test_a_stored_session_is_resumed_by_its_id(kernel: Kernel) -> None:
    fine(kernel.run("%session new Echo --id kept-one --model simulated"))
    fine(kernel.run("%%session\nHi"))
    fine(kernel.run(f"{CURRENT}.close()"))
    fine(kernel.run("%session new Echo --id other-one --model simulated"))
    assert "2 entries" in fine(kernel.run("%session resume kept-one")).text
    wrong = one_line(kernel.run("%session resume kept-oen"))
    assert wrong == (
        "SessionNotFoundError: no stored session has the id 'kept-oen'; did you mean 'kept-one'?"
    )


def test_an_app_without_a_store_keeps_a_session_that_has_an_id(kernel: Kernel) -> None:
    open_session(kernel, "'a', 'b'", "--id app-1")
    fine(kernel.run("%%session\nHi"))
    fine(kernel.run(f"{CURRENT}.close()"))
    assert "goes on after 2 entries" in fine(kernel.run("%session new bot --id app-1")).text


def test_the_same_id_in_one_kernel_is_the_same_session_also_after_the_component_was_defined_anew(
    kernel: Kernel,
) -> None:
    fine(kernel.run("%session new Echo --id again --model simulated"))
    fine(kernel.run("%%session\nHi"))
    fine(kernel.run("@component\ndef Echo():\n    return [System('Anew.'), Timeline()]"))
    assert "goes on after 2 entries" in fine(kernel.run("%session new Echo --id again")).text
    assert "Anew." in fine(kernel.run("%session context")).shown[-1]
    fine(kernel.run(SETUP.replace("%load_ext nbsession", "")))


def test_the_context_is_shown_and_compared_with_a_ticks(kernel: Kernel) -> None:
    open_session(kernel, "'ok'")
    fine(kernel.run("%%session\nHi"))
    fine(kernel.run(f"{CURRENT}.knobs['tone'] = 'terse'"))
    assert "You are terse." in fine(kernel.run("%session context --diff 0")).shown[-1]
    assert one_line(kernel.run("%session context --diff 7")).endswith("has no tick 7; it has ticks 0 to 0")


def test_knobs_are_shown(kernel: Kernel) -> None:
    open_session(kernel, "'ok'")
    assert "tone" in str(fine(kernel.run("%session knobs")).messages)


def test_ticks_tree_model_fork_and_reset(kernel: Kernel) -> None:
    open_session(kernel, "'ok', 'ok'", "--name root")
    assert "no ticks yet" in fine(kernel.run("%session ticks")).text
    fine(kernel.run("%%session\nHi"))
    assert "Hi" in fine(kernel.run("%session ticks")).shown[-1].splitlines()[2]
    assert "Echo  knob tone = 'friendly'" in fine(kernel.run("%session tree")).shown[-1]
    assert "model scripted" in fine(kernel.run("%session model")).text
    assert "is a copy of" in fine(kernel.run("%session fork 0 --name side")).text
    assert "its 2 entries are kept" in fine(kernel.run("%session reset")).text
    assert "model simulated" in fine(kernel.run("%session model simulated")).text
    listed = fine(kernel.run("%session list")).shown[-1]
    assert "root" in listed
    assert any(line.startswith("*") and "side" in line for line in listed.splitlines())


def test_the_inspector_is_a_widget_and_its_static_form_by_magic_and_from_python(kernel: Kernel) -> None:
    open_session(kernel, "'one', 'two'")
    fine(kernel.run("%%session\nfirst"))
    for code in ("%session inspect", f"import nbsession.notebook; nbsession.notebook.inspect({CURRENT})"):
        widget, static = [message["data"] for message in fine(kernel.run(code)).of("display_data")]
        assert "application/vnd.jupyter.widget-view+json" in widget
        assert set(static) == {"text/html", "text/plain"}
        assert "first" in static["text/html"]
        assert "one" in static["text/plain"]


def test_an_old_ticks_context_is_viewed_and_compared_with_another(kernel: Kernel) -> None:
    open_session(kernel, "'one', 'two'")
    fine(kernel.run("%%session\nfirst"))
    fine(kernel.run("%%session\nsecond"))
    seen = fine(kernel.run("%session context 0")).shown[-1]
    assert "first" in seen
    assert "second" not in seen
    compared = fine(kernel.run("%session context 1 --diff 0"))
    (bundle,) = [message["data"] for message in compared.of("display_data")]
    assert "What was sent at tick 1, compared with tick 0" in bundle["text/html"]
    assert one_line(kernel.run("%session context 7")).endswith("has no tick 7; it has ticks 0 to 1")
    assert one_line(kernel.run("%session context first")) == (
        "SessionError: %session context takes a tick's number, got 'first'"
    )


def test_a_fork_from_before_a_tick_is_bound_to_a_variable_and_run_again(kernel: Kernel) -> None:
    open_session(kernel, "'one', 'another'", "--name root")
    fine(kernel.run("%%session\nHi"))
    said = fine(kernel.run("%session fork 0 --before --id again-1 --as again")).text
    assert "as tick 0 was compiled, before its call" in said
    ran = fine(
        kernel.run(
            f"root = get_ipython().nbsession.sessions.get('root')\n"
            f"assert again is {CURRENT} and again.compile().hash == root.ticks[0].context.hash\n"
            "print((await again.render()).text, again.id)"
        )
    )
    assert ran.text == "another again-1\n"
    assert "needs a tick" in one_line(kernel.run("%session fork --before"))
    assert "there is a session 'again-1' already" in one_line(kernel.run("%session fork 0 --id again-1"))


def test_running_a_forks_cell_again_goes_on_in_the_same_fork(kernel: Kernel) -> None:
    open_session(kernel, "'one', 'two', 'three'", "--id forked-again")
    fine(kernel.run("%%session\nHi"))
    first = fine(kernel.run("%session fork 0 --id forked-again-1")).text
    assert first == (
        "session 'forked-again-1', now the current one, is a copy of 'forked-again' after tick 0\n"
    )
    fine(kernel.run("%%session\nAnd now?"))
    fine(kernel.run("%session use forked-again"))
    again = fine(kernel.run("%session fork 0 --id forked-again-1")).text
    assert again == first.replace("tick 0", "tick 0; it goes on after 4 entries")
    fine(kernel.run("%session use forked-again"))
    other = one_line(kernel.run("%session fork 0 --before --id forked-again-1"))
    assert "there is a session 'forked-again-1' already" in other


def test_a_cell_that_forks_says_which_session_it_went_to(kernel: Kernel) -> None:
    open_session(kernel, "'one', 'two'", "--id spoken-1")
    fine(kernel.run("%%session\nHi"))
    ran = fine(kernel.run("%%session --fork 0\nAnd now?"))
    assert ran.text.endswith(", now the current one, is a copy of 'spoken-1' after tick 0\n")


def test_a_new_kernel_lists_what_was_kept_and_makes_no_file_for_that(tmp_path: Path) -> None:
    with running_kernel(XDG_DATA_HOME=str(tmp_path)) as kernel:
        fine(kernel.run(SETUP))
        assert fine(kernel.run("%session list")).text == "no sessions yet: %session new COMPONENT\n"
        assert not list(tmp_path.rglob("*.db"))
        fine(kernel.run("%session new Echo --id kept-over --model simulated"))
        fine(kernel.run("%%session\nHi"))
    with running_kernel(XDG_DATA_HOME=str(tmp_path)) as kernel:
        fine(kernel.run(SETUP))
        listed = fine(kernel.run("%session list")).shown[-1]
        assert "0 sessions open · 1 more stored" in listed
        assert "%session new COMPONENT --id kept-over" in listed


def test_the_history_draws_forks_by_the_names_that_the_kernel_knows(kernel: Kernel) -> None:
    open_session(kernel, "'one'", "--id family-1")
    fine(kernel.run("%%session\nHi"))
    fine(kernel.run("%session fork 0 --id family-2 --name side"))
    lines = fine(kernel.run("%session history")).shown[-1].splitlines()
    assert lines[1].startswith("family-1  1 tick · ")
    assert lines[2].startswith("└─ family-2  named side · forked after tick 0 · 1 tick · ")
    assert lines[2].endswith(" ←")


def test_a_list_names_stored_sessions_that_are_not_open_and_where_they_are_kept(kernel: Kernel) -> None:
    open_session(kernel, "'one'", "--id stored-1")
    fine(kernel.run("%%session\nHi"))
    fine(kernel.run(f"{CURRENT}.close()"))
    open_session(kernel, "'one'", "--id opened-1")
    listed = fine(kernel.run("%session list")).shown[-1]
    assert "sessions.db" in listed.splitlines()[0]
    (row,) = [line for line in listed.splitlines() if line.split()[:1] == ["stored-1"]]
    assert "stored" in row.split()
    assert "%session new COMPONENT --id stored-1" in listed


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("%session nwe Echo", "SessionError: %session has no command 'nwe'; did you mean 'new'?"),
        ("%session new Ecko", "SessionError: nothing is named 'Ecko'; did you mean 'Echo'?"),
        (
            "%session new asyncio",
            "SessionError: asyncio is a module, not a component or an App; name a component",
        ),
        (
            "%session new Echo()",
            "SessionError: %session new takes a name, got 'Echo()': %session new Echo; with",
        ),
        (
            "%session new said",
            "SessionError: said is an element; make an app of it, and name that: app = App(said)",
        ),
        ("%session use stray", "SessionError: no session is named 'stray'; did you mean 'straw'?"),
        ("%%session --modle x\nHi", "SessionError: %%session has no option --modle; did you mean '--model'?"),
        ("%%session\n\n", "SessionError: there is no message: write it below the %%session line"),
        ("%%session --model nothing:x\nHi", "ModelError: "),
        (
            "%%session --model anthropic:claude-x\nHi",
            "MissingKeyError: no API key: set ANTHROPIC_API_KEY, pass api_key=, or use --model simulated",
        ),
        (f"{CURRENT}.knobs['tune'] = 1", "KnobError: no knob is named 'tune'; did you mean 'tone'?"),
        (f"{CURRENT}.knobs['tone'] = 'rude'", "KnobError: knob 'tone' must be "),
    ],
)
def test_a_mistake_is_one_line_and_stops_run_all(kernel: Kernel, cell: str, line: str) -> None:
    open_session(kernel, "'ok'", "--name straw")
    fine(kernel.run("said = Echo()"))
    ran = kernel.start(cell)
    assert one_line(kernel.finish(ran)).startswith(line)
    assert kernel.replied[ran] == "error"  # which is what Run All stops at


def test_a_component_defined_anew_with_other_hooks_says_in_the_next_cell_that_its_state_is_lost(
    kernel: Kernel,
) -> None:
    component = """
@component
def Diary():
    {hooks}
    return [System(f"{{pages}} pages"), Timeline()]
"""
    fine(kernel.run(component.format(hooks="pages, set_pages = use_state(3)")))
    fine(kernel.run("bot = App(Diary, model=ScriptedModel('a', 'b', 'c'))\n%session new bot"))
    assert "anew" not in fine(kernel.run("%%session\nHi")).shown[-1]
    fine(kernel.run(component.format(hooks="box = use_ref()\n    pages, set_pages = use_state(4)")))
    assert "Diary was defined anew with other hooks" in fine(kernel.run("%%session\nHi")).shown[-1]
    assert "anew" not in fine(kernel.run("%%session\nHi")).shown[-1]


def test_a_failed_model_call_is_shown_in_one_line_and_the_session_goes_on(kernel: Kernel) -> None:
    fine(kernel.run("from nbsession.errors import ModelError"))
    open_session(kernel, "ModelError('the line is dead; try again'), 'Back.'")
    assert one_line(kernel.run("%%session\nHi")) == "ModelError: the line is dead; try again"
    assert "Back." in fine(kernel.run("%%session\nAnd now?")).shown[-1]


def test_a_component_that_raises_names_its_path_and_no_model_is_called(kernel: Kernel) -> None:
    fine(
        kernel.run("""
@component
def Broken():
    return [System(str(1 / 0)), Timeline()]
bot = App(Broken, model=ScriptedModel("never"))
%session new bot
""")
    )
    assert "Broken" in one_line(kernel.run("%%session\nHi"))
    assert fine(kernel.run("print(len(bot.model.contexts))")).text == "0\n"
