"""An experiment goes on where it was: only what is missing is asked, only what is stale is scored."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    Fit,
    ModelError,
    Priority,
    Section,
    SessionBusyError,
    SessionNotFoundError,
    StoreError,
    System,
    Timeline,
    component,
    tool,
    use_knob,
)
from nbsession.context import Capabilities
from nbsession.experiment import Case, Experiment
from nbsession.stores import MemoryStore, RedisStore, SqlStore
from nbsession.testing import call, pause
from tests.support import postgres, redis
from tests.support.quiz import Teacher, cases, quiz, right

if TYPE_CHECKING:
    from nbsession import Result

ROOT = Path(__file__).parents[2]
TONES = {"tone": ["friendly", "terse"]}


def teacher_of(text: str) -> Any:
    def Teacher() -> Any:
        tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
        return [System(f"{text} Be {tone}."), Timeline()]

    return component(Teacher)


async def test_run_again_nothing_is_asked_and_all_is_there() -> None:
    store, model = MemoryStore(), Teacher()
    first = await Experiment(quiz(model), cases(), knobs=TONES, repeat=2, score=right).run(store=store)
    again = await Experiment(quiz(model), cases(), knobs=TONES, repeat=2, score=right).run(store=store)
    assert model.asked == 16
    assert [(t.text, t.scores, t.session_id) for t in again.trials] == [
        (t.text, t.scores, t.session_id) for t in first.trials
    ]
    assert (again.progress.reused, again.progress.cost) == (16, 0)
    assert all(trial.reused for trial in again.trials)
    assert str(again) == str(first)


async def test_without_a_store_the_experiment_itself_remembers() -> None:
    model = Teacher()
    experiment = Experiment(quiz(model), cases())
    await experiment.run()
    await experiment.run()
    assert model.asked == 4


async def test_more_cases_values_and_repetitions_ask_only_what_is_new() -> None:
    store, model = MemoryStore(), Teacher()
    await Experiment(quiz(model), cases("France"), knobs={"tone": ["terse"]}).run(store=store)
    await Experiment(quiz(model), cases("Italy", "France"), knobs={"tone": ["terse"]}).run(store=store)
    assert model.asked == 2
    await Experiment(quiz(model), cases("Italy", "France"), knobs=TONES).run(store=store)
    assert model.asked == 4
    run = await Experiment(quiz(model), cases("Italy", "France"), knobs=TONES, repeat=2).run(store=store)
    assert model.asked == 8
    assert run.progress.reused == 4


async def test_a_value_that_is_the_knobs_own_is_the_same_trial() -> None:
    store, model = MemoryStore(), Teacher()
    await Experiment(quiz(model), cases("Italy")).run(store=store)
    await Experiment(quiz(model), cases("Italy"), knobs={"tone": ["friendly"]}).run(store=store)
    assert model.asked == 1


async def test_a_changed_component_asks_again_and_the_old_trials_stay() -> None:
    store, model = MemoryStore(), Teacher()
    reused = []
    for text in ("You teach.", "You teach well.", "You teach."):
        run = await Experiment(App(teacher_of(text), model=model), cases()).run(store=store)
        reused.append(run.progress.reused)
    assert (model.asked, reused) == (8, [0, 0, 4])


async def test_a_changed_tool_asks_again_what_may_call_it() -> None:
    store, model = MemoryStore(), Teacher(lambda _: "hm")

    def desk(found: str) -> Any:
        def Desk() -> Any:
            @tool
            def look_up() -> str:
                return found

            return [look_up, Timeline()]

        return component(Desk)

    for found in ("Rome", "Roma", "Rome"):
        await Experiment(App(desk(found), model=model), ["hi"]).run(store=store)
    assert model.asked == 2


async def test_another_model_asks_again() -> None:
    store, one, other = MemoryStore(), Teacher(name="fake:one"), Teacher(name="fake:other")
    await Experiment(quiz(one), cases("Italy")).run(store=store)
    await Experiment(quiz(other), cases("Italy")).run(store=store)
    await Experiment(quiz(), cases("Italy"), models=[one, other]).run(store=store)
    assert (one.asked, other.asked) == (1, 1)


async def test_other_options_of_a_model_ask_again() -> None:
    class Limited(Teacher):
        most = 100

        def request(self, context: Any) -> dict[str, Any]:
            return {"messages": [str(message) for message in context.messages], "max_tokens": self.most}

    store, model = MemoryStore(), Limited()
    for model.most in (100, 50, 100):
        await Experiment(quiz(model), cases("Italy")).run(store=store)
    assert model.asked == 2


async def test_a_model_that_learns_what_it_takes_is_asked_for_that_first() -> None:
    class Local(Teacher):
        known = False

        @property
        def capabilities(self) -> Capabilities:
            return Capabilities(window=200 if self.known else None)

        async def prepare(self) -> bool:
            self.known, before = True, self.known
            return not before

    @component
    def Reader() -> Any:
        return Fit(Priority(-1, Section("A fact. " * 500)), Timeline())

    store, model = MemoryStore(), Local()
    planned = Experiment(App(Reader, model=Local()), ["hi"]).plan()
    first = await Experiment(App(Reader, model=model), ["hi"]).run(store=store)
    again = await Experiment(App(Reader, model=model), ["hi"]).run(store=store)
    assert (again.progress.reused, model.asked) == (1, 1)
    assert model.contexts[0].tokens == planned.tokens < 200
    assert Experiment(App(Reader, model=Local()), ["hi"]).plan(store=store).reused == 1
    assert not first.failures


async def test_a_changed_scorer_scores_again_what_is_there_and_asks_nothing() -> None:
    store, model = MemoryStore(), Teacher()
    calls: list[str] = []

    def scorer(word: str) -> Any:
        def says(result: Result, case: Case) -> bool:
            calls.append(word)
            return word in result.text

        return says

    await Experiment(quiz(model), cases(), score=scorer("Paris")).run(store=store)
    run = await Experiment(quiz(model), cases(), score=[scorer("not sure"), right]).run(store=store)
    assert model.asked == 4
    assert run.arms["default"].mean_of("says") == 0.75
    assert run.arms["default"].mean_of("right") == 0.25
    last = await Experiment(quiz(model), cases(), score=right).run(store=store)
    assert last.trials[0].scores == {"right": 1.0}
    assert last.arms["default"].mean == 0.25
    await Experiment(quiz(model), cases(), score=scorer("not sure")).run(store=store)
    assert calls == ["Paris"] * 4 + ["not sure"] * 4
    assert len(run.trials[0].session().ticks) == 1


async def test_what_a_case_expects_may_change_and_only_that_one_is_scored_again() -> None:
    store, model = MemoryStore(), Teacher()
    scored: list[str] = []

    def says(result: Result, case: Case) -> bool:
        scored.append(case.name)
        return case.expected in result.text

    await Experiment(quiz(model), cases(), score=says).run(store=store)
    given = [replace(case, expected="sure") if case.id == "italy" else case for case in cases()]
    run = await Experiment(quiz(model), given, score=says).run(store=store)
    assert model.asked == 4
    assert scored[4:] == ["italy"]
    assert run.arms["default"].mean == 0.5


async def test_a_score_that_failed_is_tried_again() -> None:
    store, model, broken = MemoryStore(), Teacher(), [True]

    def says(result: Result, case: Case) -> bool:
        if broken:
            raise OSError("out of reach")
        return True

    await Experiment(quiz(model), cases("Italy"), score=says).run(store=store)
    broken.clear()
    run = await Experiment(quiz(model), cases("Italy"), score=says).run(store=store)
    assert (run.trials[0].scores, model.asked) == ({"says": 1.0}, 1)


async def test_where_scores_cannot_be_stored_no_scorer_is_left_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Full(MemoryStore):
        full = False

        def append(self, *given: Any, **options: Any) -> int:
            if self.full:
                raise StoreError("no space is left")
            return super().append(*given, **options)

    store = Full()
    await Experiment(quiz(), cases()).run(store=store)
    begun = asyncio.Event()
    over: list[str] = []

    async def says(result: Result, case: Case) -> bool:
        if case.name == "france":
            await begun.wait()
            store.full = True
            return True
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(over.append, case.name)  # winding up takes its time
        return True

    before = asyncio.all_tasks()
    run = Experiment(quiz(), cases(), score=says).run(store=store)
    with pytest.raises(StoreError, match="no space is left"):
        await run
    assert sorted(over) == ["italy", "norway", "spain"]
    assert asyncio.all_tasks() <= before
    del run
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_what_failed_is_asked_again() -> None:
    store, broken = MemoryStore(), [True]

    def respond(context: Any) -> Any:
        return RuntimeError("broken") if broken else "Rome"

    model = Teacher(respond)
    run = await Experiment(quiz(model), cases("Italy")).run(store=store)
    assert run.trials[0].status == "failed"
    broken.clear()
    run = await Experiment(quiz(model), cases("Italy")).run(store=store)
    assert (run.trials[0].status, run.trials[0].error, run.trials[0].text) == ("done", "", "Rome")
    assert model.asked == 2


async def test_cases_with_one_message_are_trials_of_their_own() -> None:
    given = [Case("Where?", "Rome"), Case("Where?", "Oslo")]
    store, model = MemoryStore(), Teacher(lambda _: "Rome")
    run = await Experiment(quiz(model), given, score=right).run(store=store)
    assert [trial.scores["right"] for trial in run.trials] == [1.0, 0.0]
    assert len({trial.session_id for trial in run.trials}) == 2
    await Experiment(quiz(model), given, score=right).run(store=store)
    assert model.asked == 2


async def test_a_run_that_goes_on_refuses_a_second_one() -> None:
    here = pause()
    store = MemoryStore()
    run = Experiment(quiz(Teacher(lambda _: ["so", here])), ["hi"]).run(store=store)
    await here.reached
    with pytest.raises(SessionBusyError, match="experiment 'Quiz' is being run here already"):
        Experiment(quiz(), ["hi"]).run(store=store)
    other = await Experiment(quiz(), ["hi"], name="another").run(store=store)
    assert other.progress.done == 1
    here.release()
    await run
    await Experiment(quiz(), ["hi"]).run(store=store)


async def test_another_process_that_runs_it_is_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    store = SqlStore(url)
    store.acquire("experiment-Quiz", "process 4711 on host-a", 60)
    with pytest.raises(SessionBusyError, match="is being run by process 4711 on host-a"):
        Experiment(quiz(), ["hi"]).run(store=store)
    store.close()


@pytest.mark.parametrize("kind", ["SQLite", "PostgreSQL", "Redis"])
async def test_every_store_keeps_an_experiment(kind: str, tmp_path: Path) -> None:
    with ExitStack() as servers:

        def opened() -> Any:
            return RedisStore(url) if kind == "Redis" else SqlStore(url)

        if kind == "SQLite":
            url = f"sqlite:///{tmp_path / 'runs.db'}"
        elif kind == "PostgreSQL":
            url = postgres.url(servers.enter_context(postgres.server()))
        else:
            url = servers.enter_context(redis.server()).url
        store, model = opened(), Teacher(lambda _: "Rome " * 200)
        first = await Experiment(quiz(model), cases(), knobs=TONES, score=right).run(store=store)
        before = [(trial.text, trial.session_id) for trial in first.trials]
        store.close()
        store = opened()
        again = await Experiment(quiz(model), cases(), knobs=TONES, score=[right, long]).run(store=store)
        assert (model.asked, again.progress.reused) == (8, 8)
        assert [(trial.text, trial.session_id) for trial in again.trials] == before
        assert again.arms["terse"].mean_of("long") == 1.0
        assert again.trials[3].session().ticks[0].context.hash == again.trials[3].figures.context
        store.close()


def long(result: Result, case: Case) -> bool:
    return len(result.text) > 500


async def test_a_trial_whose_session_was_deleted_says_so_and_is_asked_again_where_it_has_to_be_scored() -> (
    None
):
    store, model = MemoryStore(), Teacher()
    run = await Experiment(quiz(model), cases(), score=right).run(store=store)
    store.delete([run.trials[1].session_id])
    with pytest.raises(SessionNotFoundError, match="of this trial is not in the store any more"):
        run.trials[1].session()
    again = await Experiment(quiz(model), cases(), score=right).run(store=store)
    assert (again.progress.reused, model.asked) == (4, 4)
    last = await Experiment(quiz(model), cases(), score=long).run(store=store)
    assert (last.progress.done, last.progress.reused, model.asked) == (4, 3, 5)
    assert last.trials[1].session().ticks


DRIVER = """
import asyncio, os, signal, sys
from nbsession.experiment import Experiment
from nbsession.stores import SqlStore
from tests.support import postgres, redis
from tests.support.quiz import Teacher, quiz, right, cases

def respond(context):
    with open(sys.argv[2], "a") as file:
        file.write(str(context.messages[-1]) + "\\n")
    return "Paris"

async def main():
    run = Experiment(quiz(Teacher(respond)), [f"question {n}" for n in range(40)], name="killed").run(
        store=SqlStore(sys.argv[1]), concurrency=3
    )
    async for _ in run:
        if run.progress.done >= int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
    print(run.progress.done, run.progress.reused)

asyncio.run(main())
"""


def test_after_kill_9_only_what_is_missing_is_asked(tmp_path: Path) -> None:
    url, asked = f"sqlite:///{tmp_path / 'runs.db'}", tmp_path / "asked"

    def drive(kill_after: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", DRIVER, url, str(asked), str(kill_after)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=ROOT, env=env, check=False, text=True, capture_output=True)

    assert drive(10).returncode == -signal.SIGKILL
    before = asked.read_text().splitlines()
    ended = drive(1_000)
    assert ended.returncode == 0, ended.stderr
    done, reused = map(int, ended.stdout.split())
    assert done == 40
    assert reused >= 10
    again = asked.read_text().splitlines()[len(before) :]
    assert len(again) == 40 - reused
    assert len(before) - reused <= 64, "what was under way or waited to be stored, no more"


async def test_trials_are_kept_by_a_file_and_opened_by_another_app(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    store = SqlStore(url)
    run = await Experiment(quiz(), cases(), knobs=TONES, score=right).run(store=store)
    store.close()
    store = SqlStore(url)
    app = quiz(store=store)
    assert {info.id for info in app.sessions()} == {
        "experiment-Quiz",
        *(trial.session_id for trial in run.trials),
    }
    session = app.session(run.trials[1].session_id)
    assert session.knobs["tone"] == "terse"
    assert session.ticks[0].text == "Paris"
    again = await Experiment(app, cases(), knobs=TONES, score=right).run()
    assert again.progress.reused == 8
    store.close()


async def test_tools_are_called_once_though_the_provider_refuses_in_between() -> None:
    calls: list[str] = []
    refusing = [True]

    def Desk() -> Any:
        @tool
        def book() -> str:
            calls.append("booked")
            return "booked"

        return [book, Timeline()]

    def respond(context: Any) -> Any:
        if "booked" not in str(context.messages):
            return call("book")
        if refusing:
            refusing.clear()
            return ModelError("too many", retryable=True, kind="rate_limit", retry_after=0.0)
        return "It is booked."

    run = await Experiment(App(component(Desk), model=Teacher(respond)), ["Book!"]).run()
    trial = run.trials[0]
    assert (trial.status, trial.text, calls) == ("done", "It is booked.", ["booked"])
    assert (trial.figures.ticks, trial.figures.tool_calls) == (2, 1)


async def test_a_provider_that_refuses_so_many_is_asked_less_at_once() -> None:
    under_way = 0
    most: list[int] = []

    async def respond(context: Any) -> Any:
        nonlocal under_way
        under_way += 1
        most.append(under_way)
        try:
            if under_way > 2:
                return ModelError("too many", retryable=True, kind="rate_limit", retry_after=0.01)
            await asyncio.sleep(0)
            return "Paris"
        finally:
            under_way -= 1

    run = await Experiment(quiz(Teacher(respond)), [f"question {n}" for n in range(60)]).run(concurrency=8)
    assert run.progress.failed == 0
    assert {trial.text for trial in run.trials} == {"Paris"}
    refused = sum(count > 2 for count in most)
    assert refused < len(most) / 3
