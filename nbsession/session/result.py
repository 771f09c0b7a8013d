"""What an execution gives, and the ways it can end."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nbsession.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nbsession.content import Block
    from nbsession.timeline import Tick, ToolRun


SHOWN = 60
"""Characters of an answer that a result's ``repr`` shows."""


class StopReason(StrEnum):
    """Every way an execution can end."""

    end_turn = "end_turn"
    """The model had no more to say."""
    max_ticks = "max_ticks"
    """The limit of ticks was reached."""
    max_tokens = "max_tokens"
    """The model's answer was cut at its limit of tokens."""
    refusal = "refusal"
    """The model declined to answer."""
    aborted = "aborted"
    """Somebody stopped it."""
    stopped = "stopped"
    """A continuation said so."""
    budget = "budget"
    """The next call would pass the budget."""
    context_window = "context_window"
    """The context does not fit the model's window."""
    paused = "paused"
    """A call waits for a person: see ``session.waiting``; ``session.answer`` goes on."""
    error = "error"
    """Something failed; awaiting the execution raises it."""

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, slots=True)
class Stop:
    """A continuation's word to stop, and why."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Continue:
    """A continuation's word to go on, and why."""

    reason: str = ""


@dataclass(slots=True, repr=False)
class Result:
    """What an execution gave.

    ``text`` and ``content`` are the last answer's, ``output`` is what was read of it as
    the type that ``send(output=)`` asked for; ``reason`` says in words why it
    ended, where there is more to say than ``stop_reason``; ``usage`` and ``cost``
    (US dollars, ``None`` where a price is not known) are summed over the ticks;
    ``source`` is ``"live"``, ``"recorded"`` or ``"simulated"``.
    """

    text: str = ""
    content: tuple[Block, ...] = ()
    output: Any = None
    stop_reason: StopReason = StopReason.end_turn
    reason: str = ""
    ticks: list[Tick] = field(default_factory=list)
    tool_calls: list[ToolRun] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    cost: float | None = 0.0
    source: str = ""
    model: str = ""

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= SHOWN else self.text[: SHOWN - 1] + "…"
        ticks = f"{len(self.ticks)} tick{'s' if len(self.ticks) != 1 else ''}"
        return f"<Result {self.stop_reason}, {ticks}: {text!r}>"


def result_of(ticks: Sequence[Tick], stop_reason: StopReason, reason: str) -> Result:
    """Sum an execution's ticks up."""
    answers = [tick for tick in ticks if tick.response] or ticks
    last = answers[-1] if answers else None
    return Result(
        text=last.text if last else "",
        content=last.response if last else (),
        stop_reason=stop_reason,
        reason=reason,
        ticks=list(ticks),
        tool_calls=[run for tick in ticks for run in tick.tool_calls],
        usage=Usage.sum([tick.usage for tick in ticks]),
        cost=_sum_cost(tick.cost for tick in ticks),
        source=last.source if last else "",
        model=last.model if last else "",
    )


def _sum_cost(costs: Iterable[float | None]) -> float | None:
    total = 0.0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total
