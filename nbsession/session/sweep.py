"""One message under many settings of the knobs, side by side."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from nbsession.content import drafts_of
from nbsession.errors import KnobError, NbsessionError, SessionError
from nbsession.knobs import equal
from nbsession.session.awaited import awaited
from nbsession.session.spending import Spending
from nbsession.session.sweep_frame import frame_of, plot_of
from nbsession.session.sweep_verdict import Score, Verdicts, verdicts_of, written
from nbsession.session.unattended import unattended
from nbsession.usage import Budget, Usage

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nbsession.content import Entry
    from nbsession.context import CompiledContext
    from nbsession.session.core import SessionCore
    from nbsession.session.door import Door
    from nbsession.session.execution import Execution
    from nbsession.session.home import Home
    from nbsession.session.result import Result

CONCURRENCY = 4
"""Rows that are asked at the same time, where nothing else is said."""
MOST_ROWS = 1000
"""Rows of a sweep: each is a session of its own, and most likely a call that is paid for."""
PATIENCE = 4.0
"""Seconds that a cancelled sweep gets to wind up: a little more than each of its executions."""

Executor: TypeAlias = Callable[[Any, Any], "Awaitable[Result]"]
"""Sends a message to a session and gives the result."""

Branching: TypeAlias = Callable[["Spending"], "Door"]
"""Makes a branch of the session that is swept, whose spending counts for an account."""

Status: TypeAlias = Literal["waiting", "running", "done", "failed", "unsent"]


@dataclass(slots=True, eq=False)
class SweepRow:
    """One combination of knob values: the context it makes, and what came of it.

    ``run`` counts the repetitions of the combination, from 0. ``context`` is what
    the row would be sent, and what it was sent as soon as that is known. ``result``
    is ``None`` until there is one; ``error`` is why there is none. ``status`` is
    ``"waiting"``, ``"running"``, ``"done"``, ``"failed"``, or ``"unsent"`` where
    nothing is asked, or was not before the sweep was stopped.
    """

    knobs: Mapping[str, Any]
    run: int
    context: CompiledContext
    session: Door
    status: Status = "waiting"
    result: Result | None = None
    error: BaseException | None = None
    started: float | None = None
    ended: float | None = None
    _over: concurrent.futures.Future[None] = field(default_factory=concurrent.futures.Future, repr=False)

    @property
    def text(self) -> str:
        """The answer, ``""`` where there is none."""
        return self.result.text if self.result is not None else ""

    @property
    def execution(self) -> Execution | None:
        """The execution of the row's session that answers, or answered; ``None`` before it was sent."""
        return next(iter(self.session.executions), None)

    @property
    def partial(self) -> Result | None:
        """The result, or what there is of it: of a row that runs, failed or was stopped."""
        if self.result is not None:
            return self.result
        return self.execution.partial if self.execution is not None else None

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken so far; ``None`` before it was sent."""
        if self.started is None:
            return None
        return (self.ended if self.ended is not None else time.time()) - self.started

    def _settle(self, status: Status) -> None:
        partial = self.partial
        if partial is not None and partial.ticks and partial.ticks[0].context is not None:
            self.context = partial.ticks[0].context
        self.status = status
        if not self._over.done():
            self._over.set_result(None)


class Sweep:
    """The rows of a sweep, in the order of their combinations; made by ``Session.sweep``.

    Await it for all of their results, or iterate it asynchronously for the rows as
    they are answered; both work from any loop, and cancelling the task that awaits it
    stops it, as ``abort`` does. A row that fails keeps its error and does not stop the
    others.

    The rows' sessions stay open, to be gone on with (``sweep[0].session.send(…)``) or
    forked into sessions that last. They are closed, and their effects cleaned up, by
    ``aclose`` or ``close``, with the session that was swept, or when nobody holds the
    sweep or one of its sessions any more.
    """

    def __init__(self, session: Door, rows: Sequence[SweepRow], plan: Plan) -> None:
        self.rows = list(rows)
        self.session = session
        self.message = plan.message
        self.values = plan.values
        self.reason = ""
        self._home = plan.home
        self._executor = plan.executor
        self._concurrency = plan.concurrency
        self._account = plan.account
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._driver: asyncio.Task[None] | None = None
        self.outcome: concurrent.futures.Future[None] = concurrent.futures.Future()
        for row in self.rows:
            row.session.swept_by = self
        if plan.context_only:
            self._end()
        else:
            self._driver = asyncio.get_running_loop().create_task(self._drive(), name="nbsession sweep")

    def __await__(self) -> Generator[Any, None, Sweep]:
        return self._wait().__await__()

    async def __aiter__(self) -> AsyncIterator[SweepRow]:
        waiting = {asyncio.wrap_future(row._over): row for row in self.rows}
        while waiting:
            over, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for future in [future for future in waiting if future in over]:
                yield waiting.pop(future)

    def __iter__(self) -> Iterator[SweepRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> SweepRow:
        return self.rows[index]

    def __del__(self) -> None:
        # The rows' sessions lead here: whoever holds one of them holds all. So nobody can need them now.
        sent = [row.session for row in getattr(self, "rows", ()) if row.started is not None]
        loop = self._home.loop if sent else None
        if loop is not None and loop.is_running():
            with contextlib.suppress(RuntimeError):  # it was closed just now
                loop.call_soon_threadsafe(_close, sent)

    @property
    def done(self) -> bool:
        """Whether it has ended: all rows are answered or failed, or it was stopped."""
        return self.outcome.done()

    @property
    def varied(self) -> list[str]:
        """The names of the knobs that have more than one value here."""
        return [name for name, values in self.values.items() if len(values) > 1]

    @property
    def tokens(self) -> int:
        """The estimated input of all rows, of each one's first model call alone."""
        return sum(row.context.tokens for row in self.rows)

    @property
    def usage(self) -> Usage:
        """The tokens of all answers so far, also of those that were cut or failed."""
        return sum([usage for usage, _ in self._spent()], Usage())

    @property
    def cost(self) -> float | None:
        """What all answers so far cost, in US dollars; ``None`` where a price is not known."""
        costs = [cost for _, cost in self._spent()]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    def _spent(self) -> Iterator[tuple[Usage, float | None]]:
        for row in self.rows:
            if row.result is not None:
                yield row.result.usage, row.result.cost
            elif row.execution is not None:
                # A tick that runs has no cost yet, which is not to say that its price is unknown.
                yield from ((tick.usage, tick.cost) for tick in row.execution.ticks if tick.ended is not None)

    def frame(self) -> pd.DataFrame:
        """Return the rows as a pandas data frame, as they stand: one each, in their order.

        A column for each knob, then ``run``, ``tokens`` (of the context, estimated), ``input_tokens``,
        ``output_tokens``, ``cost`` (US dollars), ``seconds``, ``text``, ``stop_reason`` and ``error``;
        what is not known is missing. A knob that is called as one of these stands as ``"tokens (knob)"``.
        Raises ``SessionError`` where pandas is not installed.
        """
        return frame_of(self.rows, list(self.values))

    def plot(self) -> Figure:
        """Draw tokens, cost, time and the number of different answers by the varied values, as they stand.

        A bar stands at the mean of its runs, and each run is a dot. Returns a matplotlib ``Figure``
        that pyplot knows nothing of. Raises ``SessionError`` where matplotlib is not installed.
        """
        return plot_of(self.rows, self.varied)

    def verdict(self, score: Score = "length") -> Verdicts:
        """Say of each combination whether it differs from the first one, or no more than repetitions do, as they stand.

        ``score`` is a function of a row (a number, a bool, or ``None`` to leave it out), or what ``FIGURES`` has:
        ``"length"`` (characters of the answer), ``"cost"``, ``"seconds"``, tokens. Raises ``SessionError`` for others.
        """
        return verdicts_of(self.rows, self.varied, score)

    def abort(self, reason: str | None = None) -> None:
        """Stop it; what was answered so far is kept. A second call, or one after the end, does nothing."""
        self._home.post(lambda: self._abort(reason or "stopped by the user"))

    async def aclose(self) -> None:
        """Stop what runs and close the rows' sessions; what they answered can still be read."""
        if not self.done:
            self.abort("the sweep was closed")
            await self._wait()
        for row in self.rows:
            await row.session.aclose()

    def close(self) -> None:
        """Close as ``aclose`` does, and wait; on the home loop itself, a task does it, which nobody need await."""
        if self._home.here:
            self._abort("the sweep was closed")
            _close([row.session for row in self.rows])
        else:
            self._home.run(self.aclose)

    def __repr__(self) -> str:
        answered = sum(1 for row in self.rows if row.result is not None)
        return f"<Sweep of {len(self.rows)} row{'' if len(self.rows) == 1 else 's'}, {answered} answered>"

    def __str__(self) -> str:
        told = [written(row.knobs) for row in self.rows]
        width = max(map(len, told), default=0)
        return "\n".join(
            f"{knobs:<{width}}  ≈{row.context.tokens:,} tokens  {_first_line(row)}".rstrip()
            for knobs, row in zip(told, self.rows, strict=True)
        )

    async def _wait(self) -> Sweep:
        await awaited(self.outcome, self.abort, PATIENCE)
        return self

    async def _drive(self) -> None:
        gate = asyncio.Semaphore(self._concurrency)

        async def turn(row: SweepRow) -> None:
            async with gate:
                if not self.reason:
                    await self._ask(row)

        try:
            for number, row in enumerate(self.rows):
                self._tasks[number] = asyncio.create_task(turn(row))
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        finally:
            self._end()

    async def _ask(self, row: SweepRow) -> None:
        row.status, row.started = "running", time.time()
        status: Status = "unsent"
        try:
            row.result = await self._send(row.session)
            status = "done"
        except Exception as error:  # noqa: BLE001  # a row's failure is its own, and is kept in it
            row.error, status = error, "failed"
        finally:
            row.ended = time.time()
            row._settle(status)

    async def _send(self, session: Door) -> Result:
        executor = self._executor
        if executor is None:
            return await unattended(session.send(self.message), during="a sweep")
        # The user's own coroutine belongs on the user's loop, as their async tools do.
        theirs = self._home.user_loop
        if theirs is None or theirs is asyncio.get_running_loop() or not theirs.is_running():
            return await executor(session, self.message)

        async def carried() -> Result:
            return await executor(session, self.message)

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(carried(), theirs))

    def _abort(self, reason: str) -> None:
        if self.done or self.reason:
            return
        self.reason = reason
        for number, row in enumerate(self.rows):
            if row.status == "running" and self._executor is not None:
                self._tasks[number].cancel()
            elif row.status == "running" and row.execution is not None:
                row.execution.abort(reason)

    def _end(self) -> None:
        for row in self.rows:
            if not row._over.done():
                row._settle("unsent")
        self._tasks.clear()
        self._account.end()
        if not self.outcome.done():
            self.outcome.set_result(None)


class Plan(NamedTuple):
    """What a sweep was asked for; ``account`` is what all of its rows spend from."""

    message: Any
    values: Mapping[str, Sequence[Any]]
    repeat: int
    context_only: bool
    executor: Executor | None
    concurrency: int
    account: Spending
    home: Home
    branch: Branching


def sweep_of(
    session: Door,
    core: SessionCore,
    branch: Branching,
    message: Any,
    values: Mapping[str, Sequence[Any]],
    *,
    repeat: int,
    context_only: bool,
    executor: Executor | None,
    concurrency: int,
    budget: Any,
) -> Sweep:
    """Fork a session once a combination, and send; see ``Session.sweep``."""
    for name, number in (("repeat", repeat), ("concurrency", concurrency)):
        if number < 1:
            raise SessionError(f"{name} must be at least 1, got {number}")
    _check(values, repeat)
    again = _last_message(session) if message is None else None
    drafts_of(message if again is None else again)  # refused before anything is forked
    if not context_only:
        core.home.settle()
    spending = core.spending
    account = Spending(session.ticks, spending.budget, None, spending.spawned, unit="sweep")
    account.parent = spending.parent
    account.begin(Budget.of(budget))
    asked = message if again is None else again
    plan = Plan(asked, values, repeat, context_only, executor, concurrency, account, core.home, branch)
    return Sweep(session, list(_rows(plan, again)), plan)


def _check(values: Mapping[str, Sequence[Any]], repeat: int) -> None:
    for name, choices in values.items():
        if isinstance(choices, str) or not isinstance(choices, Sequence):
            raise KnobError(f"give the values of knob {name!r} as a list, got {choices!r}", knob=name)
        if not choices:
            raise KnobError(f"knob {name!r} has no values to sweep; give at least one", knob=name)
        twice = [
            choice for n, choice in enumerate(choices) if any(equal(choice, other) for other in choices[:n])
        ]
        if twice:
            raise KnobError(
                f"knob {name!r} has the value {twice[0]!r} twice; take one away, or repeat= each combination",
                knob=name,
            )
    count = math.prod(map(len, values.values())) * repeat
    if count > MOST_ROWS:
        raise SessionError(
            f"the sweep would have {count:,} rows, and at most {MOST_ROWS:,} are possible; give fewer values"
        )


def _last_message(session: Door) -> Entry:
    for entry in reversed(session.timeline):
        if entry.role == "user":
            return entry
    raise SessionError(f"session {session.id!r} has no message to ask again yet; give the sweep a message")


def _rows(plan: Plan, again: Entry | None) -> Iterator[SweepRow]:
    for combination in itertools.product(*plan.values.values()):
        knobs = dict(zip(plan.values, combination, strict=True))
        for run in range(plan.repeat):
            fork = plan.branch(plan.account)
            if again is not None:
                fork.rewind(again.parent)
            try:
                fork.knobs.set_many(knobs)
                context = fork.compile(plan.message)
            except NbsessionError as error:
                error.add_note(f"in the sweep's row {written(knobs) or run}")
                raise
            kept = fork.knobs.values()
            yield SweepRow({name: kept[name] for name in knobs}, run, context, fork)


def _first_line(row: SweepRow) -> str:
    if row.error is not None:
        said = f"{type(row.error).__name__}: {row.error}"
    else:
        said = row.text or ("" if row.status in ("done", "unsent") else row.status)
    return next(iter(said.strip().splitlines()), "")


def _close(sessions: Sequence[Door]) -> None:
    for session in sessions:
        session.close()
