"""What came of one arm: its means with their intervals, what it took, and the cases that it lost."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from nbsession.errors import SessionError, did_you_mean
from nbsession.experiment import statistics

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
    def of(cls, value: float, arm: ArmReport, score: str) -> Mean:
        """Make one."""
        mean = cls(value)
        mean.arm, mean.score = arm, score
        return mean

    def explained(self) -> list[str]:
        """Say in lines what it is of, and which cases were lost."""
        return self.arm.told(self.score)


class ArmReport:
    """What came of one arm. Means and intervals are over cases: repetitions of one case are first put together.

    They are of the first score, unless ``score`` names another; ``n`` are the cases that have it.
    """

    def __init__(self, arm: Arm, trials: Sequence[Trial], scores: Sequence[str]) -> None:
        self.name = arm.name
        self.knobs = arm.knobs
        self.model = arm.model
        self.trials = trials
        self._scores = scores

    @property
    def scores(self) -> list[str]:
        """The names of the scores that its trials have, in the order of the scorers."""
        return list(dict.fromkeys(name for trial in self.trials for name in trial.scores)) or list(
            self._scores
        )

    def by_case(self, score: str | None = None) -> dict[str, float]:
        """Return the score of each case that has one, by its id: the mean of its repetitions."""
        name = self._named(score)
        values: dict[str, list[float]] = {}
        for trial in self.trials:
            value = trial.scores.get(name)
            if trial.status == "done" and isinstance(value, float | int):
                values.setdefault(trial.case.name, []).append(value)
        return {case: sum(found) / len(found) for case, found in values.items()}

    @property
    def mean(self) -> Mean:
        """The mean of the first score; not a number where no case has one."""
        return self.mean_of()

    def mean_of(self, score: str | None = None) -> Mean:
        """Return the mean of a score; not a number where no case has one."""
        values = self.by_case(score).values()
        return Mean.of(sum(values) / len(values) if values else float("nan"), self, self._named(score))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the mean of the first score lies with 95 % confidence, ``None`` where no case has one."""
        return self.interval_of()

    def interval_of(self, score: str | None = None) -> tuple[float, float] | None:
        """Return where the mean of a score lies with 95 % confidence, ``None`` where no case has one."""
        values = list(self.by_case(score).values())
        return statistics.interval(values) if values else None

    @property
    def n(self) -> int:
        """How many cases have the first score."""
        return len(self.by_case())

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
        """Return the trials whose score is less than the best of this arm's, or than 1, the worst first."""
        name = self._named(score)
        scored = [(trial.scores.get(name), trial) for trial in self.trials if trial.status == "done"]
        values = [(value, trial) for value, trial in scored if isinstance(value, float | int)]
        most = max((value for value, _ in values), default=0.0)
        most = max(most, 1.0) if all(0 <= value <= 1 for value, _ in values) else most
        return [trial for value, trial in sorted(values, key=lambda each: each[0]) if value < most]

    def told(self, score: str | None = None) -> list[str]:
        """Say in lines how it did by a score, and which cases it lost."""
        name, mean, within = self._named(score), self.mean_of(score), self.interval_of(score)
        between = f" [{within[0]:.3g} … {within[1]:.3g}]" if within else ""
        lines = [
            f"arm {self.name!r}: {name or 'no score'} {float(mean):.3g}{between}, n={len(self.by_case(score))}"
        ]
        lost = self.lost(score)
        lines += [f"  lost {_told(trial, name)}" for trial in lost[:LOST]]
        if len(lost) > LOST:
            lines.append(f"  and {len(lost) - LOST} more")
        for status in ("failed", "refused", "unsent"):
            if count := sum(trial.status == status for trial in self.trials):
                lines.append(f"  {count} {status}")
        return lines

    def _named(self, score: str | None) -> str:
        names = self.scores
        if score is None:
            return names[0] if names else ""
        if score not in names:
            raise SessionError(f"there is no score {score!r}{did_you_mean(score, names)}")
        return score

    def __repr__(self) -> str:
        return "\n".join(self.told())


def _told(trial: Trial, score: str) -> str:
    value: Any = trial.scores.get(score)
    expected = "" if trial.case.expected is None else f", expected {trial.case.expected!r:.60}"
    return f"{value:.3g} {trial.case.name!r} ({trial.case}){expected}, got {trial.text!r:.80}"
