"""What the judges of an experiment would ask and cost, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbsession.experiment.judge import Judge
from nbsession.experiment.scoring import stale
from nbsession.usage import Usage, calibrated, cost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.experiment.ledger import Kept
    from nbsession.experiment.outcome import Task
    from nbsession.experiment.scoring import Scorer


@dataclass(frozen=True, slots=True)
class JudgePlan:
    """What one judge would ask.

    ``calls`` are its model calls: one for each trial that is asked, or in the store without a score of this judge. ``tokens`` are
    the estimated input of these, ``cost`` is what they cost in US dollars, ``None`` where the price is not known. ``answers``
    says whether that counts answers, those that are judged and the judge's own, as long as those in the store.
    """

    name: str
    model: str
    calls: int
    tokens: int
    cost: float | None
    answers: bool


def judge_plans_of(
    scorers: Sequence[Scorer], tasks: Sequence[Task], kept: Mapping[str, Kept]
) -> dict[str, JudgePlan]:
    """Sum up what each judge among the scorers would ask, given the trials that are done in the store.

    A judge that another function calls is not known here.
    """
    return {
        scorer.name: _plan_of(scorer, scorer.function, tasks, kept)
        for scorer in scorers
        if isinstance(scorer.function, Judge)
    }


def _plan_of(scorer: Scorer, judge: Judge, tasks: Sequence[Task], kept: Mapping[str, Kept]) -> JudgePlan:
    to_judge = [
        task
        for task in tasks
        if (there := kept.get(task.key)) is None or stale([scorer], task.case, there.scored)
    ]
    cases = {task.case.name: task.case for task in to_judge or tasks[:1]}
    contexts = dict(zip(cases, judge.contexts(cases.values()), strict=True))
    model = next(iter(contexts.values())).model
    answer = _mean([each.figures.output_tokens for each in kept.values()])
    scores = [each.scored[scorer.name] for each in kept.values() if scorer.name in each.scored]
    said = _mean([each.output_tokens for each in scores if each.output_tokens])
    inputs = [
        contexts[task.case.name].tokens
        + (there.figures.output_tokens if (there := kept.get(task.key)) else answer)
        for task in to_judge
    ]
    costs = [cost(model, Usage(calibrated(model).apply(tokens), said)) for tokens in inputs]
    known = [each for each in costs if each is not None]
    price = sum(known) if len(known) == len(costs) else None
    return JudgePlan(scorer.name, model, len(inputs), sum(inputs), price, bool(answer and said))


def _mean(numbers: Sequence[int]) -> int:
    return sum(numbers) // len(numbers) if numbers else 0
