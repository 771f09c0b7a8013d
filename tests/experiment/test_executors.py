"""Executors: trials in other threads and processes, on real clusters of this machine."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import sys
import types
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, SessionError, System, Timeline, component
from nbsession.experiment import Case, Experiment, judge
from nbsession.experiment.engines import pools
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel
from nbsession.usage import set_price
from tests.support.clusters import dask_client, ipyparallel_cluster
from tests.support.quiz import Quiz, Teacher, cases, quiz, right

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nbsession.experiment import Run
    from nbsession.session import Result

TONES = {"tone": ["friendly", "terse"]}
ALL = ("dask", "ipyparallel", "processes", "threads")


class Executors:
    """What there is to run trials by, each started at its first use."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request

    def __getitem__(self, kind: str) -> Any:
        found = self._request.getfixturevalue(kind)
        return found[1] if kind == "ipyparallel" else found


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    with dask_client() as client:
        yield client


@pytest.fixture(scope="module")
def ipyparallel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with ipyparallel_cluster(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with spawned() as pool:
        yield pool


@pytest.fixture(scope="module")
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def executors(request: pytest.FixtureRequest) -> Executors:
    return Executors(request)


def spawned(workers: int = 2) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # other processes say it
        await asyncio.sleep(0.01)


def place(result: Result, case: Case) -> float:
    return os.getpid()


@pytest.mark.parametrize("kind", ALL)
async def test_trials_are_made_elsewhere_and_their_sessions_come_back(
    executors: Executors, kind: str
) -> None:
    store = MemoryStore()
    asked = Experiment(quiz(), cases(), knobs=TONES, repeat=2, score=[right, place])
    run = await asked.run(store=store, executor=executors[kind])
    assert (run.progress.done, run.progress.failed) == (16, 0), run
    assert {name: arm.mean for name, arm in run.arms.items()} == {"friendly": 0.25, "terse": 1.0}
    assert ({trial.scores["place"] for trial in run} == {os.getpid()}) is (kind == "threads")
    trial = run.trials[0]
    session = trial.session()
    assert session.ticks[0].text == trial.text
    assert session.metadata["trial"] == trial.key
    assert (await asked.run(store=store)).progress.reused == 16


async def test_every_kind_of_view_may_be_given(ipyparallel: Any) -> None:
    _, client = ipyparallel
    for view in (client[:], client[0], client.load_balanced_view(), client[:].executor):
        run = await Experiment(quiz(), cases(), score=right).run(store=MemoryStore(), executor=view)
        assert (run.progress.done, run.progress.failed) == (4, 0)


async def test_an_asynchronous_dask_client_may_be_given(dask: Any) -> None:
    async with type(dask)(dask.scheduler.address, asynchronous=True, set_as_default=False) as client:
        run = await Experiment(quiz(), cases(), score=right).run(executor=client)
    assert (run.progress.done, run.progress.failed) == (4, 0)


CELL = '''
import math
from nbsession import App, System, Timeline, component, create_context, tool, use_context, use_knob
from nbsession.testing import ScriptedModel, call
from tests.support.quiz import Quiz

Manner = create_context("plainly")
FACTOR = 2

@tool
def double(number: int) -> int:
    """Double a number."""
    return math.prod([FACTOR, number])

@component
def Said():
    return System(f"Speak {use_context(Manner)}.")

@component
def Cell():
    tone, _ = use_knob("tone", "a", options=["a", "b"])
    return [Manner(tone, Said()), double, Timeline()]

class Calling(ScriptedModel):
    async def _next(self, context):
        last = context.messages[-1]
        if last.role == "user" and "7" in str(last) and "14" not in str(last):
            return [call("double", number=7)]
        return [str(context.system) + str(last)]

app = App(Cell, model=Calling())

def manner(result, case):
    return f"Speak {case.expected}." in result.text and str(7 * FACTOR) in result.text
'''


@pytest.mark.parametrize("kind", ALL)
async def test_what_notebook_cells_define_travels(executors: Executors, kind: str) -> None:
    main = types.ModuleType("__main__")
    exec(compile(CELL, "<cell>", "exec"), main.__dict__)
    asked = Experiment(main.app, [Case("double 7", "a")], knobs={"tone": ["a", "b"]}, score=main.manner)
    run = await asked.run(store=MemoryStore(), executor=executors[kind])
    assert run.progress.failed == 0, run.failures[0].error
    assert {name: arm.mean for name, arm in run.arms.items()} == {"a": 1.0, "b": 0.0}
    assert run.trials[0].figures.tool_calls == 1


def fail(_: Any) -> Any:
    raise ValueError("the model broke")


def odd(result: Result, case: Case) -> Any:
    raise LookupError("nothing to compare with")


async def test_failures_there_are_values_here(processes: Executor) -> None:
    run = await Experiment(quiz(Teacher(fail)), ["hi"]).run(executor=processes)
    assert "the model broke" in run.failures[0].error
    run = await Experiment(quiz(), ["hi"], score=odd).run(executor=processes)
    assert run.trials[0].scores == {"odd": "LookupError: nothing to compare with"}


async def test_a_dask_worker_that_is_killed_loses_no_trial_and_none_counts_twice(dask: Any) -> None:
    store = MemoryStore()
    asked = Experiment(quiz(), [f"question {n}" for n in range(150)], knobs=TONES, score=place)
    pids = list(dask.run(os.getpid).values())
    run = asked.run(store=store, executor=dask)
    numbers: list[int] = []
    async for trial in run:
        if not numbers:
            os.kill(pids[0], signal.SIGKILL)
        numbers.append(trial.number)
    assert sorted(numbers) == list(range(300))
    assert (run.progress.done, run.progress.failed) == (300, 0)
    assert len(store.sessions()) == 301  # one for the ledger


async def test_an_engine_that_is_killed_loses_no_trial(ipyparallel: Any) -> None:
    cluster, client = ipyparallel
    cluster.start_engines_sync(n=1)
    client.wait_for_engines(3, timeout=60)
    pid = client[client.ids[-1]].apply_sync(os.getpid)
    run = Experiment(quiz(), [f"question {n}" for n in range(150)], knobs=TONES).run(executor=client)
    numbers: list[int] = []
    async for trial in run:
        if not numbers:
            os.kill(pid, signal.SIGKILL)
        numbers.append(trial.number)
    assert sorted(numbers) == list(range(300))
    assert run.progress.failed == 0, run.failures[0].error


def deadly(result: Result, case: Case) -> bool:
    if case.id == "deadly":
        os._exit(1)
    return True


def impatient(dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = 0


async def test_a_trial_over_which_workers_die_fails_alone(dask: Any) -> None:
    dask.run_on_scheduler(impatient)
    given = [Case(f"question {n}", id=f"{n}") for n in range(5)] + [Case("bang", id="deadly")]
    run = await Experiment(quiz(), given, score=deadly).run(executor=dask)
    assert (run.progress.done, [trial.case.id for trial in run.failures]) == (6, ["deadly"])
    assert "workers of the Dask cluster died over it" in run.failures[0].error


async def test_a_pool_that_breaks_says_so_and_the_next_goes_on() -> None:
    store = MemoryStore()
    given = [Case(f"question {n}", id=f"{n}") for n in range(20)] + [Case("bang", id="deadly")]
    with spawned(1) as pool:
        with pytest.raises(SessionError, match=r"the ProcessPoolExecutor failed .* run again"):
            await Experiment(quiz(), given, score=deadly).run(store=store, executor=pool)
        with pytest.raises(SessionError, match="the ProcessPoolExecutor takes nothing any more"):
            await Experiment(quiz(), given, score=deadly).run(store=store, executor=pool)
    run = await Experiment(quiz(), given).run(store=store)
    assert run.progress.done == 21
    assert len(store.sessions()) == 22


class Endless(Teacher):
    """Says in a file that it was asked, and never answers."""

    def __init__(self, asked: Path) -> None:
        super().__init__()
        self.file = asked

    async def _next(self, context: Any) -> Any:
        self.file.touch()
        await asyncio.Event().wait()


@pytest.mark.parametrize("kind", ALL)
async def test_stop_frees_the_workers(
    executors: Executors, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = executors[kind]
    (notes := tmp_path / "notes").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(notes))
    model = Endless(tmp_path / "asked")
    run = Experiment(quiz(model), [f"question {n}" for n in range(20)]).run(executor=executor)
    await until(model.file.exists)
    run.abort("enough")
    await run
    assert (run.reason, run.progress.done) == ("enough", 0)
    run = await Experiment(quiz(), cases(), score=right).run(executor=executor)
    assert run.progress.done == 4
    await until(lambda: not any(notes.iterdir()))


class Counting(ThreadPoolExecutor):
    """Counts the jobs that it was given and has not ended."""

    def __init__(self) -> None:
        super().__init__(2)
        self.given, self.open, self.most = 0, 0, 0

    def submit(self, *args: Any, **options: Any) -> Future[Any]:
        self.given += 1
        self.open += 1
        self.most = max(self.most, self.open)
        future = super().submit(*args, **options)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _: Any) -> None:
        self.open -= 1


async def test_few_jobs_are_under_way_at_once_however_many_trials_there_are() -> None:
    with Counting() as executor:
        run = await Experiment(quiz(), [f"question {n}" for n in range(300)]).run(executor=executor)
    assert run.progress.done == 300
    assert executor.most <= 4
    assert executor.given < 100, "trials are sent in batches"


@pytest.mark.parametrize("budget", [{"tokens": 1_000}, 0.01])
async def test_a_budget_bounds_all_workers_together(processes: Executor, budget: Any) -> None:
    set_price("acme:paid", input=10, output=10)
    given = [f"question {n}" for n in range(60)]

    async def run_by(executor: Any) -> Run:
        asked = Experiment(quiz(Teacher(name="acme:paid")), given)
        return await asked.run(store=MemoryStore(), executor=executor, budget=budget)

    here, there = await run_by(None), await run_by(processes)
    assert 0 < len(there.refused) < 60
    assert len(there.refused) + sum(trial.status == "done" for trial in there) == 60
    assert abs(len(there.refused) - len(here.refused)) <= 2, "what is left is not lost in shares"
    answers = 8 * max(trial.figures.output_tokens for trial in there)  # which nobody knows before, as here
    assert sum(trial.tokens for trial in there) <= 1_000 + answers
    assert "pass the experiment's budget of" in there.refused[0].error


async def test_prices_that_were_set_here_hold_there(processes: Executor) -> None:
    set_price("acme:one", input=1_000_000, output=0)
    run = await Experiment(quiz(Teacher(name="acme:one")), ["hi"]).run(executor=processes)
    assert run.trials[0].cost == run.trials[0].figures.input_tokens


async def test_a_judges_sessions_stay_in_its_own_app(processes: Executor) -> None:
    def say(context: Any) -> Any:
        return '{"reason": "as it is", "score": 0.5}'

    court = App(Quiz, model=Teacher(say))
    asked = Experiment(quiz(), cases(), score=[judge(court), right])
    run = await asked.run(executor=processes)
    trial = run.trials[0]
    assert list(trial.scores) == ["judge", "right"]
    assert trial.scores["judge"] == 0.5, trial.scores
    assert "France" in str(court.session(trial.notes["judge"]["session"]).ticks[0].context.messages[0])
    assert (await asked.run(executor=processes)).progress.reused == 4


async def test_what_cannot_travel_is_named_before_anything_is_sent(processes: Executor) -> None:
    connection = sqlite3.connect(":memory:")

    @component
    def Rows() -> Any:
        return [str(connection), Timeline()]

    model = Teacher()
    with pytest.raises(
        SessionError, match=r"component 'Rows' cannot be sent .*because of its 'connection' \(Connection\)"
    ):
        await Experiment(App(Rows, model=model), ["hi"]).run(executor=processes)

    def counts(result: Result, case: Case) -> bool:
        return bool(connection)

    with pytest.raises(
        SessionError, match="scorer 'counts' cannot be sent to another process, because of its"
    ):
        await Experiment(quiz(model), ["hi"], score=counts).run(executor=processes)
    with pytest.raises(SessionError, match="case 'odd' cannot be sent to another process"):
        await Experiment(quiz(model), [Case("hi", connection, "odd")]).run(executor=processes)
    connection.close()
    assert model.asked == 0


async def test_what_a_worker_cannot_import_is_said(
    processes: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("only_here")
    exec("def score(result, case):\n    return True", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(
        SessionError, match="cannot load the experiment: ModuleNotFoundError: No module named 'only_here'"
    ):
        await Experiment(quiz(), ["hi"], score=module.score).run(executor=processes)


async def test_a_cluster_that_is_not_there_is_one_sentence(
    dask: Any, ipyparallel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Teacher()
    asked = Experiment(quiz(model), ["hi"])
    closed = await asyncio.to_thread(type(dask), dask.scheduler.address, set_as_default=False)
    await asyncio.to_thread(closed.close)
    with pytest.raises(SessionError, match="the Dask client is closed"):
        await asked.run(executor=closed)
    monkeypatch.setattr(pools, "WAIT", 0.01)
    with ExitStack() as stack:
        empty = await asyncio.to_thread(stack.enter_context, dask_client(0))
        with pytest.raises(SessionError, match=r"has no worker that answers .*: start one, and run again"):
            await asked.run(executor=empty)
    gone = await asyncio.to_thread(ipyparallel[0].connect_client_sync)
    await asyncio.to_thread(gone.close)
    with pytest.raises(SessionError, match="the ipyparallel client is closed"):
        await asked.run(executor=gone)
    over = ThreadPoolExecutor(1)
    over.shutdown()
    with pytest.raises(SessionError, match="the ThreadPoolExecutor takes nothing any more"):
        await asked.run(executor=over)
    assert model.asked == 0


def test_a_program_without_a_loop_waits(processes: Executor) -> None:
    run = Experiment(quiz(), cases(), score=right).run(executor=processes).wait()
    assert run.progress.done == 4


async def test_what_another_module_has_taken_from_where_it_is_defined_is_found_there(
    processes: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that merely imports an element type may not be there in a worker."""
    borrower = types.ModuleType("only_here")
    borrower.System = System  # type: ignore[attr-defined]  # as an import would leave it
    monkeypatch.setitem(sys.modules, "only_here", borrower)
    main = types.ModuleType("__main__")
    exec(compile(PLAIN, "<cell>", "exec"), main.__dict__)
    run = await Experiment(App(main.Plain, model=ScriptedModel("Hello.")), ["hi"]).run(executor=processes)
    assert run.progress.failed == 0, run.failures[0].error


PLAIN = """
from nbsession import System, Timeline, component

@component
def Plain():
    return [System("You are plain."), Timeline()]
"""
