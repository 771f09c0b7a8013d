"""Trials in other processes: cut into jobs, given to a pool of workers, a bounded number at a time."""

from __future__ import annotations

import asyncio
import math
import pickle
from collections import deque
from typing import TYPE_CHECKING, Any

from nbsession import threads
from nbsession.errors import SessionError
from nbsession.experiment.bench import whole
from nbsession.experiment.engine import counted
from nbsession.experiment.engines.job import Job, Kit, Order, Reply, perform
from nbsession.experiment.engines.travel import Packer
from nbsession.experiment.judge import Judge
from nbsession.experiment.outcome import Outcome
from nbsession.experiment.scoring import score
from nbsession.experiment.together import stopped, together
from nbsession.session.spending import Total
from nbsession.stores import MemoryStore
from nbsession.stores.lease import this_owner
from nbsession.tree import Component
from nbsession.usage import Budget, Usage, prices

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import AsyncGenerator, Callable, Sequence

    from nbsession.experiment.bench import Bench
    from nbsession.experiment.engines.pools import Pool
    from nbsession.experiment.outcome import Task

SECONDS = 1.0
"""What a job is to take, so that little waits for it and little is lost with it."""
MOST = 100
"""Trials of a job at most."""
LIVES = 3
"""How often workers may die over a trial before it is given up; those that a cluster itself tried count once."""


class RemoteEngine:
    """Does tasks in the workers of a pool, at most ``concurrency`` at once for each provider, over all workers.

    What a worker took along when it died is done again, trial by trial; one over which ``LIVES`` workers died has
    failed. Judges are asked here, in their own apps, which keep their sessions. ``open`` gives the pool, and may block.
    """

    def __init__(self, open: Callable[[], Pool], concurrency: int) -> None:
        self._open = open
        self._concurrency = counted("concurrency", concurrency)

    async def outcomes(self, tasks: Sequence[Task], bench: Bench) -> AsyncGenerator[Outcome]:
        """See ``Engine``. Raises ``SessionError`` where nobody is there to work, and for what cannot be sent there."""
        if not tasks:
            return
        packer = Packer()
        kit = await threads.beside(lambda: _kit(packer, tasks, bench))
        dispatch = _Dispatch(await threads.beside(self._open), packer, kit, bench, self._concurrency, tasks)
        try:
            while await dispatch.fill():
                for outcome in await dispatch.ended():
                    yield outcome
        finally:
            await dispatch.stop()


class _Dispatch:
    """The tasks of a run on their way to workers and back; used on one loop."""

    def __init__(
        self, pool: Pool, packer: Packer, kit: bytes, bench: Bench, concurrency: int, tasks: Sequence[Task]
    ) -> None:
        self._pool, self._packer, self._kit, self._bench = pool, packer, kit, bench
        self._concurrency = concurrency
        self._waiting = deque(tasks)
        self._alone: deque[Task] = deque()  # over which a worker died, perhaps by another's fault
        self._suspects: deque[Task] = deque()  # which are done while nothing else is, to be sure
        self._refused: deque[Task] = deque()  # for which a share of the budget was too little
        self._deaths: dict[int, int] = {}
        self._jobs: set[asyncio.Task[list[Outcome]]] = set()
        self._sent: set[concurrent.futures.Future[bytes]] = set()
        self._judges = [scorer for scorer in tasks[0].scorers if isinstance(scorer.function, Judge)]
        self._size = 1
        self._stopped = False
        self._failure: BaseException | None = None

    async def fill(self) -> bool:
        """Give jobs to as many workers as there are; say whether anything is under way."""
        if self._failure is not None:
            raise self._failure
        slots = await self._slots()
        busy = min(slots, self._concurrency)
        # A second job waits for each worker, so that none is idle, unless not all may work at once.
        width = 2 * busy if busy == slots else busy
        while len(self._jobs) < width and not self._suspects and (self._alone or self._waiting):
            self._begin(self._cut(width, self._concurrency // busy), width, self._concurrency // busy)
        if not self._jobs:
            if self._suspects:
                self._begin([self._suspects.popleft()], 1, 1)
            elif self._refused:  # all that is left is for each of them
                given = [self._refused.popleft() for _ in range(min(MOST, len(self._refused)))]
                self._begin(given, 1, self._concurrency)
        return bool(self._jobs)

    async def _slots(self) -> int:
        try:
            return max(1, await threads.beside(self._pool.slots))
        except Exception as error:
            raise SessionError(f"{self._pool.name} does not answer any more: {error}{_GO_ON}") from error

    def _cut(self, width: int, concurrency: int) -> list[Task]:
        """Take the tasks of the next job off: as many as its time allows, and fewer where few are left."""
        if self._alone:
            return [self._alone.popleft()]
        size = min(max(self._size, concurrency), math.ceil(len(self._waiting) / width))
        return [self._waiting.popleft() for _ in range(size)]

    async def ended(self) -> list[Outcome]:
        """Wait until a job has ended, and return what came of its tasks; what no other job can mend is raised by ``fill``."""
        done, self._jobs = await asyncio.wait(self._jobs, return_when=asyncio.FIRST_COMPLETED)
        self._failure = next((error for job in done if (error := job.exception()) is not None), None)
        return [outcome for job in done if job.exception() is None for outcome in job.result()]

    async def stop(self) -> None:
        """Let no job go on."""
        self._stopped = True
        if any(not future.done() for future in self._sent):
            self._pool.sign.leave()
        for future in list(self._sent):
            future.add_done_callback(self._over)
        await stopped(self._jobs)

    def _over(self, future: concurrent.futures.Future[bytes]) -> None:
        self._sent.discard(future)
        if self._stopped and not self._sent:
            self._pool.sign.take_away()

    def _begin(self, tasks: Sequence[Task], width: int, concurrency: int) -> None:
        account = self._bench.account
        limit, used = account.bound if account is not None else (None, Total())
        lent = None
        if account is not None and limit is not None:
            lease = _left(limit, used, width - len(self._jobs))
            lent = account.lend(Total.of(Usage(input_tokens=lease.tokens or 0), lease.usd or 0.0))
            used = _all_but(lease, limit, used)
        orders = [Order(*task[:3], task.arm.name, *task[4:7]) for task in tasks]
        job = Job(orders, concurrency, limit, used)
        doing = asyncio.create_task(self._do(tasks, job, lent, width == 1))
        doing.add_done_callback(_looked_at)
        self._jobs.add(doing)

    async def _do(
        self, tasks: Sequence[Task], job: Job, lent: object | None, all_is_lent: bool
    ) -> list[Outcome]:
        account = self._bench.account
        try:
            reply = await self._reply(job, len(tasks))
        finally:
            if account is not None:
                account.take_back(lent)
        if reply is None:
            return self._died(tasks)
        if account is not None:
            account.count(reply.spent)
        if reply.seconds and tasks:
            self._size = min(MOST, max(1, round(len(tasks) * SECONDS / reply.seconds)))
        by_number = {task.number: task for task in tasks}
        ended = []
        for outcome in reply.outcomes:
            if outcome.status == "refused" and lent is not None and not all_is_lent:
                self._refused.append(by_number[outcome.number])
            else:
                ended.append(outcome)
        if self._judges:
            gate = asyncio.Semaphore(job.concurrency)
            await together(self._judge(by_number[each.number], each, gate) for each in ended)
        return ended

    async def _reply(self, job: Job, number: int) -> Reply | None:
        """Have a job done; ``None`` where the worker died over it."""
        name = self._pool.name
        packed = self._packer.pack(job, "a case")
        sent = None
        try:
            sent = self._pool.submit(perform, self._kit, packed, self._pool.sign)
            self._sent.add(sent)
            reply: Reply = pickle.loads(await asyncio.wrap_future(sent))  # noqa: S301  # of our own worker
        except asyncio.CancelledError:
            if self._stopped or sent is None or not sent.cancelled():
                raise
            raise SessionError(f"{name} dropped a job of {number} trials{_GO_ON}") from None
        except Exception as error:
            if self._pool.lost(error):
                return None
            raise SessionError(
                f"{name} failed with a job of {number} trials: {type(error).__name__}: {error}{_GO_ON}"
            ) from error
        finally:
            if sent is not None and sent.done():
                self._sent.discard(sent)
        if reply.fault:
            raise SessionError(
                f"a worker of {name} cannot load the experiment: {reply.fault}; install there what is missing, or have a "
                "module of yours travel too: cloudpickle.register_pickle_by_value(module)"
            )
        return reply

    def _died(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Have tasks done again over which a worker died, each by itself, so that it is seen which one it was."""
        given_up = []
        for task in tasks:
            deaths = self._deaths[task.number] = self._deaths.get(task.number, 0) + 1
            if deaths < LIVES:
                (self._suspects if deaths == LIVES - 1 else self._alone).append(task)
            else:
                error = f"workers of {self._pool.name} died over it, {deaths} times"
                given_up.append(Outcome(task.number, "failed", error=error))
        return given_up

    async def _judge(self, task: Task, outcome: Outcome, gate: asyncio.Semaphore) -> None:
        """Have judges score a trial, in their own apps; the other scorers did where it was made."""
        if outcome.status != "done":
            return
        async with gate:
            store = MemoryStore()
            store.append(outcome.session, outcome.rows, outcome.texts, revision=0)
            session = self._bench.app.like(self._bench.app.root, store=store).session(outcome.session)
            try:
                bench = self._bench
                judged = await score(
                    self._judges, whole(session), task.case, bench.home.user_loop, bench.account
                )
            finally:
                await session.aclose()
        scored = {**outcome.scored, **judged}
        outcome.scored = {scorer.name: scored[scorer.name] for scorer in task.scorers}


_GO_ON = "; what ended before is kept: run again, and only what is missing is asked"


def _looked_at(job: asyncio.Task[list[Outcome]]) -> None:
    """Let asyncio not tell of a failure that came after another one had ended the run."""
    if not job.cancelled():
        job.exception()


def _left(limit: Budget, used: Total, places: int) -> Budget:
    """Return a job's share of what is left of a budget, where so many jobs may still come."""
    usd = tokens = None
    if limit.usd is not None:
        usd = max(0.0, limit.usd - (used.cost or 0.0)) / places
    if limit.tokens is not None:
        tokens = max(0, limit.tokens - used.usage.total_tokens) // places
    return Budget(usd, tokens)


def _all_but(lease: Budget, limit: Budget, used: Total) -> Total:
    """Return what has to count as used of a budget so that only a lease is left of it."""
    usage, cost = used.usage, used.cost
    if limit.tokens is not None and lease.tokens is not None:
        usage = Usage(input_tokens=limit.tokens - lease.tokens)
    if limit.usd is not None and lease.usd is not None and cost is not None:
        cost = limit.usd - lease.usd
    return Total.of(usage, cost)


def _kit(packer: Packer, tasks: Sequence[Task], bench: Bench) -> bytes:
    """Pack what all jobs need. Raises ``SessionError`` that names what cannot be sent, of the cases too."""
    app = bench.app.like(bench.app.root)
    app.observe = None
    scorers = [scorer for scorer in tasks[0].scorers if not isinstance(scorer.function, Judge)]
    name = app.root.name if isinstance(app.root, Component) else app.root.type.name
    parts: dict[str, Any] = {f"component {name!r}": app.root, "the model": app.model}
    parts |= {f"tool {tool.name!r}": tool for tool in app.tools}
    parts |= {f"arm {arm.name!r}": arm for arm in bench.arms}
    parts |= {f"scorer {scorer.name!r}": scorer.function for scorer in scorers}
    parts |= {f"case {task.case.name!r}": task.case for task in tasks}
    for what, part in parts.items():
        packer.pack(part, what)
    return packer.pack(Kit(app, bench.arms, scorers, prices.own(), this_owner()), "the app")
