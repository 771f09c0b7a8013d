"""The trials of an experiment as tasks: which there are, what each would be sent, and in which order they are done."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from nbsession.experiment.outcome import Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbsession.experiment.arm import Arm
    from nbsession.experiment.bench import Bench
    from nbsession.experiment.case import Case
    from nbsession.experiment.scoring import Scorer


def tasks_of(
    bench: Bench, cases: Sequence[Case], arms: Sequence[Arm], repeat: int, scorers: Sequence[Scorer]
) -> Iterator[Task]:
    """Give the tasks by case, arm and repetition; each context is compiled, and none is kept.

    Raises what a context fails with, naming case and arm.
    """
    copies: dict[tuple[str, str], int] = {}
    number = 0
    for case in cases:
        for arm in arms:
            context = bench.compile(arm, case)
            same = (arm.name, context.hash)
            copy = copies[same] = copies.get(same, -1) + 1
            for again in range(repeat):
                key = bench.key(arm, context, copy, again)
                yield Task(number, key, case, arm, again, context.model, context.tokens, scorers)
                number += 1


def in_turn(tasks: Sequence[Task]) -> list[Task]:
    """Put tasks into the order in which they are done, which is always the same one.

    All cases once before any is repeated, in a mixed order, each under all arms before the next: so what is known
    early is a fair sample, and the arms are asked at about the same time.
    """
    places = sorted({task.case.name for task in tasks})
    random.Random("nbsession").shuffle(places)  # noqa: S311  # for fairness, not in secret
    place = {name: number for number, name in enumerate(places)}
    return sorted(tasks, key=lambda task: (task.repeat, place[task.case.name], task.number))
