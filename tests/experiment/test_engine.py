"""Engines: who does the trials, and how many a provider is given at once."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import ModelError, SessionError, StoreError
from nbsession.experiment import Experiment
from nbsession.experiment.engine import LocalEngine
from nbsession.experiment.pace import Pace, provider_of
from nbsession.models import SimulatedModel
from nbsession.stores import MemoryStore
from tests.support.quiz import Teacher, cases, quiz, right

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from nbsession.experiment.bench import Bench
    from nbsession.experiment.outcome import Outcome, Task


class Backwards:
    """Does the last task first, and gives each outcome twice."""

    async def outcomes(self, tasks: Sequence[Task], bench: Bench) -> AsyncGenerator[Outcome]:
        for task in reversed(tasks):
            outcome = await bench.perform(task, Pace(1))
            yield outcome
            yield outcome


class Broken:
    """Does one task and breaks."""

    async def outcomes(self, tasks: Sequence[Task], bench: Bench) -> AsyncGenerator[Outcome]:
        yield await bench.perform(tasks[0], Pace(1))
        raise ConnectionError("the cluster is gone")


async def test_any_engine_may_do_the_trials_and_none_counts_twice() -> None:
    model = Teacher()
    run = Experiment(quiz(model), cases(), score=right).run(executor=Backwards())
    assert len([trial async for trial in run]) == 4
    assert (run.progress.done, run.arms["default"].mean, model.asked) == (4, 0.25, 4)


async def test_tasks_and_outcomes_travel_between_processes() -> None:
    class Posted:
        async def outcomes(self, tasks: Sequence[Task], bench: Bench) -> AsyncGenerator[Outcome]:
            for task in tasks:
                outcome = await bench.perform(pickle.loads(pickle.dumps(task)), Pace(1))
                yield pickle.loads(pickle.dumps(outcome))

    store = MemoryStore()
    models = {"a": SimulatedModel(), "b": SimulatedModel()}
    run = await Experiment(quiz(), cases(), models=models, score=right).run(store=store, executor=Posted())
    assert (run.progress.done, run.progress.failed) == (8, 0)
    assert run.trials[0].session().ticks[0].text == run.trials[0].text


async def test_what_an_engine_breaks_with_is_raised_and_what_ended_is_kept() -> None:
    store = MemoryStore()
    run = Experiment(quiz(), cases()).run(store=store, executor=Broken())
    with pytest.raises(ConnectionError, match="the cluster is gone"):
        await run
    with pytest.raises(ConnectionError):
        _ = [trial async for trial in run]
    assert run.progress.done == 1
    assert "it stopped: ConnectionError: the cluster is gone" in str(run)
    assert (await Experiment(quiz(), cases()).run(store=store)).progress.reused == 1


def test_what_is_no_engine_is_refused() -> None:
    executor: Any = 3
    with pytest.raises(SessionError, match="or an Engine, got int: 3"):
        Experiment(quiz(), ["hi"]).run(executor=executor)


async def test_a_store_that_fails_stops_the_run_and_is_told() -> None:
    class Full(MemoryStore):
        room = 3

        def append(self, session: str, *given: Any, **options: Any) -> int:
            if session.startswith("tr_"):
                self.room -= 1
            if self.room < 0:
                raise StoreError("no space is left")
            return super().append(session, *given, **options)

    store, model = Full(), Teacher()
    with pytest.raises(StoreError, match="no space is left"):
        await Experiment(quiz(model), [f"question {n}" for n in range(300)]).run(store=store, concurrency=1)
    assert model.asked < 300
    store.room = 1_000
    run = await Experiment(quiz(model), [f"question {n}" for n in range(300)]).run(store=store)
    assert run.progress.done == 300


async def test_a_providers_refusals_halve_what_it_is_given_and_success_brings_it_back() -> None:
    pace = Pace(8)
    refusal = ModelError("too many", retryable=True, kind="rate_limit", retry_after=0.0)
    async with pace.turn() as began, pace.turn() as other:
        pace.slow_down(began, refusal)
        pace.slow_down(other, refusal)
    assert pace.allowed == 4, "what was under way when another was refused says nothing new"
    for _ in range(40):
        pace.went_well()
    assert pace.allowed == 8


async def test_a_provider_is_left_alone_for_as_long_as_it_says() -> None:
    pace = Pace(8)
    async with pace.turn() as began:
        pace.slow_down(began, ModelError("too many", kind="rate_limit", retry_after=0.05))
    async with pace.turn() as again:
        assert again - began >= 0.05


async def test_providers_do_not_wait_for_each_other() -> None:
    stuck, free = asyncio.Event(), 0

    async def wait(_: Any) -> str:
        await stuck.wait()
        return "late"

    def at_once(_: Any) -> str:
        nonlocal free
        free += 1
        if free == 4:
            stuck.set()
        return "soon"

    models = [Teacher(wait, name="slow:a"), Teacher(at_once, name="fast:a")]
    run = await Experiment(quiz(), cases(), models=models).run(concurrency=1)
    assert run.progress.done == 8
    assert [provider_of(name) for name in run.arms] == ["slow", "fast"]


async def test_a_trial_that_is_refused_too_often_fails_with_what_the_provider_said() -> None:
    def refuse(_: Any) -> Any:
        return ModelError("too many", retryable=True, kind="rate_limit", retry_after=0.0)

    run = await Experiment(quiz(Teacher(refuse)), ["hi"]).run()
    assert run.failures[0].error == "ModelError: too many"


async def test_what_was_found_out_of_a_provider_holds_for_the_next_trials() -> None:
    refusals = iter([ModelError("too many", kind="rate_limit", retry_after=0.0)])
    model = Teacher(lambda _: next(refusals, "yes"))
    allowed: dict[str, float] = {}
    await Experiment(quiz(model), ["hi"]).run(executor=LocalEngine(8, allowed))
    assert 4 <= allowed["scripted"] < 5
