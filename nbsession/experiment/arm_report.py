"""What came of one arm: its means with their intervals, what it took, and the cases that it lost."""

from __future__ import annotations

from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

from nbsession.errors import SessionError, did_you_mean
from nbsession.experiment.words import fault, named
from nbsession.statistics import Interval, figure, interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.experiment.arm import Arm
    from nbsession.experiment.trial import Trial

LOST = 5
"""Lost cases that are shown."""


class Mean(float):
    """A mean of scores, which knows the arm that it is of: a test that fails on it shows the cases that were lost."""

    __slots__ = ("arm", "score")

    arm: ArmReport
    score: str

    @classmethod
    def of(cls, value: float | None, arm: ArmReport, score: str) -> Mean:
        """Make one; not a number where there is none."""
        mean = cls("nan" if value is None else value)
        mean.arm, mean.score = arm, score
        return mean

    def explained(self) -> list[str]:
        """Say in lines what it is of, and which cases were lost."""
        return self.arm.told(self.score)


class ArmReport:
    """What came of one arm, at the moment when it was asked for.

    Means and intervals are over cases: repetitions of a case do not pass for cases. They are of the first score,
    unless ``score`` names another; trials that failed, and scorers that did, have none. ``n`` are the cases that have one.
    """

    def __init__(self, arm: Arm, trials: Sequence[Trial], scores: Sequence[str]) -> None:
        self.name = arm.name
        self.knobs = arm.knobs
        self.model = arm.model
        self.trials = trials
        self.scores = list(scores)
        self._intervals: dict[str, Interval] = {}

    def by_case(self, score: str | None = None) -> dict[str, list[float]]:
        """Return the scores of each case that has any, by its id, in the order of its repetitions."""
        name = self._named(score)
        scored = {
            case: [value for trial in trials if (value := trial.number_of(name)) is not None]
            for case, trials in self.cases.items()
        }
        return {case: values for case, values in scored.items() if values}

    @cached_property
    def cases(self) -> dict[str, list[Trial]]:
        """The trials of each case, by its id."""
        found: dict[str, list[Trial]] = {}
        for trial in self.trials:
            found.setdefault(trial.case.name, []).append(trial)
        return found

    @property
    def mean(self) -> Mean:
        """The mean of the first score; not a number where no case has one."""
        return self.mean_of()

    def mean_of(self, score: str | None = None) -> Mean:
        """Return the mean of a score; not a number where no case has one."""
        return Mean.of(self.interval_of(score).mean, self, self._named(score))

    @property
    def interval(self) -> Interval:
        """The mean of the first score with the bounds between which the true one lies, in 95 of 100 such cases."""
        return self.interval_of()

    def interval_of(self, score: str | None = None) -> Interval:
        """Return the mean of a score with the bounds between which the true one lies."""
        name = self._named(score)
        if name not in self._intervals:
            self._intervals[name] = interval(self.by_case(score))
        return self._intervals[name]

    @property
    def n(self) -> int:
        """How many cases have the first score."""
        return self.interval.cases

    @property
    def tokens(self) -> int:
        """Input and output of all its trials."""
        return sum(trial.tokens for trial in self.trials)

    @property
    def cost(self) -> float | None:
        """What all its trials cost when they were asked, in US dollars; ``None`` where a price is not known."""
        costs = [trial.cost for trial in self.trials]
        return None if None in costs else sum(cost or 0.0 for cost in costs)

    @property
    def latency(self) -> float | None:
        """The median of the seconds that its trials took, ``None`` before one was answered."""
        taken = [trial.seconds for trial in self.trials if trial.status == "done"]
        return median(taken) if taken else None

    def lost(self, score: str | None = None) -> list[Trial]:
        """Return the trials that scored less than this arm's best, or than 1 where no score is above, the worst first."""
        name = self._named(score)
        scored = [(value, trial) for trial in self.trials if (value := trial.number_of(name)) is not None]
        best = max((value for value, _ in scored), default=0.0)
        if all(0 <= value <= 1 for value, _ in scored):
            best = 1.0
        return [trial for value, trial in sorted(scored, key=lambda each: each[0]) if value < best]

    def told(self, score: str | None = None) -> list[str]:
        """Say in lines how it did by a score, and which cases it lost."""
        name = self._named(score)
        lines = [f"arm {self.name!r:.80}: {named(name) or 'no score'} {self.interval_of(score)}"]
        lost = self.lost(score)
        lines += [f"  lost {_told(trial, name)}" for trial in lost[:LOST]]
        if len(lost) > LOST:
            lines.append(f"  and {len(lost) - LOST} more")
        for status in ("failed", "refused", "unsent"):
            if count := sum(trial.status == status for trial in self.trials):
                lines.append(f"  {count} {status}")
        failures = [trial.scores[name] for trial in self.trials if isinstance(trial.scores.get(name), str)]
        if failures:
            lines.append(f"  {len(failures)} could not be scored, such as: {fault(str(failures[0]))}")
        return lines

    def _named(self, score: str | None) -> str:
        if score is None:
            return self.scores[0] if self.scores else ""
        if score not in self.scores:
            raise SessionError(f"there is no score {score!r}{did_you_mean(score, self.scores)}")
        return score

    def __repr__(self) -> str:
        return "\n".join(self.told())


def _told(trial: Trial, score: str) -> str:
    expected = "" if trial.case.expected is None else f", expected {trial.case.expected!r:.60}"
    return f"{figure(trial.number_of(score) or 0.0)} {trial.case.name!r:.80} ({trial.case}){expected}, got {trial.text!r:.80}"
