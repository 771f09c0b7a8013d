"""A job: some trials that are sent to another process together, and what is done there."""

from __future__ import annotations

import asyncio
import concurrent.futures
import pickle
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from nbsession import threads
from nbsession.experiment.bench import Bench
from nbsession.experiment.engine import LocalEngine
from nbsession.experiment.outcome import Outcome, Task
from nbsession.session.spending import Spending, Total
from nbsession.stores.lease import this_owner
from nbsession.usage import prices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbsession.app import App
    from nbsession.experiment.arm import Arm
    from nbsession.experiment.case import Case
    from nbsession.experiment.scoring import Scorer
    from nbsession.usage import Budget

POLL = 0.2
"""Seconds after which a job looks whether it is still wanted."""

_allowed: dict[str, float] = {}  # what this process found out of providers, job by job


class Sign(Protocol):
    """By what a job that runs elsewhere sees that it is not wanted any more; travels with the job."""

    def watch(self) -> Callable[[], bool]:
        """Return what says so; called in the thread in which the job is begun."""
        ...


class Kit(NamedTuple):
    """What all jobs of a run have in common. ``prices`` are those that were set in the process ``owner``."""

    app: App
    arms: Sequence[Arm]
    scorers: Sequence[Scorer]
    prices: Mapping[str, Any]
    owner: str


class Order(NamedTuple):
    """A trial as it is sent: a task without what the kit has."""

    number: int
    key: str
    case: Case
    arm: str
    repeat: int
    model: str
    tokens: int


class Job(NamedTuple):
    """Trials to be made, so many at once for each provider. ``used`` is what the budget that bounds them has not for them."""

    orders: Sequence[Order]
    concurrency: int
    budget: Budget | None
    used: Total


class Reply(NamedTuple):
    """What came of a job. ``fault`` says why it could not be begun."""

    outcomes: Sequence[Outcome] = ()
    spent: Total = Total()
    seconds: float = 0.0
    fault: str = ""


def perform(kit: bytes, job: bytes, sign: Sign) -> bytes:
    """Do a job on a loop of its own, in whichever process this is; return its ``Reply``, packed."""
    unwanted = sign.watch()
    try:
        made, asked = pickle.loads(kit), pickle.loads(job)  # noqa: S301  # from who started the run
    except Exception as error:  # noqa: BLE001  # whatever a module raises when it is imported
        return pickle.dumps(Reply(fault=f"{type(error).__name__}: {error}"))

    def begin() -> Reply:
        return asyncio.run(_performed(made, asked, unwanted))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return pickle.dumps(begin())
    with concurrent.futures.ThreadPoolExecutor(
        1
    ) as beside:  # an IPython engine's thread has a loop that runs
        return pickle.dumps(beside.submit(begin).result())


async def _performed(kit: Kit, job: Job, unwanted: Callable[[], bool]) -> Reply:
    if kit.owner != this_owner():
        prices.take(kit.prices)
    account, spent = Spending((), None, None, unit="experiment"), Spending((), None, None)
    account.parent = spent
    account.begin(job.budget, job.used)
    bench = Bench(kit.app, kit.arms, account)
    arms = {arm.name: arm for arm in kit.arms}
    tasks = [Task(**{**order._asdict(), "arm": arms[order.arm]}, scorers=kit.scorers) for order in job.orders]
    began = time.monotonic()
    outcomes: list[Outcome] = []

    async def work() -> None:
        try:
            async with aclosing(LocalEngine(job.concurrency, _allowed).outcomes(tasks, bench)) as ended:
                async for outcome in ended:
                    if outcome.status == "refused":
                        outcome.rows, outcome.texts = (), {}
                    outcomes.append(outcome)
        finally:
            await bench.aclose()

    working = asyncio.create_task(bench.home.carry(work))
    watching = asyncio.create_task(_until(unwanted))
    await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        working.cancel()
        await asyncio.wait({working})
    watching.cancel()
    if not working.cancelled():
        working.result()
    return Reply(outcomes, spent.used, time.monotonic() - began)


async def _until(happened: Callable[[], bool]) -> None:
    while not await threads.beside(happened):  # noqa: ASYNC110  # another process says it
        await asyncio.sleep(POLL)
