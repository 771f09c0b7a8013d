"""What an experiment would ask and cost, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbsession.experiment.pace import provider_of
from nbsession.experiment.words import dollars
from nbsession.usage import Usage, calibrated, cost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.context import CompiledContext, ContextDiff
    from nbsession.experiment.arm import Arm
    from nbsession.experiment.bench import Bench
    from nbsession.experiment.case import Case
    from nbsession.experiment.ledger import Kept
    from nbsession.experiment.outcome import Task


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """What one arm would ask.

    ``calls`` are its model calls at least: one for each trial that is not ``reused`` from the store, more where
    tools are called. ``tokens`` are the estimated input of these, ``cost`` is what they cost in US dollars at their full price,
    ``None`` where a price is not known; ``answers`` says whether that counts answers, as long as those in the
    store, or the input alone. ``seconds`` is an estimate by those in the store, ``None`` without any.
    ``context`` is what the first case would send, and ``diff`` how that differs from the first arm's.
    ``batch`` says why a batch cannot ask it, ``""`` where one can.
    """

    name: str
    model: str
    calls: int
    reused: int
    tokens: int
    cost: float | None
    answers: bool
    seconds: float | None
    context: CompiledContext
    diff: ContextDiff
    batch: str


class Plan:
    """What an experiment would ask, by arm; nothing was sent. It prints as a table and the arms' differences."""

    def __init__(self, arms: Mapping[str, ArmPlan]) -> None:
        self.arms = arms

    @property
    def calls(self) -> int:
        """Model calls, at least."""
        return sum(arm.calls for arm in self.arms.values())

    @property
    def reused(self) -> int:
        """Trials that are in the store, and would not be asked again."""
        return sum(arm.reused for arm in self.arms.values())

    @property
    def tokens(self) -> int:
        """The estimated input of all first calls."""
        return sum(arm.tokens for arm in self.arms.values())

    @property
    def cost(self) -> float | None:
        """In US dollars, ``None`` where a price is not known."""
        costs = [arm.cost for arm in self.arms.values()]
        return None if None in costs else sum(cost or 0.0 for cost in costs)

    @property
    def seconds(self) -> float | None:
        """An estimate, ``None`` where nothing is known of an arm that would be asked."""
        taken = [arm.seconds for arm in self.arms.values()]
        return None if None in taken else sum(each or 0.0 for each in taken)

    def __repr__(self) -> str:
        return f"<Plan of at least {self.calls:,} calls, ≈{self.tokens:,} tokens in, {dollars(self.cost)}>"

    def __str__(self) -> str:
        rows = [("arm", "model", "calls", "reused", "≈ tokens in", "≈ cost", "≈ time")]
        rows += [
            (
                arm.name,
                arm.model,
                f"{arm.calls:,}",
                f"{arm.reused:,}",
                f"{arm.tokens:,}",
                dollars(arm.cost) + ("" if arm.answers or not arm.cost else " + answers"),
                _time(arm.seconds),
            )
            for arm in self.arms.values()
        ]
        totals = ("all", "", f"{self.calls:,}", f"{self.reused:,}", f"{self.tokens:,}", dollars(self.cost))
        rows.append((*totals, _time(self.seconds)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        first = next(iter(self.arms.values()))
        for arm in self.arms.values():
            if arm.diff:
                lines += ["", f"{arm.name}, beside {first.name}:", str(arm.diff)]
            elif arm is not first:
                lines += ["", f"{arm.name} sends what {first.name} does"]
        reasons: dict[str, list[str]] = {}
        for arm in self.arms.values():
            if arm.batch:
                reasons.setdefault(arm.batch, []).append(arm.name)
        lines += [f"\nno batch for {', '.join(names)}: {reason}" for reason, names in reasons.items()]
        return "\n".join(lines)


def plan_of(
    bench: Bench,
    arms: Sequence[Arm],
    first: Case,
    tasks: Sequence[Task],
    kept: Mapping[str, Kept],
    concurrency: int,
) -> Plan:
    """Sum up what of these tasks would be asked, given what the store has."""
    contexts = {arm.name: bench.compile(arm, first) for arm in arms}
    base = contexts[arms[0].name]
    made: dict[str, ArmPlan] = {}
    for arm in arms:
        own = [task for task in tasks if task.arm is arm]
        there = {key: kept[key] for task in own if (key := task.key) in kept and kept[key].status == "done"}
        missing = [task for task in own if task.key not in there]
        context = contexts[arm.name]
        figures = [each.figures for each in there.values()]
        answer = sum(each.output_tokens for each in figures) // len(figures) if figures else 0
        taken = sum(each.seconds for each in figures) / len(figures) if figures else None
        made[arm.name] = ArmPlan(
            arm.name,
            context.model,
            len(missing),
            len(there),
            sum(task.tokens for task in missing),
            _cost(missing, answer),
            bool(figures),
            0.0 if not missing else None if taken is None else taken * len(missing) / concurrency,
            context,
            context.diff(base),
            _against_a_batch(context),
        )
    return Plan(made)


def _cost(tasks: Sequence[Task], answer: int) -> float | None:
    costs = [cost(t.model, Usage(calibrated(t.model).apply(t.tokens), answer)) for t in tasks]
    return None if None in costs else sum(each or 0.0 for each in costs)


def _against_a_batch(context: CompiledContext) -> str:
    if context.tools:
        names = ", ".join(tool.name for tool in context.tools)
        return f"it has the tools {names}, and a batch has one tick: it cannot answer a call"
    if provider_of(context.model) != "anthropic":
        return f"{context.model or 'its model'} takes none"
    return ""


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
