"""What judges spend: planned, bounded by the run's budget, and counted beside the trials."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, System, Timeline, component, run
from nbsession.experiment import Experiment, judge
from nbsession.notebook.experiment import sheet as sheets
from nbsession.stores import MemoryStore, SqlStore
from nbsession.usage import set_price
from tests.support.fake_batches import FakeBatches
from tests.support.quiz import Teacher, cases, quiz, right

if TYPE_CHECKING:
    from pathlib import Path

    from nbsession import Result
    from nbsession.experiment import Case

SAID = '{"reason": "It is right.", "score": 1}'


@component
def Strict() -> Any:
    return [System("Be strict."), Timeline()]


@pytest.fixture(autouse=True)
def prices() -> None:
    set_price("acme:judge", input=1_000, output=1_000)


def court(said: str = SAID) -> tuple[Teacher, App]:
    model = Teacher(lambda _: said, name="acme:judge")
    return model, App(Strict, model=model)


async def test_a_judges_cost_is_the_runs_and_stands_apart_from_the_trials() -> None:
    _, app = court()
    done = await Experiment(quiz(), cases(), score=[right, judge(app)]).run()
    costs = [app.session(trial.notes["judge"]["session"]).ticks[0].cost for trial in done]
    assert [trial.scoring.cost for trial in done] == costs
    assert all(costs)
    assert [trial.cost for trial in done] == [0.0] * 4
    assert done.progress.cost == done.progress.scoring == pytest.approx(sum(cost or 0.0 for cost in costs))
    assert re.search(r"cost \$\S+, \$\S+ of it for scores", str(sheets.sheet(done)))
    usage = done.trials[0].scoring.usage
    assert usage.total_tokens == app.session(done.trials[0].notes["judge"]["session"]).usage.total_tokens


async def test_a_budget_refuses_a_judges_call_and_a_run_with_more_scores_what_it_left() -> None:
    model, app = court()
    asked = Experiment(quiz(), cases(), score=judge(app))
    full = await asked.run(store=MemoryStore())
    one = full.trials[0].scoring.cost
    assert one is not None
    store, before = MemoryStore(), model.asked
    bounded = await asked.run(store=store, budget=2.5 * one, concurrency=1)
    assert model.asked - before == 2
    assert [trial.status for trial in bounded] == ["done"] * 4, "trials that cost nothing go on"
    refused = [said for trial in bounded if isinstance(said := trial.scores["judge"], str)]
    assert len(refused) == 2
    assert "would cost about" in refused[0]
    assert "the experiment's budget of" in refused[0]
    again = await asked.run(store=store, budget=2.5 * one)
    assert model.asked - before == 2, "what judges in the store have cost counts"
    assert again.progress.cost == 0.0
    rest = await asked.run(store=store)
    assert (model.asked - before, rest.progress.reused) == (4, 4)
    assert rest.progress.cost == pytest.approx(2 * one, rel=0.1)
    assert {trial.scores["judge"] for trial in rest} == {1.0}


async def test_judges_that_are_asked_at_the_same_time_do_not_pass_a_budget_together() -> None:
    model, app = court()
    asked = Experiment(quiz(), [f"question {n}" for n in range(20)], score=judge(app))
    tokens = (await asked.run(store=MemoryStore())).trials[0]
    each = tokens.tokens + tokens.scoring.usage.total_tokens
    before = model.asked
    bounded = await asked.run(store=MemoryStore(), budget={"tokens": 5 * each}, concurrency=20)
    assert 0 < model.asked - before <= 5
    spent = sum(trial.tokens + trial.scoring.usage.total_tokens for trial in bounded)
    answers = 20 * tokens.scoring.usage.output_tokens  # which nobody knows before
    assert spent <= 5 * each + answers


async def test_what_a_scorer_asks_by_itself_counts_too() -> None:
    async def second(result: Result, case: Case) -> bool:
        return (await run(App(Strict, model=Teacher(name="acme:judge")), case.message)).text == result.text

    def blocking(result: Result, case: Case) -> bool:
        return App(Strict, model=Teacher(name="acme:judge")).session().run(case.message).text == result.text

    done = await Experiment(quiz(), cases("France"), score=[second, blocking]).run()
    assert done.trials[0].scores == {"second": 1.0, "blocking": 1.0}
    costs = [each.cost or 0.0 for each in done.trials[0].scored.values()]
    assert all(costs)
    assert done.progress.cost == pytest.approx(sum(costs))


async def test_a_judges_cost_is_kept_with_its_score(tmp_path: Path) -> None:
    model, app = court()
    store = SqlStore(f"sqlite:///{tmp_path / 'runs.db'}")
    first = await Experiment(quiz(), cases("Italy"), score=judge(app)).run(store=store)
    again = await Experiment(quiz(), cases("Italy"), score=judge(app)).run(store=store)
    store.close()
    assert model.asked == 1
    assert again.trials[0].scoring.cost == first.trials[0].scoring.cost
    assert again.progress.cost == 0.0


async def test_judges_of_answers_that_come_in_a_batch_keep_to_the_budget_and_no_answer_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nbsession.experiment import batch
    from nbsession.models.anthropic import AnthropicModel

    monkeypatch.setattr(batch, "FIRST_PAUSE", 0.01)
    model, app = court()
    with FakeBatches() as server:
        cheap = AnthropicModel(
            "claude-sonnet-4-5", base_url=server.url, api_key="sk-secret-1234", max_retries=0, max_tokens=100
        )
        done = await Experiment(quiz(cheap), cases(), score=judge(app)).run(
            batch=True, budget={"tokens": 600}
        )
    assert [trial.status for trial in done] == ["done"] * 4
    assert model.asked < 4
    assert any("the experiment's budget of 600 tokens" in str(trial.scores["judge"]) for trial in done)


async def test_judges_of_trials_that_are_made_elsewhere_keep_to_the_budget() -> None:
    model, app = court()
    given = [f"question {n}" for n in range(10)]
    with ThreadPoolExecutor(2) as executor:
        full = await Experiment(quiz(), given, score=judge(app)).run(executor=executor)
        one = full.trials[0].scoring.cost
        assert one is not None
        assert full.progress.cost == pytest.approx(10 * one, rel=0.1)
        before = model.asked
        store = MemoryStore()
        bounded = await Experiment(quiz(), given, score=judge(app)).run(
            store=store, executor=executor, budget=4.5 * one
        )
    assert {trial.status for trial in bounded} == {"done"}
    assert 0 < model.asked - before <= 4


async def test_a_plan_counts_what_judges_would_ask() -> None:
    model, app = court()
    store = MemoryStore()
    bare = Experiment(quiz(), cases(), repeat=2).plan()
    asked = Experiment(quiz(), cases(), repeat=2, score=[right, judge(app)])
    plan = asked.plan(store=store)
    assert (bare.calls, plan.calls, plan.judges["judge"].calls) == (8, 16, 8)
    judged = plan.judges["judge"]
    assert (judged.model, judged.answers, model.asked) == ("acme:judge", False, 0)
    assert judged.cost == pytest.approx(judged.tokens / 1_000)
    assert plan.tokens == bare.tokens + judged.tokens
    assert plan.cost == judged.cost
    (row,) = [line for line in str(plan).splitlines() if line.startswith("judge: judge")]
    assert row.split()[2:4] == ["acme:judge", "8"]
    laid = str(sheets.plan(plan))
    assert "16 model calls at least" in laid
    assert "judge: judge  acme:judge  8" in laid

    done = await asked.run(store=store)
    assert asked.plan(store=store).judges["judge"].calls == 0
    lenient = Experiment(quiz(), cases(), repeat=3, score=judge(App(Strict, model=model), output=bool))
    later = lenient.plan(store=store).judges["judge"]
    assert later.calls == 12, "a judge that judges otherwise is asked of what is there, too"
    more = Experiment(quiz(), cases(), repeat=3, score=[right, judge(app)]).plan(store=store).judges["judge"]
    assert (more.calls, more.answers) == (4, True)
    assert more.cost == pytest.approx(sum(trial.scoring.cost or 0.0 for trial in done) / 2, rel=0.1)
