"""What each component of a context is worth to an answer: left out one at a time, asked again, and compared."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession import threads
from nbsession.errors import BudgetError, CompileError, NbsessionError, SessionError
from nbsession.session.ablation import compiled_without, listed
from nbsession.session.distance import Answer
from nbsession.session.spending import Spending, Total, paid_by
from nbsession.session.trial import ask, model_asked
from nbsession.statistics import Comparison, Interval, contrast, corrected, interval, number, shown
from nbsession.usage import Budget, Usage, calibrated, cost

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from nbsession.context import Compiled, CompiledContext, Part
    from nbsession.models.base import ModelAdapter
    from nbsession.session.core import SessionCore
    from nbsession.timeline import Tick

    Contexts = Mapping[str, Compiled[ModelAdapter]]
    Score = Callable[[Tick], Any]

REPEAT = 5
"""How often a model is asked without a component, where nobody says."""
CONCURRENCY = 4
FULL = ""
"""What the full context stands under among those without a component, which are by its path."""


class Plan(NamedTuple):
    """What will be sent: model calls, estimated tokens in and out, and ≈ US dollars, ``None`` where a price is not known."""

    calls: int
    tokens: int
    cost: float | None

    def __str__(self) -> str:
        return f"≈{_spent(self.calls, self.tokens, self.cost)}"


@dataclass(frozen=True, slots=True)
class Worth:
    """What one component is worth to an answer.

    ``tokens`` are what its absence saves in each request, estimated. It stood in ``seen`` ticks of the session, and was
    another than the time before in ``changed`` of them. ``effect`` compares the answers with and without it, ``None``
    before they are there: of a score, what it adds; else by how much farther answers without it lie from those with it than these
    from each other. ``ticks`` are the answers without it.
    """

    path: str
    tokens: int
    seen: int
    changed: int
    effect: Comparison | None = None
    ticks: tuple[Tick, ...] = ()

    @property
    def dead(self) -> bool:
        """Whether it never changed and had no effect that could be measured."""
        return self.effect is not None and self.effect.kind in ("noise", "equal") and not self.changed

    def __str__(self) -> str:
        said = "" if self.effect is None else f": {self.effect.verdict}"
        return f"{self.path} (≈{self.tokens:,} tokens){said}"


class Explanation:
    """What each component is worth to the answer of a tick; made by ``Session.explain``.

    ``plan`` is what will be sent. Await it (or ``run()``, which blocks) to send that; iterate it for its ``rows``,
    a ``Worth`` each, in the order of the context. ``full`` is the mean of the full context's answers: their scores, or how far they
    lie apart, which is the noise. ``dead`` are the components that never changed and had no effect that could be measured, the
    costliest first. ``failures`` are the calls that gave no answer, ``stopped`` why it ended early. Each verdict is
    corrected for all of them.
    """

    def __init__(
        self, core: SessionCore, fork: SessionCore, tick: Tick, contexts: Contexts, setting: Setting
    ) -> None:
        self.session_id = core.session.id
        self.tick = tick
        self.repeat = setting.repeat
        self.plan = _plan(contexts, tick, setting.repeat)
        whole = contexts[FULL].context
        self.rows = [
            Worth(path, whole.tokens - compiled.context.tokens, *_life(path, core.ticks))
            for path, compiled in contexts.items()
            if path != FULL
        ]
        self.full: Interval | None = None
        self.ticks: list[Tick] = []
        self.failures: list[str] = []
        self.stopped = ""
        self.done = False
        self.scored = setting.score is not None
        self.differs = bool(whole.diff(tick.context))
        self._home, self._fork = core.home, fork
        self._contexts, self._setting = contexts, setting
        self._answers: dict[str, list[tuple[Tick, float | None]]] = {path: [] for path in contexts}
        self._task: asyncio.Task[None] | None = None

    def __await__(self) -> Generator[Any, None, Explanation]:
        return self._home.carry(self._explained).__await__()

    def __iter__(self) -> Iterator[Worth]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def run(self) -> Explanation:
        """Send what is planned, and block until it is answered."""
        return self._home.run(self._explained)

    @property
    def calls(self) -> int:
        """How often a model was asked."""
        return len(self.ticks)

    @property
    def usage(self) -> Usage:
        """The tokens of all answers."""
        return Total(self.ticks).usage

    @property
    def cost(self) -> float | None:
        """What they cost, in US dollars; ``None`` where a price is not known."""
        return Total(self.ticks).cost

    @property
    def dead(self) -> list[Worth]:
        """The components that never changed and had no effect that could be measured, the costliest first."""
        return sorted((row for row in self.rows if row.dead), key=lambda row: -row.tokens)

    @property
    def conclusion(self) -> str:
        """What was found, in a sentence."""
        if not self.done:
            return f"nothing was asked so far; it takes {self.plan}"
        real = [row.path for row in self.rows if row.effect is not None and row.effect.kind == "real"]
        of = f"of {len(self.rows)} component{'s' * (len(self.rows) != 1)}"
        said = f"{len(real)} {of} made a difference that is no noise: {', '.join(real)}"
        if not real:
            said = f"none {of} made a difference that could be told from noise"
        stopped = f"; stopped: {self.stopped}" if self.stopped else ""
        failed = f"; {len(self.failures)} failed: {self.failures[0]}" if self.failures else ""
        return said + stopped + failed

    @property
    def basis(self) -> str:
        """What the effects are measured by and beside, in words."""
        by = "score" if self.scored else "distance between answers, 0 alike to 1 nothing in common"
        if self.full is None:
            return f"by {by}"
        noise = (
            f"the full context has {self.full}"
            if self.scored
            else f"those of the full context lie {self.full} apart"
        )
        return f"by {by}; {noise}"

    @property
    def spent(self) -> str:
        """What was asked of models, in words."""
        return _spent(self.calls, self.usage.total_tokens, self.cost) if self.calls else "no model was called"

    def __repr__(self) -> str:
        return f"<Explanation of tick {self.tick.number}: {self.conclusion}>"

    def __str__(self) -> str:
        lines = [self.conclusion, f"  {self.basis}", *[f"  {row}" for row in self.rows]]
        if self.dead:
            lines.append(
                f"  dead context: {', '.join(f'{row.path} (≈{row.tokens:,} tokens)' for row in self.dead)}"
            )
        if self.differs:
            lines.append("  rendered again, the context is another than was sent at that tick")
        how = "" if self.done else "; await this, or run() it, to ask"
        return "\n".join([*lines, f"  {self.spent}{how}"])

    async def _explained(self) -> Explanation:
        if not self.done and self._task is None:
            self._task = asyncio.create_task(self._ask_all(), name="nbsession explain")
        if self._task is not None:
            await self._task
        return self

    async def _ask_all(self) -> None:
        """Ask in rounds, so that all have had the same number of answers wherever a budget ends it."""
        # That tick is answered already, so what is wrong with the score shows before anything is sent.
        await self._setting.scored(self.tick)
        gate = asyncio.Semaphore(CONCURRENCY)
        try:
            await asyncio.gather(
                *[self._ask(path, gate) for _ in range(self.repeat) for path in (FULL, *self._contexts)]
            )
        finally:
            self._setting.account.end()
            self._conclude()
            self.done = True

    async def _ask(self, path: str, gate: asyncio.Semaphore) -> None:
        async with gate:
            if self.stopped:
                return
            spending = Spending((), None, None)
            spending.parent = self._setting.account
            try:
                tick = await ask(self._contexts[path], self.tick, spending, self._fork.record.has_call)
                self.ticks.append(tick)
                self._answers[path].append((tick, await self._setting.scored(tick)))
            except BudgetError as error:
                self.stopped = str(error)
            except Exception as error:  # noqa: BLE001  # an answer's failure is its own, and is kept
                known = isinstance(error, NbsessionError)
                self.failures.append(str(error) if known else f"{type(error).__name__}: {error}")

    def _conclude(self) -> None:
        measures = self._measures()
        whole = measures[FULL]
        self.full = interval(whole)
        pairs = [(whole, measures[row.path]) for row in self.rows]
        effects = [contrast(mine, other) if self.scored else contrast(other, mine) for mine, other in pairs]
        self.rows = [
            replace(row, effect=effect, ticks=tuple(tick for tick, _ in self._answers[row.path]))
            for row, effect in zip(self.rows, corrected(effects), strict=True)
        ]

    def _measures(self) -> dict[str, list[float]]:
        """Return a number for each answer: its score, or how far it lies from the others of the full context."""
        if self.scored:
            return {
                path: [score for _, score in answers if score is not None]
                for path, answers in self._answers.items()
            }
        answers = {path: [Answer(tick) for tick, _ in known] for path, known in self._answers.items()}
        whole = answers[FULL]
        return {
            path: [
                fmean(answer.distance(other) for other in whole if other is not answer)
                for answer in known
                if len(whole) > (path == FULL)
            ]
            for path, known in answers.items()
        }


class Setting(NamedTuple):
    """How it is asked: how often, scored by what, and paid from which account."""

    repeat: int
    score: Score | None
    account: Spending

    async def scored(self, tick: Tick) -> float | None:
        """Score a tick; what the function has models asked for it is paid from the account, too."""
        with paid_by(self.account):
            return await scored(self.score, tick)


async def scored(score: Score | None, tick: Tick) -> float | None:
    """Return the score of a tick, ``None`` without one; what the function raises, or a value that is none, is a ``SessionError``.

    A sync function may take its time, so it runs beside the sessions' loop.
    """
    if score is None:
        return None
    try:
        given = (
            score(tick) if inspect.iscoroutinefunction(score) else await threads.beside(lambda: score(tick))
        )
        if inspect.isawaitable(given):
            given = await given
    except Exception as error:
        said = " ".join(str(error).split())
        raise SessionError(
            f"the score failed at tick {tick.number}: {type(error).__name__}: {said}"
        ) from error
    found = number(given)
    if given is not None and found is None:
        raise SessionError(
            f"the score of tick {tick.number} is {shown(given)}; score= gives a finite number, a bool, or None where "
            "there is nothing to say"
        )
    return found


def explanation_of(
    core: SessionCore,
    fork: SessionCore,
    tick: Tick,
    components: Sequence[Any],
    *,
    repeat: int,
    score: Score | None,
    budget: Any,
) -> Explanation:
    """Compile a tick's context again, whole and without each component; see ``Session.explain``."""
    if type(repeat) is not int or repeat < 1:
        raise SessionError(f"repeat must be a whole number from 1 on, got {repeat!r}")
    model = model_asked(fork, tick)
    contexts = {FULL: fork.compiled(model)}
    for component in listed(components):
        path = component if isinstance(component, str) else component.path
        contexts[path] = compiled_without(fork, [component], model)
    if len(contexts) == 1:
        contexts |= dict(_each_without(fork, contexts[FULL].context, model))
    if len(contexts) == 1:
        raise SessionError(f"tick {tick.number} has no component that could be left out, but its messages")
    spending = core.spending
    account = Spending(core.ticks, spending.budget, None, spending.spawned, unit="explanation")
    account.parent = spending.parent
    account.begin(Budget.of(budget))
    return Explanation(core, fork, tick, contexts, Setting(repeat, score, account))


def _each_without(
    fork: SessionCore, whole: CompiledContext, model: ModelAdapter | None
) -> Iterator[tuple[str, Compiled[ModelAdapter]]]:
    """Leave out what wrote a part, one at a time; the root and what holds the timeline cannot be."""
    for path in dict.fromkeys(part.path for part in whole.parts):
        try:
            compiled = compiled_without(fork, [path], model)
        except (SessionError, CompileError):
            continue
        if compiled.context.hash != whole.hash:
            yield path, compiled


def _life(path: str, ticks: Sequence[Tick]) -> tuple[int, int]:
    """Count the ticks in which a component stood, and those in which it was another than the time before."""
    seen: list[list[str]] = []
    for tick in ticks:
        said = [part.digest for part in tick.context.parts if _within(part, path)]
        if said:
            seen.append(said)
    return len(seen), sum(one != other for one, other in itertools.pairwise(seen))


def _within(part: Part, path: str) -> bool:
    return part.path == path or part.path.startswith(f"{path}/")


def _plan(contexts: Contexts, tick: Tick, repeat: int) -> Plan:
    calls, tokens, dollars = 0, 0, 0.0
    known = True
    for path, compiled in contexts.items():
        times = repeat * (2 if path == FULL else 1)
        name = compiled.model.name if compiled.model is not None else tick.asked
        usage = Usage(
            input_tokens=calibrated(name).apply(compiled.context.tokens),
            output_tokens=tick.usage.output_tokens,
        )
        price = cost(name, usage)
        known = known and price is not None
        calls, tokens, dollars = (
            calls + times,
            tokens + times * usage.total_tokens,
            dollars + times * (price or 0),
        )
    return Plan(calls, tokens, dollars if known else None)


def _spent(calls: int, tokens: int, dollars: float | None) -> str:
    price = "at an unknown price" if dollars is None else f"for ${dollars:.4f}" if dollars else "for free"
    return f"{calls} model call{'s' * (calls != 1)}, {tokens:,} tokens {price}"
