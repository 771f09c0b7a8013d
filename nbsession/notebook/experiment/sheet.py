"""What an experiment's run and plan look like, laid out as values and written as HTML and plain text."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from nbsession.content import visible
from nbsession.notebook.panels.spans import spans
from nbsession.notebook.panels.tables import Column, Row, Table, Word, count, shortened
from nbsession.notebook.view import templates
from nbsession.notebook.view.bounds import ANSWER_CHARACTERS, bounded
from nbsession.notebook.view.difference import Line, compare
from nbsession.notebook.view.live import Ui
from nbsession.statistics import figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.experiment import ArmReport, Plan, Report, Run, Trial
    from nbsession.experiment.report import Flip

MOST_ARMS = 50
"""Arms that are shown; ``run.arms`` has all."""
MOST_FLIPS = 10
"""Cases of those that flipped that are shown; ``run.report.flips(a, b)`` has all."""
MOST_FAULTS = 5
"""Failed trials that are told of; ``run.failures`` has all."""
LONGEST_ANSWER = 4_000
"""Characters of an answer that stand beside another one."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one arm made of a case."""

    arm: str
    score: str
    answer: str


@dataclass(frozen=True, slots=True)
class Flipped:
    """A case that two arms do not score alike, both answers beside each other; ``lines`` is what differs between them."""

    name: str
    message: str
    expected: str
    sides: tuple[Side, Side]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A run as it stands; ``share`` is how much of it is done, of 1."""

    tables: tuple[Table, ...]
    state: str
    share: float
    pair: str = ""
    flips: tuple[Flipped, ...] = ()
    left: int = 0

    def __str__(self) -> str:
        told = [*map(str, self.tables), self.state]
        if self.flips:
            told.append(self.pair)
            told += [_told(flip) for flip in self.flips]
        if self.left:
            told.append(f"and {count(self.left, 'other case')}")
        return "\n\n".join(filter(None, told))


def sheet(run: Run, *, whole: bool = True) -> Sheet:
    """Lay a run out. Not ``whole``, it has no intervals, verdicts and answers, which take their time."""
    how = run.progress
    state = _state(run)
    share = how.done / how.total if how.total else 1.0
    title = "Experiment"
    design = run.design
    facts = [count(len(design.cases), "case"), count(len(design.arms), "arm")]
    facts += [f"each {design.repeat} times"] if design.repeat > 1 else []
    if not whole:
        return Sheet((_table(run.report, title, facts, whole=False),), state, share)
    tables = [_table(run.report, title, facts, words=_words(run))]
    if any(case.held_out for case in design.cases):
        tables.append(_table(run.held_out, "Held out", ["what nothing above counts"]))
    first, other = _pair(run.report)
    flips = run.report.flips(first, other) if other else []
    shown = tuple(_flipped(flip, first, other, run.report.scores[0]) for flip in flips[:MOST_FLIPS])
    pair = f"{count(len(flips), 'case')} flipped between {first} and {other}" if flips else ""
    return Sheet(tuple(tables), state, share, pair, shown, len(flips) - len(shown))


def plan(shown: Plan) -> Table:
    """Lay out what an experiment would ask, by arm."""
    rows = [
        Row(
            (
                arm.name,
                arm.model,
                f"{arm.calls:,}",
                f"{arm.reused:,}",
                f"≈{arm.tokens:,}",
                templates.signed(arm.diff.tokens) if arm.diff else "–",
                "–" if arm.cost is None else f"≈{templates.dollars(arm.cost)}",
                "–" if arm.seconds is None else f"≈{templates.seconds(arm.seconds)}",
            )
        )
        for arm in list(shown.arms.values())[:MOST_ARMS]
    ]
    columns = (
        Column("arm"),
        Column("model", "q"),
        Column("calls", "n"),
        Column("stored", "n"),
        Column("in", "n"),
        Column("first case ±", "n"),
        Column("cost", "n"),
        Column("time", "n"),
    )
    facts = [f"{count(shown.calls, 'model call')} at least", f"≈{shown.tokens:,} tokens in"]
    facts += [
        "price unknown" if shown.cost is None else f"≈{templates.dollars(shown.cost)}",
        "nothing was sent",
    ]
    words = [Word("send", "%session experiment …", "without --plan; experiment.run() in Python")]
    return Table("Plan", facts, columns, rows, words)


def bundle(run: Run) -> dict[str, str]:
    """Return a run as HTML and as plain text."""
    laid = sheet(run)
    return {
        "text/html": f"{style()}{page(laid, Ui())}",
        "text/plain": bounded(visible(str(laid)), ANSWER_CHARACTERS),
    }


def style() -> str:
    """Return the style sheets of a run."""
    return "".join(templates.style(name) for name in ("view", "tables", "experiment"))


def page(laid: Sheet, ui: Ui) -> str:
    """Write a run as HTML."""
    return str(templates.macro("experiment", "page")(ui, laid))


def _table(
    report: Report, title: str, facts: Sequence[str], *, words: Sequence[Word] = (), whole: bool = True
) -> Table:
    arms = list(report.arms.values())[:MOST_ARMS]
    scores = report.scores
    columns = [Column("arm"), *([Column("model", "q")] if len({arm.model for arm in arms}) > 1 else [])]
    columns += [Column(name, "n") for name in scores]
    columns += [Column("", "")] if scores and whole else []
    columns += [Column("cases", "n"), Column("tokens", "n"), Column("cost", "n"), Column("time", "n")]
    verdicts = report.against_first() if scores and whole and len(arms) > 1 else {}
    columns += [Column(f"against {arms[0].name}")] if verdicts else []
    drawn = spans(arm.interval for arm in arms) if scores and whole else []
    rows = []
    for at, arm in enumerate(arms):
        cells: list[Any] = [arm.name, *([_model(arm)] if any(c.title == "model" for c in columns) else [])]
        cells += [_score(arm, name, whole=whole) for name in scores]
        cells += [drawn[at]] if drawn else []
        done = [trial for trial in arm.trials if trial.status == "done"]
        cells += [
            f"{len({trial.case.name for trial in done}):,}",
            f"{arm.tokens:,}",
            templates.dollars(arm.cost),
            "–" if arm.latency is None else templates.seconds(arm.latency),
        ]
        verdict = verdicts.get(arm.name)
        cells += ["–" if verdict is None else str(verdict)] if verdicts else []
        rows.append(Row(cells, here=verdict is not None and verdict.kind == "real"))
    return Table(title, facts, columns, rows, words)


def _model(arm: ArmReport) -> str:
    return str(getattr(arm.model, "name", arm.model) or "–")


def _score(arm: ArmReport, name: str, *, whole: bool) -> str:
    if not whole:
        values = [fmean(values) for values in arm.by_case(name).values()]
        return figure(fmean(values)) if values else "–"
    found = arm.interval_of(name)
    if found.mean is None:
        return "–"
    if found.low is None or found.high is None:
        return figure(found.mean)
    return f"{figure(found.mean)} ({figure(found.low)} to {figure(found.high)})"


def _state(run: Run) -> str:
    how = run.progress
    said = [f"{how.done:,} of {count(how.total, 'trial')}"]
    said += [f"{how.reused:,} from the store"] if how.reused else []
    said += [f"{how.failed:,} failed"] if how.failed else []
    said += [f"{how.refused:,} refused by the budget"] if how.refused else []
    said.append("cost unknown" if how.cost is None else templates.dollars(how.cost))
    if not run.done:
        said.append("" if how.seconds_left is None else f"about {templates.seconds(how.seconds_left)} left")
    elif run.reason:
        said.append(run.reason)
    return " · ".join(filter(None, said))


def _words(run: Run) -> list[Word]:
    failed = [Word("failed", repr(trial), trial.error) for trial in run.failures[:MOST_FAULTS]]
    unscored = [
        Word("not scored", repr(trial), f"{name}: {value}")
        for trial in run.trials
        for name, value in trial.scores.items()
        if isinstance(value, str)
    ]
    look = Word("look", "run.trials[0].session()", "a trial as a session: its context, ticks, tools; fork it")
    return [*failed, *unscored[:MOST_FAULTS], look]


def _pair(report: Report) -> tuple[str, str]:
    """Return the first arm and the one that lies furthest from it; without two that have scores, no other."""
    arms = [arm for arm in report.arms.values() if report.scores and arm.by_case()]
    if len(arms) < 2:
        return "", ""
    first, *others = arms
    other = max(others, key=lambda arm: abs(float(arm.mean) - float(first.mean)))
    return first.name, other.name


def _flipped(flip: Flip, a: str, b: str, score: str) -> Flipped:
    one, other = (_side(name, trials, score) for name, trials in ((a, flip.trials_a), (b, flip.trials_b)))
    expected = "" if flip.case.expected is None else shortened(str(flip.case.expected), 200)
    return Flipped(flip.case.name, str(flip.case), expected, (one, other), compare(one.answer, other.answer))


def _side(arm: str, trials: Sequence[Trial], score: str) -> Side:
    """Take the first answered trial, with the mean of all."""
    values = [value for trial in trials if (value := trial.number_of(score)) is not None]
    answered = next((trial for trial in trials if trial.status == "done"), trials[0])
    answer = answered.text
    if len(answer) > LONGEST_ANSWER:
        answer = f"{answer[:LONGEST_ANSWER]}… ({len(answer):,} characters in all)"
    return Side(arm, figure(fmean(values)) if values else "–", answer)


def _told(flip: Flipped) -> str:
    lines = [f"{flip.name}: {flip.message}" + (f" (expected {flip.expected})" if flip.expected else "")]
    lines += [f"  {side.arm} {side.score}: {shortened(side.answer, 200)}" for side in flip.sides]
    return "\n".join(lines)
