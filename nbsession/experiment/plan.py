"""What an experiment would ask and cost, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbsession.experiment.batch import against_a_batch
from nbsession.experiment.judge_plan import JudgePlan, judge_plans_of
from nbsession.experiment.words import dollars, named
from nbsession.usage import Usage, calibrated, cost

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

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
    ``batch`` says why a batch cannot ask it, ``""`` where one can; then ``batch_cost`` is what that would cost, else ``None``.
    ``in_batches`` of its calls were sent in batches whose answers nobody took up: ``run(batch=True)`` does, and sends
    them no more, so that ``batch_cost`` does not count them.
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
    batch_cost: float | None
    in_batches: int


class Plan:
    """What an experiment would ask, by arm; nothing was sent. It prints as a table and the arms' differences.

    ``judges`` are those of its scorers that ask a model themselves. What it sums up counts them, but for ``seconds``.
    """

    def __init__(self, arms: Mapping[str, ArmPlan], judges: Mapping[str, JudgePlan]) -> None:
        self.arms, self.judges = arms, judges

    @property
    def calls(self) -> int:
        """Model calls, at least."""
        return sum(each.calls for each in self.parts)

    @property
    def reused(self) -> int:
        """Trials that are in the store, and would not be asked again."""
        return sum(arm.reused for arm in self.arms.values())

    @property
    def in_batches(self) -> int:
        """Calls that were sent in batches, whose answers ``run(batch=True)`` takes up."""
        return sum(arm.in_batches for arm in self.arms.values())

    @property
    def tokens(self) -> int:
        """The estimated input of all first calls, and of the judges'."""
        return sum(each.tokens for each in self.parts)

    @property
    def cost(self) -> float | None:
        """In US dollars, ``None`` where a price is not known."""
        return _sum(each.cost for each in self.parts)

    @property
    def batch_cost(self) -> float | None:
        """What ``run(batch=True)`` would send would cost, ``None`` where an arm cannot be batched or a price is not known.

        Judges are asked as the answers come, at their full price.
        """
        judged = (judge.cost for judge in self.judges.values())
        return _sum([*(arm.batch_cost for arm in self.arms.values()), *judged])

    @property
    def seconds(self) -> float | None:
        """An estimate, ``None`` where nothing is known of an arm that would be asked."""
        return _sum(arm.seconds for arm in self.arms.values())

    @property
    def parts(self) -> list[ArmPlan | JudgePlan]:
        """Who would ask a model: the arms and the judges."""
        return [*self.arms.values(), *self.judges.values()]

    @property
    def of_batches(self) -> list[str]:
        """Sentences that say what was sent in batches, and which arms have none."""
        said = []
        if self.in_batches:
            were = "1 call was" if self.in_batches == 1 else f"{self.in_batches:,} calls were"
            said.append(f"{were} sent in batches: run(batch=True) takes the answers up, and sends the others")
        reasons: dict[str, list[str]] = {}
        for arm in self.arms.values():
            if arm.batch:
                reasons.setdefault(arm.batch, []).append(named(arm.name))
        return said + [f"no batch for {', '.join(names)}: {reason}" for reason, names in reasons.items()]

    def __repr__(self) -> str:
        return f"<Plan of at least {self.calls:,} calls, ≈{self.tokens:,} tokens in, {dollars(self.cost)}>"

    def __str__(self) -> str:
        rows = [["arm", "model", "calls", "reused", "≈ tokens in", "≈ cost", "≈ in a batch", "≈ time"]]
        rows += [
            [
                named(arm.name),
                arm.model,
                f"{arm.calls:,}",
                f"{arm.reused:,}",
                f"{arm.tokens:,}",
                _priced(arm, arm.cost),
                "none" if arm.batch else _priced(arm, arm.batch_cost),
                _time(arm.seconds),
            ]
            for arm in self.arms.values()
        ]
        for judge in self.judges.values():
            price = _priced(judge, judge.cost)
            figures = [f"{judge.calls:,}", "", f"{judge.tokens:,}", price, price]
            rows.append([f"judge: {named(judge.name)}", judge.model, *figures, ""])
        batched = [not arm.batch for arm in self.arms.values()]
        figures = [f"{self.calls:,}", f"{self.reused:,}", f"{self.tokens:,}", dollars(self.cost)]
        rows.append(
            ["all", "", *figures, dollars(self.batch_cost) if all(batched) else "none", _time(self.seconds)]
        )
        if not any(batched):
            for row in rows:
                del row[-2]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        first = next(iter(self.arms.values()))
        for arm in self.arms.values():
            if arm.diff:
                lines += ["", f"{named(arm.name)}, beside {named(first.name)}:", str(arm.diff)]
            elif arm is not first:
                lines += ["", f"{named(arm.name)} sends what {named(first.name)} does"]
        return "\n".join([*lines, *(f"\n{said}" for said in self.of_batches)])


def plan_of(
    bench: Bench,
    arms: Sequence[Arm],
    first: Case,
    tasks: Sequence[Task],
    kept: Mapping[str, Kept],
    sent: Collection[str],
    concurrency: int,
) -> Plan:
    """Sum up what of these tasks would be asked, given what the store has, and whose keys were ``sent`` in batches."""
    contexts = {arm.name: bench.compile(arm, first) for arm in arms}
    base = contexts[arms[0].name]
    made: dict[str, ArmPlan] = {}
    for arm in arms:
        own = [task for task in tasks if task.arm is arm]
        there = {key: kept[key] for task in own if (key := task.key) in kept and kept[key].status == "done"}
        missing = [task for task in own if task.key not in there]
        unsent = [task for task in missing if task.key not in sent]
        context = contexts[arm.name]
        figures = [each.figures for each in there.values()]
        answer = sum(each.output_tokens for each in figures) // len(figures) if figures else 0
        against = against_a_batch(context, bench.model(arm))
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
            against,
            None if against else _cost(unsent, answer, batch=True),
            len(missing) - len(unsent),
        )
    done = {key: each for key, each in kept.items() if each.status == "done"}
    return Plan(made, judge_plans_of(tasks[0].scorers, tasks, done))


def _cost(tasks: Sequence[Task], answer: int, *, batch: bool = False) -> float | None:
    return _sum(cost(t.model, Usage(calibrated(t.model).apply(t.tokens), answer, batch=batch)) for t in tasks)


def _sum(figures: Iterable[float | None]) -> float | None:
    total = 0.0
    for figure in figures:
        if figure is None:
            return None
        total += figure
    return total


def _priced(arm: ArmPlan | JudgePlan, price: float | None) -> str:
    return dollars(price) + ("" if arm.answers or not price else " + answers")


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
