"""What an experiment's run, report and plan look like, laid out as values and written as HTML and plain text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from nbsession.content import visible
from nbsession.notebook.experiment.flips import Flips, flips_of
from nbsession.notebook.panels.spans import spans
from nbsession.notebook.panels.tables import Column, Row, Table, Word, aligned, count, shortened
from nbsession.notebook.sweep.differences import Differences, as_text, gathered, rows_of
from nbsession.notebook.view import templates
from nbsession.notebook.view.bounds import ANSWER_CHARACTERS, bounded
from nbsession.notebook.view.live import Ui
from nbsession.statistics import figure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbsession.context import CompiledContext
    from nbsession.experiment import ArmPlan, ArmReport, JudgePlan, Plan, Report, Run
    from nbsession.statistics import Comparison

MOST_ARMS = 50
"""Arms that are shown; ``run.arms`` has all."""
MOST_FAULTS = 5
"""Trials of each kind of failure that are told of; ``run.failures`` and ``run.refused`` have all."""
MOST_DIFFERENCES = 20
"""Differences of contexts that are shown; of the others it says how many there are."""
LONGEST_FAULT = 300
"""Characters of an error that stand in a row."""
NAMES = 40
"""Characters of the names of the arms that have a difference; of more it says how many arms there are."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """What stands in an output. ``share`` is how much of a run is done, of 1; ``differences`` are those of the contexts."""

    tables: tuple[Table, ...]
    state: str = ""
    share: float = 1.0
    flips: Flips | None = None
    differences: Differences | None = None
    words: tuple[Word, ...] = ()

    @property
    def compared(self) -> str:
        """Say what the differences are, or that there are none."""
        if self.differences is None:
            return ""
        if not self.differences.rows:
            return "Every arm sends the same context"
        return f"What differs in the context of the first case, against {self.differences.first}"

    @property
    def more(self) -> str:
        """Say how many differences are not shown."""
        left = self.differences.left if self.differences is not None else 0
        return f"… and {count(left, 'more difference')}: experiment.plan().arms[…].diff" if left else ""

    def __str__(self) -> str:
        told = ["\n".join(filter(None, [str(self.tables[0]), self.state])), *map(str, self.tables[1:])]
        if self.flips is not None:
            told.append(str(self.flips))
        if self.differences is not None:
            told.append("\n".join(filter(None, [self.compared, *as_text(self.differences.rows), self.more])))
        told.append("\n".join(aligned([list(word) for word in self.words])))
        return "\n\n".join(filter(None, told))


def sheet(run: Run, *, name: str | None = "run", whole: bool = True) -> Sheet:
    """Lay a run out, which goes by ``name`` in the notebook, ``None`` where by none.

    Not ``whole``, it has no intervals, verdicts and answers, which take their time.
    """
    how, design, report = run.progress, run.design, run.report
    facts = [count(len(design.cases), "case"), count(len(design.arms), "arm")]
    facts += [f"each {design.repeat} times"] if design.repeat > 1 else []
    state, share = _state(run), how.done / how.total if how.total else 1.0
    if not whole:
        return Sheet((arms_of(report.arms, "Experiment", facts, whole=False),), state, share)
    shown = list(tables_of(report, "Experiment", facts))
    shown[0] = replace(shown[0], words=_faults(run))
    if any(trial.status == "done" for trial in run.held_out.trials):
        held_out = tables_of(run.held_out, "Held out", ["counted nowhere else"])
        shown += [
            held_out[0],
            *(
                replace(each, title=f"Held out, {each.title[0].lower()}{each.title[1:]}")
                for each in held_out[1:]
            ),
        ]
    flips = flips_of(report, name)
    return Sheet(tuple(shown), state, share, flips, _of_contexts(run), _words(run, name, flips))


def tables_of(report: Report, title: str = "Report", facts: Sequence[str] = ()) -> tuple[Table, ...]:
    """Lay a report out: its arms, and how each compares with the first one."""
    arms, comparisons = arms_of(report.arms, title, facts), report.against_first() if report.scores else {}
    if not any(each.n for each in comparisons.values()):
        return (arms,)
    return arms, _against_first(report, comparisons)


def arms_of(
    given: Mapping[str, ArmReport], title: str = "Arms", facts: Sequence[str] = (), *, whole: bool = True
) -> Table:
    """Lay arms out; ``whole``, with the intervals of their scores, of which the first one's is drawn."""
    arms = list(given.values())[:MOST_ARMS]
    models = [_model(arm) for arm in arms]
    told: list[tuple[Column, Sequence[Any]]] = [(Column("arm"), [arm.name for arm in arms])]
    told += [(Column("model", "q"), models)] if len(set(models)) > 1 else []
    for at, name in enumerate(arms[0].scores):
        told.append((Column(name, "n"), [_score(arm, name, whole=whole) for arm in arms]))
        told += [(Column(""), spans((arm.interval for arm in arms), figure))] if whole and not at else []
    done = [{trial.case.name for trial in arm.trials if trial.status == "done"} for arm in arms]
    told += [
        (Column("cases", "n"), [f"{len(cases):,}" for cases in done]),
        (Column("tokens", "n"), [f"{arm.tokens:,}" for arm in arms]),
        (Column("cost", "n"), [templates.dollars(arm.cost) for arm in arms]),
        (
            Column("time", "n"),
            ["–" if arm.latency is None else templates.seconds(arm.latency) for arm in arms],
        ),
    ]
    rows = [Row(cells) for cells in zip(*(cells for _, cells in told), strict=True)]
    return Table(title, [*facts, *_left_out(len(given))], [column for column, _ in told], rows)


def plan(shown: Plan, *, whole: bool = True) -> Sheet:
    """Lay out what an experiment would ask, by arm; ``whole``, with what differs between their contexts."""
    models = {each.model for each in shown.parts}
    batched = any(not arm.batch for arm in shown.arms.values())
    told = [_of_arm(arm) for arm in list(shown.arms.values())[:MOST_ARMS]]
    told[0]["±"] = ""
    told += [_of_judge(judge) for judge in shown.judges.values()]
    hidden = {"model"} if len(models) == 1 else set()
    hidden |= set() if shown.reused else {"in store", "time"}
    hidden |= set() if batched else {"in a batch"}
    kinds = {"arm": "", "model": "q"}
    columns = [Column(title, kinds.get(title, "n")) for title in told[0] if title not in hidden]
    rows = [Row([cells.get(column.title, "") for column in columns]) for cells in told]
    facts = [f"{count(shown.calls, 'model call')} at least", f"≈{shown.tokens:,} tokens in"]
    facts += [f"{shown.reused:,} in the store"] if shown.reused else []
    facts.append(
        "price unknown" if shown.cost is None else f"≈{templates.dollars(shown.cost)}{_answers(shown)}"
    )
    if shown.batch_cost is not None:
        facts.append(f"{_about(shown.batch_cost, templates.dollars)} in a batch")
    facts += sorted(models) if len(models) == 1 else []
    facts += ["nothing was sent"] if whole else []
    table = Table("Plan", [*filter(None, facts), *_left_out(len(shown.arms))], columns, rows)
    contexts = {arm.name: arm.context for arm in shown.arms.values()}
    differences = differences_of(contexts) if whole and len(contexts) > 1 else None
    words = [Word("batch", said, "") for said in shown.of_batches] if batched else []
    return Sheet((table,), differences=differences, words=tuple(words))


def differences_of(contexts: Mapping[str, CompiledContext]) -> Differences:
    """Gather what differs from the first arm's context: each difference once, with the arms that have it."""
    names = list(contexts)
    found = [each for kinds in gathered(list(contexts.values())).values() for each in kinds.values()]
    rows = [
        replace(row, note=_named([names[number] for number in each.numbers]))
        for at, each in enumerate(found[:MOST_DIFFERENCES])
        for row in rows_of(each.diff, f"x{at}")
    ]
    return Differences(names[0], tuple(rows), len(found) - len(rows))


def bundle(laid: Sheet, ui: Ui | None = None) -> dict[str, str]:
    """Return it as HTML and as plain text."""
    return {
        "text/html": f"{style()}{page(laid, ui or Ui())}",
        "text/plain": bounded(visible(str(laid)), ANSWER_CHARACTERS),
    }


def style() -> str:
    """Return the style sheets of a run."""
    return "".join(templates.style(name) for name in ("view", "tables", "experiment"))


def page(laid: Sheet, ui: Ui) -> str:
    """Write it as HTML."""
    return str(templates.macro("experiment", "page")(ui, laid))


def _against_first(report: Report, comparisons: Mapping[str, Comparison]) -> Table:
    drawn = spans(each.interval for each in comparisons.values())
    rows = []
    for (name, each), span in zip(comparisons.items(), drawn, strict=True):
        apart = f"; repetitions of a case lie {figure(each.within)} apart" if each.within else ""
        counts = (f"{each.won:,}", f"{each.lost:,}", f"{each.tied:,}")
        cells = (name, *([span] if any(drawn) else []), *counts, f"{each.verdict}{apart}")
        rows.append(Row(cells, here=each.kind == "real"))
    columns = [Column("arm"), *([Column("difference")] if any(drawn) else [])]
    columns += [Column("won", "n"), Column("lost", "n"), Column("tied", "n"), Column("verdict")]
    facts = [f"by {report.scores[0]}"] if len(report.scores) > 1 else []
    return Table(f"Against {next(iter(report.arms))}", facts, columns, rows[: MOST_ARMS - 1])


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
    said.append("cost unknown" if how.cost is None else f"cost {templates.dollars(how.cost)}")
    if how.scoring:
        said[-1] += f", {templates.dollars(how.scoring)} of it for scores"
    if not run.done:
        said += [] if how.seconds_left is None else [f"about {templates.seconds(how.seconds_left)} left"]
    elif (error := run.outcome.exception()) is not None:
        said.append(f"it stopped: {shortened(f'{type(error).__name__}: {error}', LONGEST_FAULT)}")
    return " · ".join([*said, *([run.reason] if run.done and run.reason else [])])


def _faults(run: Run) -> list[Word]:
    unscored = [
        (trial, f"{name}: {value}")
        for trial in run.trials
        for name, value in trial.scores.items()
        if isinstance(value, str)
    ]
    told = (
        ("failed", [(trial, trial.error) for trial in run.failures]),
        ("refused", [(trial, trial.error) for trial in run.refused[:1]]),
        ("not scored", unscored),
    )
    words = []
    for kind, faults in told:
        for trial, why in faults[:MOST_FAULTS]:
            words.append(
                Word(
                    kind,
                    shortened(f"{trial.case.name} under {trial.arm.name}"),
                    shortened(why, LONGEST_FAULT),
                )
            )
        if len(faults) > MOST_FAULTS:
            words.append(Word(kind, f"and {len(faults) - MOST_FAULTS:,} more", ""))
    return words


def _words(run: Run, name: str | None, flips: Flips | None) -> tuple[Word, ...]:
    """Say how to go on; a run that has no name gets one when it is taken up again, and nothing is asked twice."""
    if name is None:
        return (
            Word(
                "keep",
                "%session experiment … --as run",
                "to look further; what is answered is not asked again",
            ),
        )
    place = f"{name}.trials[0]" if flips is None else flips.cases[0].sides[-1].place
    again = "run the cell again: only what is missing is asked"
    return (
        Word("look", f"trial = {place}.session()", "one trial as a session: go on with it, fork it"),
        Word("", "%session use trial", "and %session inspect: its context, ticks and tools"),
        *([Word("go on", again, "")] if len(run.failures) + len(run.refused) or run.reason else []),
    )


def _of_contexts(run: Run) -> Differences | None:
    """Compare the contexts of a run's arms, unless it could not compile them."""
    if len(run.design.arms) < 2 or len(run.trials) < run.design.size:
        return None
    return differences_of(run.contexts)


def _named(names: Sequence[str]) -> str:
    named = "; ".join(names)
    return named if len(names) == 1 or len(named) <= NAMES else count(len(names), "arm")


def _left_out(arms: int) -> list[str]:
    return [f"the first {MOST_ARMS} shown"] if arms > MOST_ARMS else []


def _about(value: float | None, write: Callable[[Any], str]) -> str:
    return "–" if value is None else f"{'≈' if value else ''}{write(value)}"


def _of_arm(arm: ArmPlan) -> dict[str, str]:
    """Write what an arm would ask, by the titles of the columns."""
    return {
        "arm": arm.name,
        "model": arm.model or "–",
        "calls": f"{arm.calls:,}",
        "in store": f"{arm.reused:,}",
        "tokens in": _about(arm.tokens, "{:,}".format),
        "first case": f"≈{arm.context.tokens:,}",
        "±": templates.signed(arm.diff.tokens),
        "cost": _about(arm.cost, templates.dollars),
        "in a batch": "none" if arm.batch else _about(arm.batch_cost, templates.dollars),
        "time": _about(arm.seconds, templates.seconds),
    }


def _of_judge(judge: JudgePlan) -> dict[str, str]:
    return {
        "arm": f"judge: {judge.name}",
        "model": judge.model or "–",
        "calls": f"{judge.calls:,}",
        "tokens in": _about(judge.tokens, "{:,}".format),
        "cost": _about(judge.cost, templates.dollars),
    }


def _answers(shown: Plan) -> str:
    return "" if all(each.answers or not each.cost for each in shown.parts) else " and the answers"
