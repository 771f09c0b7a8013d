"""What a trial asks and what came of it: values that may travel between processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from nbsession.session.spending import Total
from nbsession.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nbsession.experiment.arm import Arm
    from nbsession.experiment.case import Case
    from nbsession.experiment.scoring import Scored, Scorer
    from nbsession.session import Result
    from nbsession.stores.base import Row

Status: TypeAlias = Literal["done", "failed", "refused", "unsent"]
"""How a trial stands: answered, failed, kept from being sent by a budget, or not sent so far."""


class Spent(Protocol):
    """What has taken tokens: the figures of a trial, and the scores that models gave it. ``cost`` is in US dollars."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cost(self) -> float | None: ...


def total_of(spent: Iterable[Spent]) -> Total:
    """Sum up what was spent; its ``cost`` is ``None`` where a price is not known."""
    tokens, answered, price = 0, 0, 0.0
    known = True
    for each in spent:
        tokens, answered = tokens + each.input_tokens, answered + each.output_tokens
        price, known = price + (each.cost or 0.0), known and each.cost is not None
    return Total.of(Usage(tokens, answered), price if known else None)


class Task(NamedTuple):
    """One trial to be done: its number in the run, what is asked of which model, and scored by what.

    ``key`` is the same for what is the same trial in another run; ``tokens`` are those of its context. ``paid`` says that
    its answer came, and is paid for: no budget refuses it.
    """

    number: int
    key: str
    case: Case
    arm: Arm
    repeat: int
    model: str
    tokens: int
    scorers: Sequence[Scorer] = ()
    paid: bool = False


@dataclass(slots=True)
class Figures:
    """What is kept of a trial's result in the run itself, and in one row of the store.

    ``cost`` is in US dollars, ``None`` where a price is not known; ``context`` is the hash of what
    its first tick sent; ``seconds`` are those of its ticks, without what was waited before. A long ``text`` is kept apart, under ``digest``; then it is the beginning.
    """

    text: str = ""
    digest: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    seconds: float = 0.0
    ticks: int = 0
    tool_calls: int = 0
    context: str = ""
    stop_reason: str = ""
    source: str = ""
    model: str = ""

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    @classmethod
    def of(cls, result: Result) -> Figures:
        """Sum a result up."""
        seconds = sum(tick.ended - tick.started for tick in result.ticks if tick.ended is not None)
        return cls(
            result.text,
            "",
            result.usage.input_tokens,
            result.usage.output_tokens,
            result.cost,
            seconds,
            len(result.ticks),
            len(result.tool_calls),
            result.ticks[0].context.hash if result.ticks else "",
            str(result.stop_reason),
            result.source,
            result.model,
        )


@dataclass(slots=True)
class Outcome:
    """What came of a task. ``rows`` and ``texts`` are its session's, as a store keeps them; ``error`` says why it failed."""

    number: int
    status: Status
    session: str = ""
    figures: Figures = field(default_factory=Figures)
    scored: Scored = field(default_factory=dict)
    error: str = ""
    rows: Sequence[Row] = ()
    texts: Mapping[str, str] = field(default_factory=dict)

    def row(self, task: Task) -> Mapping[str, Any]:
        """Return the data of its row in the ledger: what is as usual is left out."""
        data = {name: getattr(self.figures, name) for name in Figures.__slots__}
        usual = Figures()
        return {
            "session": self.session,
            "status": self.status,
            "case": task.case.name,
            "arm": task.arm.name,
            **{name: value for name, value in data.items() if value != getattr(usual, name)},
            **({"error": self.error} if self.error else {}),
            **(
                {"scored": {name: list(scores) for name, scores in self.scored.items()}}
                if self.scored
                else {}
            ),
        }
