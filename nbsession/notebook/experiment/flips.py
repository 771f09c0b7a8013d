"""The cases that two arms do not score alike, both answers side by side."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from nbsession.notebook.panels.tables import count, shortened
from nbsession.statistics import figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.experiment import Flip, Report, Trial

MOST_FLIPS = 10
"""Cases that are shown; ``run.flips(a, b)`` has all."""
LONGEST_ANSWER = 4_000
"""Characters of an answer that stand beside another one."""
LONGEST_EXPECTED = 200
LONGEST_LINE = 200
"""Characters of an answer in plain text."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one arm made of a case; ``place`` is how its trial is reached in Python, ``note`` what else there is."""

    arm: str
    score: str
    answer: str
    place: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Flipped:
    """A case that two arms do not score alike."""

    name: str
    message: str
    expected: str
    sides: tuple[Side, Side]

    def __str__(self) -> str:
        expected = f" (expected {self.expected})" if self.expected else ""
        sides = [
            f"  {side.arm} {side.score}: {shortened(side.answer, LONGEST_LINE)} [{side.place}]"
            for side in self.sides
        ]
        return "\n".join([f"{self.name}: {self.message}{expected}", *sides])


@dataclass(frozen=True, slots=True)
class Flips:
    """Those of a report that are shown, and what to say of the others."""

    title: str
    cases: tuple[Flipped, ...]
    more: str

    def __str__(self) -> str:
        return "\n".join([self.title, *map(str, self.cases), *filter(None, [self.more])])


def flips_of(report: Report, name: str | None) -> Flips | None:
    """Lay out what flipped between the first arm and the one that lies furthest from it; of a run that goes by ``name``."""
    arms = [arm for arm in report.arms.values() if report.scores and arm.by_case()]
    if len(arms) < 2:
        return None
    first, *others = arms
    other = max(others, key=lambda arm: abs(arm.mean - first.mean))
    found = report.flips(first.name, other.name)
    if not found:
        return None
    score = report.scores[0]
    left = len(found) - MOST_FLIPS
    return Flips(
        f"{count(len(found), 'case')} flipped between {first.name} and {other.name}",
        tuple(_flipped(flip, score, name) for flip in found[:MOST_FLIPS]),
        f"and {left:,} more: {name or 'run'}.flips({first.name!r}, {other.name!r})" if left > 0 else "",
    )


def _flipped(flip: Flip, score: str, name: str | None) -> Flipped:
    expected = "" if flip.case.expected is None else shortened(str(flip.case.expected), LONGEST_EXPECTED)
    sides = (_side(flip.trials_a, score, name), _side(flip.trials_b, score, name))
    return Flipped(flip.case.name, str(flip.case), expected, sides)


def _side(trials: Sequence[Trial], score: str, name: str | None) -> Side:
    """Take the first answered trial, with the mean of all."""
    values = [value for trial in trials if (value := trial.number_of(score)) is not None]
    shown = next((trial for trial in trials if trial.number_of(score) is not None), trials[0])
    answer = shown.text
    if len(answer) > LONGEST_ANSWER:
        answer = f"{answer[:LONGEST_ANSWER]}… ({len(answer):,} characters in all)"
    place = f"trial {shown.number}" if name is None else f"{name}.trials[{shown.number}]"
    note = f"the first of {len(trials)} answers" if len(trials) > 1 else ""
    return Side(shown.arm.name, figure(fmean(values)) if values else "–", answer, place, note)
