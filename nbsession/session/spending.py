"""What a session has used so far, and what it may use."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbsession.content import ServerTool
from nbsession.hooks import SessionUsage, Watchers
from nbsession.models.playback import estimated_usage
from nbsession.usage import Usage, calibrated, cost

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nbsession.context import CompiledContext
    from nbsession.timeline import Response, Tick
    from nbsession.usage import Budget


class Total:
    """Tokens and US dollars of some ticks; ``cost`` is ``None`` once one had no known price."""

    __slots__ = ("cost", "usage")

    cost: float | None

    def __init__(self, ticks: Sequence[Tick] = ()) -> None:
        known = [tick.cost for tick in ticks if tick.cost is not None]
        self.usage = Usage.sum([tick.usage for tick in ticks])
        self.cost = sum(known, 0.0) if len(known) == len(ticks) else None

    @classmethod
    def of(cls, usage: Usage, cost: float | None) -> Total:
        """Make one of figures."""
        total = cls()
        total.usage, total.cost = usage, cost
        return total

    def add(self, tick: Tick) -> None:
        """Count a tick."""
        self.usage = self.usage + tick.usage
        self.cost = None if self.cost is None or tick.cost is None else self.cost + tick.cost

    def __add__(self, other: Total) -> Total:
        known = None if self.cost is None or other.cost is None else self.cost + other.cost
        return Total.of(self.usage + other.usage, known)


class Spending:
    """Tokens and US dollars of one session's ticks; what a spawned session spends counts for its parent, too.

    ``window`` is the model's, in tokens. ``unit`` is what a budget given to ``begin`` bounds. ``paid`` says that the
    answer to the next call is paid for already: it counts, and no budget refuses it.
    """

    def __init__(
        self,
        ticks: Sequence[Tick],
        budget: Budget | None,
        window: int | None,
        spawned: Mapping[str, Any] | None = None,
        *,
        unit: str = "execution",
    ) -> None:
        self.budget = budget
        self.window = window
        self.parent = _payer.get()
        self.paid = False
        self.watchers = Watchers()
        self._ticks = ticks
        self._spawned = Total()
        if spawned is not None:
            self._spawned.usage, self._spawned.cost = Usage.from_dict(spawned["usage"]), spawned["cost"]
        self._total = Total()
        self.recount()
        self._limit: Budget | None = None
        self._execution = Total()
        self._unit = unit
        self._under_way: dict[object, Total] = {}

    def begin(self, budget: Budget | None, used: Total | None = None) -> None:
        """Count for an execution from now on; ``budget`` bounds it and what it spawns, and what was ``used`` of it before."""
        self._limit, self._execution = budget, used or Total()

    @property
    def used(self) -> Total:
        """What was used since ``begin``, and what was said there to have been used before."""
        return self._execution

    def end(self) -> None:
        """Let the execution's budget bind nobody any more."""
        self._limit = None
        self._let_go()

    @property
    def bound(self) -> tuple[Budget | None, Total]:
        """What bounds the execution, and what is used of it, by calls that are under way and by what is lent, too."""
        return self._limit, sum(self._under_way.values(), self._execution)

    def lend(self, share: Total) -> object:
        """Count a share as used until what this returns is given to ``take_back``."""
        lent = object()
        self._under_way[lent] = share
        return lent

    def take_back(self, lent: object) -> None:
        """Count a share no more: what was used of it is counted by itself."""
        self._under_way.pop(lent, None)

    def count(self, used: Total) -> None:
        """Count what was used where nobody could charge it here, as in another process."""
        for spending in self._lineage():
            spending._total = spending._total + used
            spending._execution = spending._execution + used

    def charge(self, tick: Tick, response: Response | None = None) -> None:
        """Work out what a tick's answer cost, and count it.

        An answer that was cut is charged, too: its ``response`` has what came of it,
        and where its usage was not reported, that is estimated.
        """
        if response is not None and response.delta is None and response.start is not None:
            tick.usage = _of_cut(tick, response)
        tick.cost = price_of(tick)
        self._let_go()
        for spending in self._lineage():
            if spending is not self:
                spending._spawned.add(tick)
            spending._total.add(tick)
            spending._execution.add(tick)
            spending.watchers.mark()

    def recount(self) -> None:
        """Sum up anew what the session's ticks used, and what it spawned."""
        total = self._total = Total(self._ticks)
        total.usage = total.usage + self._spawned.usage
        known = total.cost is not None and self._spawned.cost is not None
        total.cost = total.cost + self._spawned.cost if known else None  # type: ignore[operator]  # both are known

    def check(self, context: CompiledContext, model: str) -> None:
        """Raise ``BudgetError`` if the next model call would pass the budget of an execution, a sweep or a session.

        The input of a call that may be made counts as used until it is charged: others
        that share a budget are asked at the same time.
        """
        if self.paid:
            return
        bounded = [at for at in self._lineage() if at.budget is not None or at._limit is not None]
        for spending in bounded:
            spending._price_again()
            others = Total()
            for who, call in spending._under_way.items():
                if who is not self:
                    others = others + call
            for whose, budget, so_far in (
                (f"{spending._unit}'s", spending._limit, spending._execution),
                ("session's", spending.budget, spending._total),
            ):
                if budget is not None:
                    used = so_far + others
                    unpriced = next((tick.model for tick in spending._ticks if tick.cost is None), "")
                    budget.check(whose, model, used.usage, used.cost, context.tokens, unpriced=unpriced)
        if bounded:
            usage = Usage(input_tokens=calibrated(model).apply(context.tokens))
            asked = Total.of(usage, cost(model, usage))
            for spending in bounded:
                spending._under_way[self] = asked

    def _price_again(self) -> None:
        """Take up a price that was set only after the answers that it is for."""
        if self._total.cost is not None:
            return
        for tick in self._ticks:
            if tick.cost is None:
                tick.cost = price_of(tick)
        self.recount()

    def _let_go(self) -> None:
        """Forget the call that was under way."""
        for spending in self._lineage():
            spending._under_way.pop(self, None)

    @property
    def spawned(self) -> dict[str, Any] | None:
        """What spawned sessions used, as JSON data: nobody else keeps it. ``None`` where there were none."""
        used = self._spawned.usage
        return {"usage": used.to_dict(), "cost": self._spawned.cost} if used.total_tokens else None

    def so_far(self) -> SessionUsage:
        """Sum up for ``use_usage`` and ``session.usage``."""
        return SessionUsage(
            self._total.usage,
            cost=self._total.cost,
            window=self.window,
            context_tokens=_in_window(self._ticks[-1]) if self._ticks else 0,
        )

    def _lineage(self) -> Iterator[Spending]:
        spending: Spending | None = self
        while spending is not None:
            yield spending
            spending = spending.parent


_payer: ContextVar[Spending | None] = ContextVar("nbsession payer", default=None)


@contextmanager
def paid_by(payer: Spending) -> Iterator[None]:
    """Let what sessions spend that are made within the block, by whomever, count for ``payer``, too."""
    before = _payer.set(payer)
    try:
        yield
    finally:
        _payer.reset(before)


def price_of(tick: Tick) -> float | None:
    """Return what a tick cost in US dollars, ``None`` where its model's price is not known."""
    if tick.source == "recorded" or not tick.usage.total_tokens:
        # A replay costs nobody anything, whatever it cost when it was live; nor does a call that failed.
        return 0.0
    return cost(tick.model, tick.usage, asked=tick.asked)


def _of_cut(tick: Tick, response: Response) -> Usage:
    """Estimate what an answer used of which nobody reported it: it is charged as far as it came."""
    came = estimated_usage(calibrated(tick.model).apply(tick.context.tokens), response.content())
    told = response.start.usage if response.start is not None else None
    if told is None:
        return came
    output = max(told.output_tokens, came.output_tokens)
    return replace(told, output_tokens=output, thinking_tokens=came.thinking_tokens, estimated=True)


def _in_window(tick: Tick) -> int:
    """Return how many tokens a tick's context took: as the model counted it, else the estimate.

    Not what the provider's own tools found meanwhile, which counts as input, too.
    """
    counted = tick.usage.input_tokens
    searched = any(isinstance(block, ServerTool) for block in tick.response)
    return counted if counted and not searched else tick.context.tokens
