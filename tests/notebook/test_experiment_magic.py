"""``%session experiment`` in a real kernel: planned, live, stopped, kept, and refused in one line."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.notebook.kernels import OLDER, Kernel, Ran, older_ipykernel, running_kernel
from tests.notebook.test_magics import CURRENT, SETUP, fine, one_line
from tests.notebook.test_sweep_magic import in_a_terminal, page_of, say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUIZ = """
from nbsession.experiment import Case

CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Norway": "Oslo"}
questions = [Case(f"The capital of {land}?", city, land.lower()) for land, city in CAPITALS.items()]

@component
def Quiz():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    depth, _ = use_knob("depth", 1, min=1, max=5)
    return [System(f"You are a {tone} teacher, {depth} deep."), Timeline()]

def knowing(context):
    asked, terse = str(context.messages[-1]), "terse" in str(context.system)
    return next((c for land, c in CAPITALS.items() if land in asked and (terse or land == "France")), "I am not sure.")

def right(result, case):
    return case.expected in result.text

def quiz(*responses):
    return App(Quiz, model=ScriptedModel(*(responses or [knowing] * 99)))
"""
SENT = "print(len(bot.model.contexts))"


@pytest.fixture(scope="module", params=[*OLDER, "installed"])
def any_kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    version: str = request.param
    folder = older_ipykernel(version) if version != "installed" else None
    with running_kernel(folder, XDG_DATA_HOME=str(tmp_path_factory.mktemp("data"))) as kernel:
        fine(kernel.run(SETUP + QUIZ))
        yield kernel


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with running_kernel(XDG_DATA_HOME=str(tmp_path_factory.mktemp("data"))) as kernel:
        fine(kernel.run(SETUP + QUIZ))
        yield kernel


def open_quiz(kernel: Kernel, responses: str = "", options: str = "") -> None:
    fine(kernel.run(f"bot = quiz({responses})"))
    fine(kernel.run(f"%session new bot {options}"))


def texts(ran: Ran) -> list[str]:
    return [shown for shown in ran.shown if shown and not shown.startswith("(was still")]


def printed(kernel: Kernel, code: str) -> str:
    return fine(kernel.run(f"print({code})")).text.strip()


# What it asks, and shows


def test_the_plan_comes_first_then_the_arms_verdicts_and_flips(any_kernel: Kernel) -> None:
    open_quiz(any_kernel)
    ran = fine(
        any_kernel.run("%session experiment questions tone=friendly,terse --score right,contains --as run")
    )
    plan, report = texts(ran)
    assert plan.startswith("Plan · 8 model calls at least · ≈")
    assert [line.split()[:2] for line in plan.splitlines()[2:4]] == [["friendly", "4"], ["terse", "4"]]
    assert report.startswith("Experiment · 4 cases · 2 arms\n")
    assert "friendly  0.25 (0.05 to 0.70)" in report
    assert "8 of 8 trials · cost $0.00" in report
    assert "Against friendly · by right" in report
    assert "too few cases to say (n=4)" in report
    assert "3 cases flipped between friendly and terse" in report
    assert "  terse 1.00: Rome [run.trials[3]]" in report
    assert "~ system · Quiz/System.0 (terse) −" in report
    assert printed(any_kernel, "run.trials[3].text, run.progress.done") == "Rome 8"
    assert printed(any_kernel, f"len({CURRENT}.timeline), len({CURRENT}.ticks)") == "0 0"


def test_the_plan_alone_says_what_differs_and_sends_nothing(kernel: Kernel) -> None:
    open_quiz(kernel)
    (plan,) = texts(
        fine(kernel.run("%session experiment questions tone=friendly,terse --plan --as run_of_none"))
    )
    assert "scripted · nothing was sent" in plan
    assert "What differs in the context of the first case, against friendly" in plan
    assert "  + You are a terse teacher, 1 deep." in plan
    assert printed(kernel, "len(bot.model.contexts), 'run_of_none' in globals()") == "0 False"


def test_the_rows_fill_in_and_stop_keeps_what_came(kernel: Kernel) -> None:
    open_quiz(kernel, "'**Paris**', *[['Well, ', pause()]] * 9")
    cell = kernel.start("%session experiment questions tone=friendly,terse --score right --as run")
    comm = page_of(kernel, cell)
    say(kernel, comm, k="hello", me="me")
    kernel.until(lambda m: m["content"].get("comm_id") == comm and "1 of 8 trials" in str(m["content"]))
    live = kernel.messages[-1]["content"]["data"]["content"]
    assert "data-do=stop" in str(live) or live["k"] == "ops"
    say(kernel, comm, k="stop")
    ran = kernel.finish(cell)
    assert one_line(ran) == "SessionInterrupted: stopped by the user; what came is kept"
    (static,) = ran.of("update_display_data")
    assert "data-do=stop" not in static["data"]["text/html"]
    assert "1 of 8 trials · cost $0.00 · stopped by the user" in static["data"]["text/plain"]
    assert "only what is missing is asked" in static["data"]["text/plain"]
    assert (
        printed(kernel, "[trial.text for trial in run.trials if trial.status == 'done']") == "['**Paris**']"
    )


def test_an_interrupt_stops_it_and_the_next_run_asks_only_what_is_missing(any_kernel: Kernel) -> None:
    open_quiz(any_kernel, "'Paris', *[['Well, ', pause()]] * 7, *['Oslo'] * 9")
    line = "%session experiment questions tone=friendly,terse --score right --as run"
    cell = any_kernel.start(line)
    any_kernel.until_text(cell, "1 of 8 trials")
    began = time.monotonic()
    any_kernel.interrupt()
    ran = any_kernel.finish(cell)
    assert time.monotonic() - began < 2
    assert one_line(ran) == "SessionInterrupted: stopped by the interrupt; what came is kept"
    assert "1 of 8 trials · cost $0.00 · interrupted" in texts(ran)[-1]
    assert "Against friendly" not in texts(ran)[-1]  # there is nothing to compare
    assert printed(any_kernel, "run.progress.done, run.done") == "1 True"
    plan, report = texts(fine(any_kernel.run(line)))
    assert plan.startswith("Plan · 7 model calls at least · ")
    assert "1 in the store" in plan
    assert "8 of 8 trials · 1 from the store" in report


def test_run_again_nothing_is_asked_where_nothing_changed(kernel: Kernel) -> None:
    open_quiz(kernel)
    line = "%session experiment questions tone=friendly,terse --score right --as run"
    fine(kernel.run(line))
    sent = printed(kernel, "len(bot.model.contexts)")
    plan, report = texts(fine(kernel.run(line)))
    assert plan.startswith("Plan · 0 model calls at least")
    assert "8 of 8 trials · 8 from the store" in report
    assert printed(kernel, "len(bot.model.contexts)") == sent == "8"
    fine(kernel.run(f"{line} --repeat 2"))
    assert printed(kernel, "len(bot.model.contexts)") == "16"


def test_what_an_app_with_a_store_was_asked_is_there_in_another_session(kernel: Kernel) -> None:
    fine(kernel.run("bot = quiz()\n%session new bot --id kept-1"))
    fine(kernel.run("%session experiment questions --score right"))
    fine(kernel.run("bot = quiz()\n%session new bot --id kept-2"))
    report = texts(fine(kernel.run("%session experiment questions --score right")))[-1]
    assert "4 of 4 trials · 4 from the store" in report
    assert printed(kernel, "len(bot.model.contexts)") == "0"


def test_it_blocks_where_nothing_can_be_awaited(kernel: Kernel) -> None:
    open_quiz(kernel)
    ran = fine(kernel.run("for _ in range(1):\n    %session experiment questions --score right --as blocked"))
    assert "4 of 4 trials" in texts(ran)[-1]
    assert printed(kernel, "list(blocked.arms), blocked.arms['default'].n") == "['default'] 4"


def test_the_sessions_knobs_and_model_hold_as_they_stand(kernel: Kernel) -> None:
    open_quiz(kernel)
    fine(kernel.run(f"{CURRENT}.knobs['tone'] = 'terse'"))
    fine(kernel.run("class Other(ScriptedModel):\n    name = 'somebody:other'\nother = Other(*['Rome'] * 8)"))
    report = texts(fine(kernel.run("%session experiment questions depth=1,2 --score right --as run")))[-1]
    assert re.search(r"^2 +1\.00 ", report, re.MULTILINE)
    assert printed(kernel, "[dict(arm.knobs) for arm in run.design.arms]") == (
        "[{'tone': 'terse', 'depth': 1}, {'tone': 'terse', 'depth': 2}]"
    )
    fine(kernel.run("%session experiment questions --models other --as run"))
    assert (
        printed(kernel, "{trial.text for trial in run.trials}, run.trials[0].arm.model is other")
        == "{'Rome'} True"
    )


def test_a_trial_of_a_flip_is_looked_at_as_the_output_says(kernel: Kernel) -> None:
    open_quiz(kernel)
    report = texts(
        fine(kernel.run("%session experiment questions tone=friendly,terse --score right --as found"))
    )[-1]
    (how,) = re.findall(r"look +(trial = found\.trials\[\d+\]\.session\(\))", report)
    fine(kernel.run(f"{how}\n%session use trial"))
    ran = fine(kernel.run("%session inspect"))
    assert "Rome" in str([message["content"] for message in ran.messages])
    report = texts(fine(kernel.run("%session new bot\n%session experiment questions --score right")))[-1]
    assert "%session experiment … --as run" in report
    assert ".trials[" not in report


# What goes wrong


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "SessionError: %session experiment needs CASES"),
        ("question", "SessionError: 'question' is neither a variable with cases nor a file of JSON lines; did you mean 'questions'?"),
        ("right", "SessionError: cases are a list of messages or Case(…), a data frame, or the path of a file"),
        ("nothing_asked", "SessionError: there are no cases; give at least one message"),
        ("questions tone", "SessionError: a knob is swept as tone=a,b"),
        ("questions tune=terse", "KnobError: no knob is named 'tune'; did you mean 'tone'?"),
        ("questions tone=terse,rude", "KnobError: knob 'tone' must be one of 'friendly', 'terse', got 'rude'"),
        ("questions depth=1,9", "KnobError: knob 'depth' must be between 1 and 5, got 9"),
        ("questions --score rihgt", "SessionError: no scorer is named 'rihgt'; did you mean 'right'?"),
        ("questions --score one_sided", "SessionError: scorer 'one_sided' takes (result), and is called with a result and its case"),
        ("questions --score", "SessionError: --score needs a value"),
        ("questions --models nowhere:x", "ModelError: "),
        ("questions --repeat 0", "SessionError: --repeat takes a whole number from 1, got '0'"),
        ("questions --max-cost nothing", "SessionError: --max-cost takes "),
        ("questions --as 1x", "SessionError: --as takes "),
        ("questions --repeat 99999", "SessionError: the experiment would have 399,996 trials"),
        ("'broken cases.jsonl'", "SessionError: broken cases.jsonl, line 3 is no JSON ("),
        ("'broken casse.jsonl'", "SessionError: 'broken casse.jsonl' is neither a variable with cases nor a file of JSON lines"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_nothing_is_sent(
    kernel: Kernel, line: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "broken cases.jsonl").write_text('"Hi?"\n{"message": "And?"}\n{"message": \n', "utf-8")
    fine(
        kernel.run(
            f"import os; os.chdir({str(tmp_path)!r}); nothing_asked = []; one_sided = lambda result: 1"
        )
    )
    fine(kernel.run("one_sided.__name__ = 'one_sided'"))
    open_quiz(kernel)
    ran = kernel.run(f"%session experiment {line}")
    assert one_line(ran).startswith(says)
    assert texts(ran) == []
    assert fine(kernel.run(SENT)).text == "0\n"


def test_a_scorer_that_fails_is_told_with_the_case(kernel: Kernel) -> None:
    open_quiz(kernel)
    fine(kernel.run("def strict(result, case):\n    return {'Paris': 1.0}[result.text]"))
    report = texts(
        fine(kernel.run("%session experiment questions tone=terse --score strict,right --as run"))
    )[-1]
    assert "not scored  italy under terse   KeyError: 'Rome'" in re.sub("strict: ", "", report)
    assert report.count("not scored") == 3
    assert re.search(r"^terse +1\.00 \(n=1\)|^terse +1\.00 \(0\.21 to 1\.00\)", report, re.MULTILINE)


def test_a_trial_that_fails_and_one_that_the_budget_refuses_are_told(kernel: Kernel) -> None:
    fine(
        kernel.run("""
from nbsession.usage.prices import set_price
class Priced(ScriptedModel):
    name = "somebody:priced"
set_price("somebody:priced", input=1_000_000, output=0)  # a US dollar each token
bot = App(Quiz, model=Priced(*["Paris"] * 9))
%session new bot
""")
    )
    report = texts(fine(kernel.run("%session experiment questions --score right --max-cost 45 --as run")))[-1]
    assert re.search(r"\d refused by the budget · cost \$\d", report)
    assert re.search(r"refused +\w+ under default +.*budget of \$45", report)
    assert printed(kernel, "0 < run.progress.cost <= 45, len(run.refused) > 0") == "True True"
    open_quiz(kernel, "RuntimeError('the line is dead'), *['Paris'] * 9")
    report = texts(fine(kernel.run("%session experiment questions --score right --as run")))[-1]
    assert "1 failed" in report
    assert "RuntimeError: the line is dead" in report


def test_what_is_held_out_stands_apart(kernel: Kernel) -> None:
    open_quiz(kernel)
    fine(
        kernel.run(
            "apart = [*questions[:3], Case('The capital of Norway?', 'Oslo', 'norway', held_out=True)]"
        )
    )
    report = texts(fine(kernel.run("%session experiment apart tone=friendly,terse --score right --as run")))[
        -1
    ]
    above, _, below = report.partition("Held out · counted nowhere else")
    assert "friendly  0.33" in above
    assert "friendly  0.00" in below
    assert "norway" not in above
    assert "2 cases flipped" in below


def test_cases_come_from_a_file_and_from_a_data_frame(kernel: Kernel, tmp_path: Path) -> None:
    open_quiz(kernel)
    path = tmp_path / "my cases.jsonl"
    lines = [
        {"input": "The capital of France?", "ideal": "Paris"},
        {"input": "The capital of Italy?", "ideal": "Rome"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    assert "2 of 2 trials" in texts(fine(kernel.run(f"%session experiment '{path}' --score right")))[-1]
    fine(
        kernel.run(
            "import pandas as pd\nframe = pd.DataFrame({'message': ['France?', 'Italy?'], 'expected': ['Paris', 'Rome']})"
        )
    )
    assert "2 of 2 trials" in texts(fine(kernel.run("%session experiment frame --score contains")))[-1]


def test_a_terminal_shows_how_far_it_is_in_one_line_that_is_written_anew() -> None:
    written = in_a_terminal(
        SETUP + QUIZ + "bot = quiz()",
        "%session new bot",
        "%session experiment questions tone=friendly,terse --score right",
    )
    states = re.findall(r"\r([^\r\n]*)\x1b\[K", written)
    assert any(re.match(r"\d of 8 trials · cost \$0.00", state) for state in states)
    assert states[-1] == ""  # the line is free for the table
    assert all(len(state) < 100 for state in states)
    assert written.count("Experiment · 4 cases · 2 arms") == 1
    assert written.index("Plan ·") < written.index("of 8 trials")


def test_cases_knobs_scorers_and_models_are_completed(kernel: Kernel, tmp_path: Path) -> None:
    open_quiz(kernel)
    (tmp_path / "held.jsonl").write_text('"Hi?"', "utf-8")
    (tmp_path / "notes.txt").write_text("no cases", "utf-8")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "late.jsonl").write_text('"Hi?"', "utf-8")
    fine(
        kernel.run(
            f"import os; os.chdir({str(tmp_path)!r})\n"
            "import pandas as pd\nframe = pd.DataFrame({'message': ['Hi?']}); number = 3; nothing = []\n"
            "from nbsession.experiment import contains\ncity = contains('Rome', name='city')\n"
            "from nbsession.notebook.completion import complete; sessions = get_ipython().nbsession.sessions"
        )
    )
    asked = {
        "%session experiment qu": ["questions"],
        "%session experiment fr": ["frame"],
        "%session experiment n": [],
        "%session experiment h": ["held.jsonl"],
        "%session experiment mor": ["more/"],
        "%session experiment more/": ["more/late.jsonl"],
        "%session experiment questions to": ["tone="],
        "%session experiment questions tone=": ["tone=friendly", "tone=terse"],
        "%session experiment questions tone=friendly,": ["tone=friendly,terse"],
        "%session experiment questions --pl": ["--plan"],
        "%session experiment questions --score ri": ["right"],
        "%session experiment questions --score right,c": ["right,city", "right,contains"],
        "%session experiment questions --models simul": ["simulated"],
        "%session expe": ["experiment"],
    }
    for line, expected in asked.items():
        found = json.loads(
            fine(kernel.run(f"import json; print(json.dumps(complete(sessions, {line!r})))")).text
        )
        assert sorted(found) == sorted(expected), line
