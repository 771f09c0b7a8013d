"""An experiment as it is laid out: arms, verdicts, flips, contexts, and what else of it shows itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from nbsession import App, System, Timeline, component, use_knob
from nbsession.experiment import Case, Experiment
from nbsession.models.anthropic import AnthropicModel
from nbsession.notebook import formatters
from nbsession.notebook.experiment import sheet as sheets
from nbsession.notebook.experiment.view import RunView
from nbsession.testing import pause
from tests.support.quiz import Teacher, cases, quiz, right

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbsession import Result
    from nbsession.experiment import Run

TONES = {"tone": ["friendly", "terse"]}


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[InteractiveShell]:
    made = InteractiveShell.instance(ipython_dir=str(tmp_path))
    formatters.register(made)
    yield made
    InteractiveShell.clear_instance()


def shown(shell: InteractiveShell, value: object) -> dict[str, str]:
    assert shell.display_formatter is not None
    data, _ = shell.display_formatter.format(value)  # type: ignore[no-untyped-call]  # IPython does not type it
    return dict(data)


async def ran(**options: Any) -> Run:
    return await Experiment(quiz(), cases(), knobs=TONES, score=right, **options).run()


async def test_as_text_it_reads_from_the_arms_down_to_what_comes_next() -> None:
    text = str(sheets.sheet(await ran()))
    said = re.sub(r"\d+ ms", "9 ms", text).splitlines()
    assert [line for line in said if not line.startswith(("  ", "~"))] == [
        "Experiment · 4 cases · 2 arms",
        "arm       right                                       cases  tokens  cost   time",
        "friendly  0.25 (0.05 to 0.70)  │────●─────────        4      94      $0.00  9 ms",
        "terse     1.00 (0.51 to 1.00)  │         ──────────●  4      82      $0.00  9 ms",
        "8 of 8 trials · cost $0.00",
        "",
        "Against friendly",
        "arm    difference             won  lost  tied  verdict",
        "terse  │ ──────────────●────  3    0     1     too few cases to say (n=4)",
        "",
        "3 cases flipped between friendly and terse",
        "italy: The capital of Italy? (expected Rome)",
        "spain: The capital of Spain? (expected Madrid)",
        "norway: The capital of Norway? (expected Oslo)",
        "",
        "What differs in the context of the first case, against friendly",
        "",
        "look  trial = run.trials[3].session()  one trial as a session: go on with it, fork it",
    ]
    assert "  terse 1.00: Rome [run.trials[3]]" in said
    assert "  + You are a terse teacher of depth 1." in said


async def test_a_score_may_be_called_as_another_column_is() -> None:
    def tokens(result: Result, case: Case) -> dict[str, int]:
        return {"cost": len(result.text)}

    tokens.__name__ = "cases"
    run = await Experiment(quiz(), cases("Italy"), knobs=TONES, score=[right, tokens]).run()
    assert [column.title for column in sheets.sheet(run).tables[0].columns] == [
        "arm", "right", "", "cases.cost", "cases", "tokens", "cost", "time",
    ]  # fmt: skip


async def test_an_experiment_without_scores_or_with_one_arm_shows_what_there_is() -> None:
    run = await Experiment(quiz(), cases(), knobs=TONES).run()
    laid = sheets.sheet(run)
    assert [table.title for table in laid.tables] == ["Experiment"]
    assert laid.flips is None
    one = sheets.sheet(await Experiment(quiz(), cases(), score=right).run())
    assert [table.title for table in one.tables] == ["Experiment"]
    assert one.differences is None


async def test_each_difference_of_the_contexts_names_the_arms_that_have_it() -> None:
    @component
    def Choosing() -> Any:
        tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
        depth, _ = use_knob("depth", 1, min=1, max=9)
        return [System("Teach."), System(f"Be {tone}."), depth > 1 and System("Go deep."), Timeline()]

    experiment = Experiment(
        App(Choosing, model=Teacher()), ["Hi"], knobs={"tone": ["friendly", "terse"], "depth": [1, 2, 3]}
    )
    found = sheets.plan(experiment.plan()).differences
    assert found is not None
    assert [(row.change, row.note) for row in found.rows] == [
        ("added", "4 arms"),
        ("changed", "3 arms"),
    ]
    same = Experiment(App(Choosing, model=Teacher()), ["Hi"], knobs={"depth": [2, 3]})
    assert sheets.plan(same.plan()).compared == "Every arm sends the same context"


async def test_long_answers_many_flips_and_many_arms_stay_light() -> None:
    long = "**word** " * 5_000
    model = Teacher(lambda context: "no" if "friendly" in str(context.system) else f"Paris {long}")
    asked = [Case(f"What {n}?", "Paris", str(n)) for n in range(30)]
    run = await Experiment(quiz(model), asked, knobs=TONES, score=right).run()
    saved = sheets.bundle(sheets.sheet(run))
    assert len(saved["text/html"]) < 150_000
    assert "and 20 more: run.flips(&#39;friendly&#39;, &#39;terse&#39;)" in saved["text/html"]
    assert "… (45,006 characters in all)" in saved["text/html"]
    assert len(saved["text/plain"]) < 20_000

    @component
    def Many() -> Any:
        depth, _ = use_knob("depth", 1, min=1, max=99)
        return [System(f"{depth} deep."), Timeline()]

    app = App(Many, model=Teacher(lambda _: "ok"))
    wide = await Experiment(app, ["Hi"], knobs={"depth": [*range(1, 61)]}, score=lambda *_: True).run()
    laid = sheets.sheet(wide)
    assert len(laid.tables[0].rows) == 50
    assert laid.tables[0].facts[-1] == "the first 50 shown"
    assert "… and 39 more differences" in str(laid)


async def test_a_run_on_its_way_shows_what_it_has_and_every_trial_counts_at_once() -> None:
    held = pause()
    model = Teacher(lambda context: ["Well, ", held] if "Norway" in str(context.messages) else "Paris")
    run = Experiment(quiz(model), cases(), knobs=TONES, score=right).run()
    view = RunView(run)
    ended = [trial async for trial, _ in _some(run, 6)]
    assert len(ended) == 6
    assert {slot for _, slot, _ in view.changes()} == {"tables", "state"}
    page = view.html()
    assert "6 of 8 trials · cost $0.00 · about " in page
    assert 'value="0.75" aria-label="trials that ended"' in page
    assert "data-do=stop" in page
    held.release()
    await run
    assert "8 of 8 trials" in view.changes()[1][2]
    done = view.static()
    assert "8 of 8 trials · cost $0.00" in done["text/plain"]
    assert "data-do=stop" not in done["text/html"]
    assert "--as run" in done["text/plain"]  # it has no name so far


async def _some(run: Run, count: int) -> Any:
    number = 0
    async for trial in run:
        number += 1
        yield trial, number
        if number == count:
            return


async def test_a_run_that_stops_with_an_error_says_so() -> None:
    @component
    def Broken() -> Any:
        raise RuntimeError("no template")

    run = Experiment(App(Broken, model=Teacher()), ["Hi", "Ho"], knobs=None).run()
    with pytest.raises(Exception, match="no template"):
        await run
    assert "0 of 2 trials · cost $0.00 · it stopped: " in str(sheets.sheet(run))


async def test_what_an_experiment_gives_shows_itself(shell: InteractiveShell) -> None:
    run = await ran(repeat=2)
    arm, trial, report = run.arms["friendly"], run.trials[4], run.report
    assert shown(shell, run)["text/plain"] == str(sheets.sheet(run))
    assert "Against friendly" in shown(shell, report)["text/plain"]
    assert "<table class=grid>" in shown(shell, report)["text/html"]
    assert shown(shell, run.arms)["text/plain"].startswith("Arms\n")
    arms = shown(shell, arm)
    assert "Arm friendly" in arms["text/html"]
    assert "6 trials lost" in arms["text/html"]
    assert arms["text/plain"] == repr(arm)
    facts = shown(shell, trial)
    assert facts["text/plain"] == "<Trial of case 'italy' under 'friendly': done>"
    assert "I am not sure." in facts["text/html"]
    assert "The capital of Italy?" in facts["text/html"]
    compared = shown(shell, run.compare("terse", "friendly"))["text/plain"]
    assert (
        compared == "too few cases to say (n=4); won 3, lost 0, tied 1; repetitions of a case lie 0.00 apart"
    )
    assert shown(shell, arm.interval)["text/plain"] == "0.25 (0.05 to 0.70, n=8 in 4 cases)"
    assert repr(run.flips("terse", "friendly")[0]).startswith(
        "'italy' (The capital of Italy?): 1.00 under 'terse'"
    )
    preferred = await run.prefer("terse", "friendly", lambda *_: 1.0)
    assert "Preferences" in shown(shell, preferred)["text/html"]
    assert "<dd>" not in shown(shell, preferred)["text/html"]
    assert shown(shell, preferred)["text/plain"] == str(preferred)
    plan = Experiment(quiz(), cases(), knobs=TONES).plan()
    assert shown(shell, plan)["text/plain"].startswith("Plan · 8 model calls at least")
    assert "What differs in the context" in shown(shell, plan)["text/html"]


def test_a_plan_has_the_price_in_a_batch_beside_the_full_one_and_says_which_arms_have_none() -> None:
    cheap = AnthropicModel("claude-sonnet-4-5", api_key="sk-secret-1234")
    (table,) = sheets.plan(Experiment(quiz(cheap), cases()).plan()).tables
    titles = [column.title for column in table.columns]
    cost, batched = (str(table.rows[0].cells[titles.index(title)]) for title in ("cost", "in a batch"))
    assert re.fullmatch(r"≈\$0\.\d+", cost)
    assert f"{batched} in a batch" in table.facts
    assert float(batched[2:]) == pytest.approx(float(cost[2:]) / 2, rel=0.1)
    mixed = sheets.plan(Experiment(quiz(), cases(), models=[cheap, Teacher()]).plan())
    assert [row.cells[-1] for row in mixed.tables[0].rows] == [batched, "none"]
    assert "no batch for scripted: scripted takes none" in str(mixed)
    alone = str(sheets.plan(Experiment(quiz(), cases()).plan()))
    assert "batch" not in alone


async def test_the_contexts_of_the_first_case_can_be_compared() -> None:
    run = await ran()
    diff = run.contexts["terse"].diff(run.contexts["friendly"])
    assert [change.new.kind for change in diff.changed] == ["system"]
    assert run.trials[0].figures.context == run.contexts["friendly"].hash
