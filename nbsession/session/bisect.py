"""Finding the tick from which on a session behaves otherwise, and what did it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.errors import BudgetError, NbsessionError, SessionError
from nbsession.session.spending import Spending
from nbsession.session.trial import Suspect, asked_again, model_asked, suspects_of
from nbsession.usage import Budget, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from nbsession.models.base import ModelAdapter
    from nbsession.session.core import SessionCore
    from nbsession.timeline import Tick

    Predicate = Callable[[Tick], object]

CALLS = 8
"""Model calls that are made to try suspects, where nobody says how many."""


class Step(NamedTuple):
    """One thing that was done to find out: what, and what came of it. ``cost`` is in US dollars, ``None`` where not known."""

    what: str
    outcome: str
    tick: Tick | None = None

    @property
    def cost(self) -> float | None:
        """What it cost; nothing where no model was asked."""
        return 0.0 if self.tick is None else self.tick.cost

    def __str__(self) -> str:
        return f"{self.what}: {self.outcome}"


class Bisection:
    """Where a session began to behave otherwise; made by ``Session.bisect``.

    ``tick`` is the first that is judged as the last one is, all between included, and ``before`` the one before it;
    both are ``None`` where all are judged alike. ``suspects`` are what differs between the two and can
    be put back. What has happened is judged at once and without any call. Await it (or ``run()``, which blocks)
    to try the suspects: each is put back in a fork, and the model asked once; no tool and no effect runs there.
    ``cause`` is the suspect that made the difference, ``None`` where none is found; ``conclusion`` says it in
    a sentence, and ``steps`` what was tried, with what came of it. ``done`` says that nothing is left to try.
    """

    def __init__(self, core: SessionCore, predicate: Predicate, plan: Plan) -> None:
        self.session_id = core.session.id
        self.judged = plan.judged
        self.tick: Tick | None
        self.before: Tick | None
        self.tick, self.before = plan.found
        self.suspects: tuple[Suspect, ...] = ()
        self.cause: Suspect | None = None
        self.steps: list[Step] = [Step(f"judged {len(plan.judged)} recorded ticks", _spans(plan.judged))]
        self.conclusion = "every tick is judged alike, so there is nothing to find"
        self.done = self.tick is None
        self._home, self._predicate, self._plan = core.home, predicate, plan
        self._task: asyncio.Task[None] | None = None
        self._model: ModelAdapter | None = None
        if self.tick is not None and self.before is not None:
            self.suspects = tuple(suspects_of(core.state, self.before, self.tick))
            self._conclude_from_records()

    def __await__(self) -> Generator[Any, None, Bisection]:
        return self._home.carry(self._tried).__await__()

    def run(self) -> Bisection:
        """Try the suspects, and block until that is done."""
        return self._home.run(self._tried)

    @property
    def calls(self) -> int:
        """How often a model was asked."""
        return sum(step.tick is not None for step in self.steps)

    @property
    def usage(self) -> Usage:
        """The tokens of all trials."""
        return sum([step.tick.usage for step in self.steps if step.tick is not None], Usage())

    @property
    def cost(self) -> float | None:
        """What the trials cost, in US dollars; ``None`` where a price is not known."""
        known = [step.cost for step in self.steps if step.cost is not None]
        return sum(known) if len(known) == len(self.steps) else None

    def __repr__(self) -> str:
        return f"<Bisection {self.conclusion}>"

    def __str__(self) -> str:
        how = "" if self.done else "; await this, or run() it, to try what changed"
        return "\n".join([self.conclusion, *[f"  {step}" for step in self.steps], f"  {self.spent}{how}"])

    @property
    def spent(self) -> str:
        """What was asked of models, in words."""
        if not self.calls:
            return "no model was called"
        cost = (
            "at an unknown price"
            if self.cost is None
            else f"for ${self.cost:.4f}"
            if self.cost
            else "for free"
        )
        return f"{_calls(self.calls)}, {self.usage.total_tokens:,} tokens {cost}"

    def _conclude_from_records(self) -> None:
        assert self.tick is not None
        where = f"tick {self.tick.number} is the first that differs"
        if not self.suspects:
            self.done = True
            self.conclusion = f"{where}; only the conversation went on, no knob, state or component changed"
        else:
            names = "; ".join(map(str, self.suspects))
            self.conclusion = f"{where}; beside the conversation, this changed: {names}"

    async def _tried(self) -> Bisection:
        if not self.done and self._task is None:
            self._task = asyncio.create_task(self._try_all(), name="nbsession bisect")
        if self._task is not None:
            await self._task
        return self

    async def _try_all(self) -> None:
        """Ask as it was, then with one suspect after another put back, until the judgement turns."""
        assert self.tick is not None
        differs = self.judged[self.tick.number]
        where = f"from tick {self.tick.number} on"
        self.conclusion = (
            f"{where}: none of what changed does it alone, so it is the conversation, or several together"
        )
        try:
            for suspect in (None, *self.suspects):
                if self.calls >= self._plan.calls:
                    self.conclusion = (
                        f"{where}: not found within {_calls(self._plan.calls)}; give calls= for more"
                    )
                    return
                now = await self._try(suspect)
                if suspect is None and now is None:
                    self.conclusion = f"{where}: that tick could not be asked again, so nothing was tried"
                    return
                if now is None or now is differs:
                    continue
                if suspect is None:
                    self.conclusion = (
                        f"tick {self.tick.number} asked again as it was is judged otherwise: the model answers now so, "
                        "now so, and no change has to be the cause"
                    )
                    return
                self.cause = suspect
                self.conclusion = f"{where}, because {suspect}"
                return
        except BudgetError as error:
            self.steps.append(Step("stopped", str(error)))
            self.conclusion = f"{where}: not found within the budget"
        finally:
            self._plan.account.end()
            self.done = True

    async def _try(self, suspect: Suspect | None) -> bool | None:
        """Ask once; ``None`` where that cannot be judged."""
        assert self.tick is not None
        what = "asked again as it was" if suspect is None else f"put back: {suspect}"
        fork = self._plan.fork(self.tick)
        fork.spending.parent = self._plan.account
        try:
            if suspect is None:
                self._model = model_asked(self._plan.fork(self.tick), self.tick)
            tick = await asked_again(fork, self.tick, suspect, self._model)
        except BudgetError:
            raise
        except NbsessionError as error:
            self.steps.append(Step(what, f"could not be tried: {error}"))
            return None
        try:
            now = judged(self._predicate, tick)
        except SessionError as error:
            self.steps.append(Step(what, str(error), tick))
            return None
        self.steps.append(Step(what, str(now), tick))
        return now


class Plan(NamedTuple):
    """What a bisection goes by: the judgements, the tick found with the one before it, and what trials may use."""

    judged: dict[int, bool]
    found: tuple[Tick, Tick] | tuple[None, None]
    fork: Callable[[Tick], SessionCore]
    calls: int
    account: Spending


def judge(ticks: Sequence[Tick], predicate: Predicate) -> dict[int, bool]:
    """Judge every tick that has ended, by number; what the predicate raises is a ``SessionError``."""
    ended = [tick for tick in ticks if tick.ended is not None]
    if len(ended) < 2:
        raise SessionError(
            f"bisect compares ticks, and the session has {len(ended)} that ended; send something first"
        )
    return {tick.number: judged(predicate, tick) for tick in ended}


def judged(predicate: Predicate, tick: Tick) -> bool:
    """Return the judgement of one tick."""
    try:
        return bool(predicate(tick))
    except Exception as error:
        said = " ".join(str(error).split())
        raise SessionError(
            f"the predicate failed at tick {tick.number}: {type(error).__name__}: {said}"
        ) from error


def bisection_of(
    core: SessionCore,
    predicate: Predicate,
    judgements: dict[int, bool],
    fork: Callable[[Tick], SessionCore],
    *,
    calls: int,
    budget: Any,
) -> Bisection:
    """Find the tick by what is recorded; see ``Session.bisect``."""
    spending = core.spending
    account = Spending(core.ticks, spending.budget, None, spending.spawned, unit="bisection")
    account.parent = spending.parent
    account.begin(Budget.of(budget))
    numbers = list(judgements)
    last = judgements[numbers[-1]]
    found: tuple[Tick, Tick] | tuple[None, None] = (None, None)
    for older, newer in zip(reversed(numbers[:-1]), reversed(numbers[1:]), strict=True):
        if judgements[older] is not last:
            found = (core.ticks[newer], core.ticks[older])
            break
    return Bisection(core, predicate, Plan(judgements, found, fork, calls, account))


def _spans(judgements: dict[int, bool]) -> str:
    """Write judgements as runs: ``"True at 0–3, False at 4–9"``."""
    runs: list[tuple[bool, int, int]] = []
    for number, judgement in judgements.items():
        if runs and runs[-1][0] is judgement:
            runs[-1] = (judgement, runs[-1][1], number)
        else:
            runs.append((judgement, number, number))
    return ", ".join(
        f"{judgement} at {first}" if first == last else f"{judgement} at {first}–{last}"
        for judgement, first, last in runs
    )


def _calls(number: int) -> str:
    return f"{number} model call{'s' * (number != 1)}"
