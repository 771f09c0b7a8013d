"""A run of an experiment: trials that are asked, stored and scored as they end, and what there is to see of it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession import threads
from nbsession.errors import SessionError, SessionNotFoundError
from nbsession.experiment.outcome import total_of
from nbsession.experiment.pairs import preferences_of
from nbsession.experiment.report import Report
from nbsession.experiment.scoring import score, stale
from nbsession.experiment.tasks import in_turn, tasks_of
from nbsession.experiment.together import together
from nbsession.experiment.trial import Trial
from nbsession.experiment.words import failure, fault
from nbsession.session.awaited import awaited

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from nbsession.context import CompiledContext
    from nbsession.experiment.arm_report import ArmReport
    from nbsession.experiment.design import Design, Means
    from nbsession.experiment.ledger import Kept
    from nbsession.experiment.outcome import Outcome, Spent, Task
    from nbsession.experiment.pairs import Preferences
    from nbsession.experiment.report import Flip
    from nbsession.experiment.scoring import Scored, Scores
    from nbsession.statistics import Comparison

PATIENCE = 5.0
"""Seconds that a cancelled run gets to wind up."""
_AT_A_TIME = 50
"""Contexts that are compiled before others get their turn on the loop."""
_SCORING = 8
"""Stored trials that are scored anew at the same time."""


class Progress(NamedTuple):
    """How far a run is. ``cost`` is what it spent so far, in US dollars (``None``: a price is not known).

    ``scoring`` is what of that went to models that its scorers asked. ``reused`` trials were in the store; they count as done.
    ``seconds_left`` is an estimate, ``None`` before there is one.
    """

    done: int
    total: int
    failed: int
    refused: int
    reused: int
    cost: float | None
    seconds_left: float | None
    scoring: float | None


class Run:
    """The trials of an experiment on their way; made by ``Experiment.run``.

    Await it for all of them (``wait()`` blocks instead), or iterate it asynchronously for the trials as they end;
    both work from any loop, and cancelling the task that awaits it stops it, as ``abort`` does. What ended is in the
    store by then. A trial that fails keeps its error and stops nobody; what stops the run itself (a context that
    does not compile, a store without room) is raised to who awaits it.
    """

    def __init__(self, design: Design, means: Means) -> None:
        self.design = design
        self.reason = ""
        self.outcome: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._means = means
        self._trials: list[Trial] = []
        self._tasks: list[Task] = []
        self._ended: list[Trial] = []
        self._waiting: list[concurrent.futures.Future[None]] = []
        self._lock = threading.Lock()
        self._driver: asyncio.Task[None] | None = None
        self._to_keep: list[Outcome] = []
        self._keeper: asyncio.Task[None] | None = None
        self._began: float | None = None
        self._asked = 0
        self._scored_anew: list[Scores] = []

    # Waiting for it

    def start(self) -> None:
        """Begin on the home loop; where none runs, whoever waits for it, or iterates it, begins it."""
        home = self._means.bench.home
        try:
            home.settle(None if home.here else self.outcome)
        except SessionError:
            return
        home.call(self._begin)

    def __await__(self) -> Generator[Any, None, Run]:
        return self._wait().__await__()

    def wait(self) -> Run:
        """Wait for its end, from a program without a loop or inside a running one."""
        self._means.bench.home.run(self._wait)
        return self

    async def __aiter__(self) -> AsyncIterator[Trial]:
        await self._started()
        position = 0
        while True:
            while position < len(self._ended):
                yield self._ended[position]
                position += 1
            more: concurrent.futures.Future[None] = concurrent.futures.Future()
            with self._lock:
                if position < len(self._ended):
                    continue
                if self.done:
                    break
                self._waiting.append(more)
            await asyncio.wrap_future(more)
        self._raise()

    @property
    def done(self) -> bool:
        """Whether it has ended: all trials did, or it was stopped."""
        return self.outcome.done()

    def abort(self, reason: str | None = None) -> None:
        """Stop it; what ended so far is kept, and not asked again by the next run. After the end it does nothing.

        A batch that was sent stays at the provider, whose answers the next run takes up: ``reason`` names it.
        """
        self._means.bench.home.post(lambda: self._abort(reason or "stopped by the user"))

    @property
    def progress(self) -> Progress:
        """How far it is, at this moment."""
        ended = list(self._ended)
        own = [trial for trial in ended if not trial.reused]
        scores = (each for trial in own for each in trial.scored.values())
        asked, scoring = total_of(trial.figures for trial in own), total_of([*scores, *self._scored_anew])
        left = None
        if self.done:
            left = 0.0
        elif self._began is not None and own:
            left = (time.monotonic() - self._began) / len(own) * (self._asked - len(own))
        return Progress(
            len(ended),
            self.design.size,
            sum(trial.status == "failed" for trial in ended),
            sum(trial.status == "refused" for trial in ended),
            len(ended) - len(own),
            (asked + scoring).cost,
            left,
            scoring.cost,
        )

    # What came of it

    @property
    def trials(self) -> Sequence[Trial]:
        """All trials, by case, arm and repetition, as they stand; empty before their contexts are compiled."""
        return self._trials

    @cached_property
    def contexts(self) -> Mapping[str, CompiledContext]:
        """What the first case is sent as under each arm, by its name; ``contexts[b].diff(contexts[a])`` compares two."""
        bench, first = self._means.bench, self.design.cases[0]
        return {arm.name: bench.compile(arm, first) for arm in self.design.arms}

    @property
    def report(self) -> Report:
        """What came of the cases that are not held out."""
        return self._report(held_out=False)

    @property
    def held_out(self) -> Report:
        """What came of the cases that are held out, which nothing else here counts."""
        return self._report(held_out=True)

    def _report(self, *, held_out: bool) -> Report:
        names = [scorer.name for scorer in self.design.scorers]
        chosen = [trial for trial in self._trials if trial.case.held_out is held_out]
        return Report(self.design.arms, chosen, names)

    @property
    def arms(self) -> Mapping[str, ArmReport]:
        """The arms by name, each with ``mean``, ``interval``, ``n``, ``tokens``, ``cost`` and ``latency``."""
        return self.report.arms

    def compare(self, a: str, b: str, *, score: str | None = None) -> Comparison:
        """Compare two arms case by case, ``a`` less ``b``; see ``Report.compare``."""
        return self.report.compare(a, b, score=score)

    async def prefer(self, a: str, b: str, judge: Callable[..., Any]) -> Preferences:
        """Have a judge of pairs, such as ``judge(app, pairwise=True)``, say which arm's answers are better.

        It is called with both results and their case, and gives a number from 0 (``b``) to 1 (``a``); held-out cases
        are left out. What it decided is stored, and not asked again. Raises ``SessionError`` before the run has ended.
        """
        if not self.done:
            raise SessionError("the run goes on: await it, and have its answers judged then")
        arms = self.arms
        return await preferences_of(arms[a].trials, arms[b].trials, judge, self._means.ledger)

    def flips(self, a: str, b: str, *, score: str | None = None) -> list[Flip]:
        """Return the cases that two arms do not score alike; see ``Report.flips``."""
        return self.report.flips(a, b, score=score)

    @property
    def failures(self) -> list[Trial]:
        """The trials that failed, held out or not, each with its ``error``; the next run asks them again."""
        return [trial for trial in self._trials if trial.status == "failed"]

    @property
    def refused(self) -> list[Trial]:
        """The trials that a budget kept from going on, held out or not; a run with more asks them."""
        return [trial for trial in self._trials if trial.status == "refused"]

    def frame(self) -> pd.DataFrame:
        """Return all trials as a pandas data frame, held out or not; see ``Report.frame``."""
        names = [scorer.name for scorer in self.design.scorers]
        return Report(self.design.arms, self._trials, names).frame()

    def plot(self) -> Figure:
        """Draw the arms' means with their intervals; see ``Report.plot``."""
        return self.report.plot()

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    def __len__(self) -> int:
        return self.design.size

    def __getitem__(self, number: int) -> Trial:
        return self._trials[number]

    def __repr__(self) -> str:
        how = self.progress
        return f"<Run of {how.total} trials, {how.done} ended, {how.failed} failed>"

    def __str__(self) -> str:
        how = self.progress
        told = [str(self.report)]
        if any(case.held_out for case in self.design.cases):
            told.append(f"held out:\n{self.held_out}")
        if how.done < how.total:
            told.append(
                f"{how.done} of {how.total} trials ended" + (f"; {self.reason}" if self.reason else "")
            )
        if self.done and (error := self.outcome.exception()) is not None:
            told.append(f"it stopped: {fault(failure(error))}")
        if how.failed:
            told.append(f"{how.failed} failed, such as {self.failures[0]!r}: {fault(self.failures[0].error)}")
        if how.refused:
            told.append(f"{how.refused} refused: {fault(self.refused[0].error)}")
        return "\n\n".join(told)

    # On the home loop

    async def _started(self) -> None:
        """Begin it where it was made before any loop ran."""
        if self._driver is None and not self.done:
            await self._means.bench.home.carry(self._begun)

    async def _wait(self) -> Run:
        await self._started()
        await awaited(self.outcome, self.abort, PATIENCE)
        return self

    async def _begun(self) -> None:
        self._begin()

    def _begin(self) -> None:
        if self._driver is None:
            self._means.ledger.open()
            self._driver = asyncio.get_running_loop().create_task(self._drive(), name="nbsession experiment")

    def _abort(self, reason: str) -> None:
        if self.done or self.reason:
            return
        self.reason = reason
        if self._driver is not None:
            self._driver.cancel()
        else:
            self._end(None)

    async def _drive(self) -> None:
        failure: BaseException | None = None
        try:
            missing = await self._take_up(await self._lay_out())
            await self._ask(missing)
        except asyncio.CancelledError as stopped:  # its words, if it has any, say what goes on elsewhere
            self.reason = "; ".join([self.reason or "its event loop was closed", *map(str, stopped.args)])
        except Exception as error:  # noqa: BLE001  # raised to who awaits the run
            failure = error
        finally:
            self._end(failure)

    async def _lay_out(self) -> dict[str, Kept]:
        """Compile every context, before anything is sent, and read what the store has of these trials."""
        design, means = self.design, self._means
        await means.bench.prepare()
        for task in tasks_of(means.bench, design.cases, design.arms, design.repeat, design.scorers):
            self._tasks.append(task)
            self._trials.append(Trial(task.number, task.case, task.arm, task.repeat, task.key, means.archive))
            if not task.number % _AT_A_TIME:
                await asyncio.sleep(0)
        keys = {task.key for task in self._tasks}
        return await threads.beside(lambda: means.ledger.read(keys))

    async def _take_up(self, kept: Mapping[str, Kept]) -> list[Task]:
        """Take up what is there, scoring anew where scorer or case is another one; return the tasks that are left."""
        missing, again = [], []
        for task, trial in zip(self._tasks, self._trials, strict=True):
            found = kept.get(task.key)
            if found is None or found.status != "done":
                missing.append(task)
                continue
            trial.status, trial.figures, trial.session_id = "done", found.figures, found.session
            trial.scored, trial.error, trial.reused = self._of_these_scorers(found.scored), found.error, True
            if stale(task.scorers, task.case, found.scored):
                again.append((trial, found.scored))
            else:
                self._settle(trial)
        reused = [trial for trial in self._trials if trial.reused]
        self._means.account.begin(self._means.budget, total_of(_spent(reused)))
        gate = asyncio.Semaphore(_SCORING)
        scored = await together(self._score(trial, there, gate) for trial, there in again)
        gone = [trial for (trial, _), done in zip(again, scored, strict=True) if not done]
        return in_turn([*missing, *(self._tasks[trial.number] for trial in gone)])

    def _of_these_scorers(self, scored: Scored) -> Scored:
        """Leave out what other scorers gave, which stays in the store."""
        return {each.name: scored[each.name] for each in self.design.scorers if each.name in scored}

    async def _score(self, trial: Trial, there: Scored, gate: asyncio.Semaphore) -> bool:
        """Score a trial of the store anew; where its session was deleted, it is to be asked again."""
        async with gate:
            scorers = stale(self.design.scorers, trial.case, there)
            try:
                result = await trial.archive.result(trial.session_id)
            except SessionNotFoundError:
                trial.status, trial.reused = "unsent", False
                return False
            means = self._means
            anew = await score(scorers, result, trial.case, means.bench.home.user_loop, means.account)
            self._scored_anew += anew.values()
            scored = {**there, **anew}
            await self._means.ledger.rescore(trial.key, scored)
            trial.scored = self._of_these_scorers(scored)
            self._settle(trial)
            return True

    async def _ask(self, tasks: Sequence[Task]) -> None:
        means = self._means
        self._began, self._asked = time.monotonic(), len(tasks)
        given: set[int] = set()
        try:
            async with aclosing(means.engine.outcomes(tasks, means.bench)) as outcomes:
                async for outcome in outcomes:
                    if outcome.number not in given:  # a worker that was given up may answer late
                        given.add(outcome.number)
                        self._to_keep.append(outcome)
                        await self._kept(enough=_AT_A_TIME)
        finally:
            await self._kept(enough=0)

    async def _kept(self, *, enough: int) -> None:
        """See that what ended is stored, and wait for that where more than ``enough`` waits."""
        if self._keeper is None or self._keeper.done():
            keeper, self._keeper = self._keeper, None
            if keeper is not None:
                keeper.result()
            if self._to_keep:
                self._keeper = asyncio.create_task(self._keep())
        if self._keeper is not None and len(self._to_keep) >= enough:
            await asyncio.shield(self._keeper)

    async def _keep(self) -> None:
        """Store what waits, as long as something does, in as few transactions as there can be."""
        while self._to_keep:
            ended, self._to_keep = self._to_keep, []
            lasting = [each for each in ended if each.status in ("done", "failed")]
            await self._means.ledger.keep([(self._tasks[each.number], each) for each in lasting])
            for outcome in ended:
                trial = self._trials[outcome.number]
                trial.status, trial.figures, trial.error = outcome.status, outcome.figures, outcome.error
                trial.scored = outcome.scored
                trial.session_id = outcome.session if outcome.status in ("done", "failed") else ""
                self._settle(trial)

    def _settle(self, trial: Trial) -> None:
        with self._lock:
            self._ended.append(trial)
        self._wake()

    def _end(self, failure: BaseException | None) -> None:
        self._means.account.end()
        self._means.ledger.close()
        if not self.outcome.done():
            if failure is not None:
                self.outcome.set_exception(failure)
            else:
                self.outcome.set_result(None)
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _raise(self) -> None:
        if (error := self.outcome.exception()) is not None:
            raise error


def _spent(trials: Iterable[Trial]) -> Iterator[Spent]:
    """Give what each trial has taken, and each of its scores."""
    for trial in trials:
        yield trial.figures
        yield from trial.scored.values()
