"""What a session has used so far, and what it may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.environment import SessionUsage, Watchers
from nbsession.prices import cost
from nbsession.tokens import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbsession.budget import Budget
    from nbsession.context import CompiledContext
    from nbsession.result import Result
    from nbsession.tick import Tick


class Spending:
    """Tokens and US dollars of one session's ticks; what a spawned session spends counts for its parent, too.

    ``cost`` is ``None`` once a tick had no known price; ``window`` is the model's, in tokens.
    """

    def __init__(self, ticks: Sequence[Tick], budget: Budget | None, window: int | None) -> None:
        self.usage = Usage()
        self.cost: float | None = 0.0
        self.budget = budget
        self.window = window
        self.parent: Spending | None = None
        self.watchers = Watchers()
        self._ticks = ticks
        for tick in ticks:
            self._add(tick)

    def charge(self, tick: Tick) -> None:
        """Work out what a tick's answer cost, and count it."""
        # A replay costs nobody anything, whatever it cost when it was live.
        tick.cost = 0.0 if tick.source == "recorded" else cost(tick.model, tick.usage)
        for spending in self._lineage():
            spending._add(tick)
            spending.watchers.mark()

    def check(self, so_far: Result, budget: Budget | None, context: CompiledContext, model: str) -> None:
        """Raise ``BudgetError`` if the next model call would pass the execution's or the session's budget."""
        if budget is not None:
            budget.check("execution's", model, so_far.usage, so_far.cost, context.tokens)
        for spending in self._lineage():
            if spending.budget is not None:
                spending.budget.check("session's", model, spending.usage, spending.cost, context.tokens)

    def so_far(self) -> SessionUsage:
        """Sum up for ``use_usage`` and ``session.usage``."""
        last = self._ticks[-1].context if self._ticks else None
        return SessionUsage(
            self.usage,
            cost=self.cost,
            window=self.window,
            context_tokens=last.tokens if last is not None else 0,
        )

    def _add(self, tick: Tick) -> None:
        self.usage = self.usage + tick.usage
        self.cost = None if self.cost is None or tick.cost is None else self.cost + tick.cost

    def _lineage(self) -> Iterator[Spending]:
        spending: Spending | None = self
        while spending is not None:
            yield spending
            spending = spending.parent
