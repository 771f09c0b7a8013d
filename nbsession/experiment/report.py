"""What came of an experiment's trials, by arm: tables, comparisons, frames and figures."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from nbsession.errors import SessionError, did_you_mean
from nbsession.experiment.arm_report import ArmReport
from nbsession.experiment.frame import frame_of, plot_of
from nbsession.experiment.words import dollars, named
from nbsession.statistics import compare, corrected, figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from nbsession.experiment.arm import Arm
    from nbsession.experiment.case import Case
    from nbsession.experiment.trial import Trial
    from nbsession.statistics import Comparison


class Arms(dict[str, ArmReport]):
    """The arms by name, in their order; a name that is not there is an error that says which are."""

    def __missing__(self, name: object) -> ArmReport:
        if not isinstance(name, str) and str(name) in self:
            return self[str(name)]
        raise SessionError(f"there is no arm {name!r}{did_you_mean(str(name), self)}")


class Flip(NamedTuple):
    """A case that two arms do not score alike: the mean of its repetitions under each, and the trials of each."""

    case: Case
    a: float
    b: float
    trials_a: Sequence[Trial]
    trials_b: Sequence[Trial]

    @property
    def difference(self) -> float:
        """``a`` less ``b``."""
        return self.a - self.b

    def __str__(self) -> str:
        sides = ((self.a, self.trials_a), (self.b, self.trials_b))
        told = [
            f"{figure(mean)} under {trials[0].arm.name!r:.80} ({trials[0].text!r:.60})"
            for mean, trials in sides
        ]
        return f"{self.case.name!r:.80} ({self.case}): {', '.join(told)}"

    def __repr__(self) -> str:
        return str(self)


class Report:
    """Some trials of an experiment, by arm; ``scores`` are the names of those that they have, in the scorers' order."""

    def __init__(self, arms: Sequence[Arm], trials: Sequence[Trial], scores: Sequence[str]) -> None:
        by_arm: dict[str, list[Trial]] = {arm.name: [] for arm in arms}
        for trial in trials:
            by_arm[trial.arm.name].append(trial)
        found = dict.fromkeys(name for trial in trials for name in trial.scores)
        self.trials = trials
        self.scores = list(found) or list(scores)
        self.arms: Mapping[str, ArmReport] = Arms(
            {arm.name: ArmReport(arm, by_arm[arm.name], self.scores) for arm in arms}
        )

    def compare(self, a: str, b: str, *, score: str | None = None) -> Comparison:
        """Compare two arms case by case, ``a`` less ``b``, with a verdict in words.

        ``score`` is the first one unless it is named. Cases that only one of them has a score for are counted in
        ``unpaired``. Raises ``SessionError`` for a name that is not there, and where they have no case in common.
        """
        one, other = self.arms[a].by_case(score), self.arms[b].by_case(score)
        if one and other and not one.keys() & other.keys():
            raise SessionError(
                f"arms {a!r} and {b!r} have no case in common that both were scored for, so they cannot be compared: run "
                "what failed again"
            )
        return compare(one, other)

    def flips(self, a: str, b: str, *, score: str | None = None) -> list[Flip]:
        """Return the cases that two arms do not score alike, those that lie furthest apart first."""
        one, other = self.arms[a], self.arms[b]
        ours, theirs = one.by_case(score), other.by_case(score)
        found = []
        for name in ours.keys() & theirs.keys():
            mean, its = fmean(ours[name]), fmean(theirs[name])
            if mean != its:
                trials_a, trials_b = one.cases[name], other.cases[name]
                found.append(Flip(trials_a[0].case, mean, its, trials_a, trials_b))
        return sorted(found, key=lambda flip: (-abs(flip.difference), flip.trials_a[0].number))

    def against_first(self, *, score: str | None = None) -> dict[str, Comparison]:
        """Compare each arm with the first one, corrected for their number, by name."""
        first, *others = self.arms.values()
        base = first.by_case(score)
        comparisons = corrected(compare(arm.by_case(score), base) for arm in others)
        return {arm.name: each for arm, each in zip(others, comparisons, strict=True)}

    def frame(self) -> pd.DataFrame:
        """Return the trials as a pandas data frame: case, arm, model, repeat, status, scores, knobs and figures.

        A knob or score that is called as one of the other columns stands as ``"tokens (knob)"``. Raises
        ``SessionError`` where pandas is not installed.
        """
        return frame_of(self.trials, self.scores)

    def plot(self) -> Figure:
        """Draw the arms' means of each score with their intervals.

        Returns a matplotlib ``Figure`` that pyplot knows nothing of. Raises ``SessionError`` where matplotlib is not
        installed.
        """
        return plot_of(list(self.arms.values()), self.scores)

    def __str__(self) -> str:
        rows = [
            ("arm", *(map(named, self.scores) if self.scores else ["score"]), "tokens", "cost", "seconds")
        ]
        for arm in self.arms.values():
            scores = [str(arm.interval_of(name)) for name in self.scores]
            seconds = "–" if arm.latency is None else f"{arm.latency:.2f}"
            rows.append((named(arm.name), *(scores or ["–"]), f"{arm.tokens:,}", dollars(arm.cost), seconds))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        if self.scores and len(self.arms) > 1:
            first = named(next(iter(self.arms)))
            compared = self.against_first().items()
            lines += ["", *(f"{named(name)} beside {first}: {each}" for name, each in compared)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Report of {len(self.trials)} trials under {', '.join(map(repr, self.arms))}>"
