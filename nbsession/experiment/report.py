"""What came of an experiment, by arm: means with their intervals, tables, frames and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.errors import SessionError, did_you_mean
from nbsession.experiment import statistics
from nbsession.experiment.arm_report import ArmReport
from nbsession.experiment.frame import frame_of, plot_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from nbsession.experiment.arm import Arm
    from nbsession.experiment.statistics import Comparison
    from nbsession.experiment.trial import Trial


class Report:
    """Some trials of an experiment, by arm."""

    def __init__(self, arms: Sequence[Arm], trials: Sequence[Trial], scores: Sequence[str]) -> None:
        by_arm: dict[str, list[Trial]] = {arm.name: [] for arm in arms}
        for trial in trials:
            by_arm[trial.arm.name].append(trial)
        self.trials = trials
        self.arms: Mapping[str, ArmReport] = Arms(
            {arm.name: ArmReport(arm, by_arm[arm.name], scores) for arm in arms}
        )

    @property
    def scores(self) -> list[str]:
        """The names of all scores."""
        return list(dict.fromkeys(name for arm in self.arms.values() for name in arm.scores))

    def compare(self, a: str, b: str, *, score: str | None = None) -> Comparison:
        """Say by how much arm ``b`` is above ``a``, from the cases that both have a score for.

        Raises ``SessionError`` where there is none.
        """
        one, other = self.arms[a].by_case(score), self.arms[b].by_case(score)
        pairs = [(one[case], other[case]) for case in one if case in other]
        if not pairs:
            raise SessionError(
                f"arms {a!r} and {b!r} have no case with a score in common: they cannot be compared case by case"
            )
        return statistics.compare(pairs)

    def frame(self) -> pd.DataFrame:
        """Return the trials as a pandas data frame: case, arm, knobs, model, repeat, status, scores and figures.

        A knob that is called as one of the other columns stands as ``"tokens (knob)"``. Raises ``SessionError``
        where pandas is not installed.
        """
        return frame_of(self.trials, self.scores)

    def plot(self) -> Figure:
        """Draw the arms' means of each score with their intervals.

        Returns a matplotlib ``Figure`` that pyplot knows nothing of. Raises ``SessionError`` where matplotlib is not
        installed.
        """
        return plot_of(list(self.arms.values()), self.scores)

    def __str__(self) -> str:
        rows = [("arm", *(self.scores or ["score"]), "n", "tokens", "cost", "seconds")]
        for arm in self.arms.values():
            scores = [_written(arm, name) for name in self.scores] or ["–"]
            cost = "?" if arm.cost is None else f"${arm.cost:.4f}"
            seconds = "–" if arm.latency is None else f"{arm.latency:.2f}"
            rows.append((arm.name, *scores, str(arm.n), f"{arm.tokens:,}", cost, seconds))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )


class Arms(dict[str, ArmReport]):
    """The arms by name, in their order; a name that is not there is an error that says which are."""

    def __missing__(self, name: object) -> ArmReport:
        if str(name) in self:
            return self[str(name)]
        raise SessionError(f"there is no arm {name!r}{did_you_mean(str(name), self)}")


def _written(arm: ArmReport, score: str) -> str:
    if score not in arm.scores:
        return "–"
    mean, within = arm.mean_of(score), arm.interval_of(score)
    return f"{float(mean):.3f} [{within[0]:.3f} … {within[1]:.3f}]" if within else "–"
