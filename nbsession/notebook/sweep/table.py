"""A sweep as a reader is shown it: a row a combination, what all of them took, and what differs in the context.

Laid out once, as values, and written from these as HTML and as plain text.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from nbsession.content import drafts_of, visible
from nbsession.notebook.panels.tables import aligned, count, shortened
from nbsession.notebook.sweep.bars import Most, most_of, progress
from nbsession.notebook.sweep.differences import Differences, as_text, differences, written
from nbsession.notebook.view import templates
from nbsession.notebook.view.bounds import ANSWER_CHARACTERS, bounded
from nbsession.notebook.view.endings import why_stopped
from nbsession.notebook.view.live import Ui

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbsession.session import Result, Sweep, SweepRow
    from nbsession.usage import Usage

MOST_ROWS = 50
"""Rows that are shown; of the others it says how many there are."""
MOST_COLUMNS = 4
"""Knobs that have a column each; more stand together in one."""
FEW = 6
"""Differences that are shown unfolded."""
ANSWERS = 48_000
"""Characters of all answers together; each may take its share, of ``SHORTEST`` to ``LONGEST``."""
SHORTEST, LONGEST = 400, 6_000
INLINE = 72
"""Characters of an answer that stands in its row without being folded."""
BEGINNING = 100
"""Characters of a longer one that stand there while it is folded."""
ERROR = 240
"""Characters of an error."""

_MARKUP = re.compile(r"^#{1,6}\s+|\*\*|`", re.MULTILINE)


class Line(NamedTuple):
    """One row: ``knobs`` by column; ``delta`` is the signed difference in tokens to the first row.

    ``answer`` is as much of it as is shown, ``left`` the characters that are not;
    ``folded`` says that it is longer than its row.
    """

    key: str
    number: int
    knobs: tuple[str, ...]
    run: int
    tokens: int
    delta: int
    status: str
    answer: str
    left: int
    folded: bool
    error: str
    stopped: str
    calls: str
    usage: Usage | None
    cost: float | None
    seconds: float | None
    sources: tuple[tuple[str, str, str], ...]

    @property
    def beginning(self) -> str:
        """The beginning of the answer, on one line and without its markup."""
        return shortened(_MARKUP.sub("", self.answer[: 8 * BEGINNING]), BEGINNING)

    @property
    def input(self) -> str:
        """The tokens that the model read."""
        return figure(self.usage, "input_tokens")

    @property
    def output(self) -> str:
        """The tokens that the model wrote."""
        return figure(self.usage, "output_tokens")


@dataclass(frozen=True, slots=True)
class Grid:
    """A sweep, laid out as it stands; ``source`` is that of all rows, where it is the same.

    ``verdicts`` say of repeated combinations whether their answers differ in length, once all are over.
    """

    title: str
    facts: tuple[str, ...]
    columns: tuple[str, ...]
    repeats: bool
    lines: tuple[Line, ...]
    hidden: str
    total: str
    verdicts: tuple[str, ...]
    unpriced: bool
    differences: Differences
    answers: bool
    state: str
    running: bool
    over: int
    count: int
    most: Most
    seconds: float
    source: tuple[tuple[str, str, str], ...]
    sources: bool

    @property
    def compared(self) -> str:
        """Say what the differences are, or that there are none."""
        first = self.differences.first
        if self.differences.rows:
            return f"What differs in the context, against row 0{f' ({first})' if first else ''}"
        return "The context is the same in all rows" + ("; these knobs change nothing in it" if first else "")

    @property
    def more(self) -> str:
        """Say how many differences are not shown."""
        left = self.differences.left
        return (
            f"… and {count(left, 'more difference')}: sweep[n].context.diff(sweep[0].context)" if left else ""
        )

    def __str__(self) -> str:
        under_way = [f"{progress(self.over, self.count)} {self.state}"] if self.running else []
        lines = [
            " · ".join([self.title, *self.facts]),
            *under_way,
            *aligned([self._heads(), *map(self._cells, self.lines)]),
        ]
        source = ", ".join(_source(*told) for told in self.source)
        total = " · ".join(filter(None, [source, self.total]))
        lines += [*filter(None, [self.hidden, total]), *self.verdicts, "", self.compared]
        return "\n".join([*lines, *as_text(self.differences.rows), *filter(None, [self.more])])

    def _heads(self) -> list[str]:
        runs = ["run"] if self.repeats else []
        answers = ["in", "out", "cost", "time", *(["source"] if self.sources else []), "answer"]
        return ["#", *self.columns, *runs, "context", "", *(answers if self.answers else [])]

    def _cells(self, line: Line) -> list[str]:
        runs = [str(line.run)] if self.repeats else []
        cells = [str(line.number), *line.knobs, *runs, f"≈{line.tokens:,}", change_of(line)]
        if not self.answers:
            return cells
        usage = line.usage
        said = [line.beginning, line.error, line.stopped and f"[{line.stopped}]"]
        return [
            *cells,
            line.input,
            line.output,
            "" if usage is None else templates.dollars(line.cost),
            "" if line.seconds is None else templates.seconds(line.seconds),
            *([", ".join(_source(*told) for told in line.sources)] if self.sources else []),
            " ".join(filter(None, said)) or line.status,
        ]


def bundle(sweep: Sweep) -> dict[str, str]:
    """Return a sweep as HTML and as plain text."""
    grid = laid_out(sweep)
    return {
        "text/html": f"{style()}{page(grid, Ui())}",
        "text/plain": bounded(visible(str(grid)), ANSWER_CHARACTERS),
    }


def style() -> str:
    """Return the style sheets of a sweep."""
    return "".join(templates.style(name) for name in ("view", "tables", "sweep"))


def page(grid: Grid, ui: Ui) -> str:
    """Write a sweep as HTML."""
    if len(grid.differences.rows) > FEW:
        for row in grid.differences.rows:
            ui.open.setdefault(row.key, False)
    return str(templates.macro("sweep", "page")(ui, grid))


def laid_out(sweep: Sweep) -> Grid:
    """Lay a sweep out as it stands."""
    lines = tuple(line(sweep, number) for number in range(min(len(sweep), MOST_ROWS)))
    return replace(summed(sweep), lines=lines, differences=differences(sweep))


def summed(sweep: Sweep) -> Grid:
    """Lay out what stands around the rows, without them."""
    names = sweep.varied
    fixed = [f"{name} = {written(values[0])}" for name, values in sweep.values.items() if len(values) == 1]
    asked = shortened(" ".join(str(block) for draft in drafts_of(sweep.message) for block in draft.content))
    begun = any(row.started is not None for row in sweep.rows)
    sources = {
        tuple(_sources(row.result)) for row in sweep.rows if row.result is not None and row.result.ticks
    }
    one = sources.pop() if len(sources) == 1 else ()
    return Grid(
        title=f"Sweep of session {sweep.session.id}",
        facts=(count(len(sweep), "row"), *fixed, f"“{asked}”"),
        columns=("knobs",) if len(names) > MOST_COLUMNS else tuple(names),
        repeats=any(row.run for row in sweep.rows),
        lines=(),
        hidden=_hidden(sweep.rows, MOST_ROWS),
        total=_total(sweep, begun),
        verdicts=_verdicts(sweep) if begun and sweep.done else (),
        unpriced=begun and sweep.cost is None,
        differences=Differences("", (), 0),
        answers=begun or not sweep.done,
        state=state(sweep),
        running=not sweep.done,
        over=_over(sweep),
        count=len(sweep),
        most=most_of(sweep.rows) if sweep.done else Most(),  # each answer would make all bars others
        seconds=_seconds(sweep),
        source=one,
        sources=bool(sources),
    )


def _verdicts(sweep: Sweep) -> tuple[str, ...]:
    """Say whether answers differ in length beyond their repetitions; of other scores ``sweep.verdict`` does."""
    if not any(row.run for row in sweep.rows):
        return ()
    said = sweep.verdict("length")
    left = len(said) - FEW
    more = [f"… and {count(left, 'more combination')}: sweep.verdict()"] if left > 0 else []
    return (*[f"Length of answers, {verdict}" for verdict in said[:FEW]], *more)


def line(sweep: Sweep, number: int) -> Line:
    """Lay one row out as it stands."""
    row = sweep.rows[number]
    names = sweep.varied
    words = [written(row.knobs[name]) for name in names]
    if len(names) > MOST_COLUMNS:
        words = [", ".join(f"{name} = {word}" for name, word in zip(names, words, strict=True))]
    partial = row.partial
    # While it runs there is nothing to be settled about its answer.
    result = partial if row.status not in ("waiting", "running") else None
    text = result.text.strip() if result is not None else ""
    most = min(LONGEST, max(SHORTEST, ANSWERS // min(MOST_ROWS, len(sweep))))
    told = result is not None and bool(result.usage.total_tokens)
    return Line(
        key=f"r{number}",
        number=number,
        knobs=tuple(words),
        run=row.run,
        tokens=row.context.tokens,
        delta=row.context.tokens - sweep.rows[0].context.tokens,
        status=_status(sweep, row),
        answer=text[:most],
        left=max(0, len(text) - most),
        folded=len(text) > INLINE or "\n" in text,
        error=_error(row),
        stopped=why_stopped(result.stop_reason, result.reason) if result is not None else "",
        calls=", ".join(_calls(result)) if result is not None else "",
        usage=result.usage if result is not None and told else None,
        cost=result.cost if result is not None else None,
        seconds=row.seconds if row.ended is not None else None,
        sources=tuple(_sources(result)) if result is not None else (),
    )


def state(sweep: Sweep) -> str:
    """Say how far a sweep is."""
    running = sum(row.status == "running" for row in sweep.rows)
    return f"{_over(sweep)} of {len(sweep)} answered" + (f", {running} under way" if running else "")


def _over(sweep: Sweep) -> int:
    return sum(row.status in ("done", "failed") for row in sweep.rows)


def planned(sweep: Sweep) -> str:
    """Say what sending would take, before it does."""
    calls = count(len(sweep), "model call")
    return f"{calls} at least (tools ask for more), ≈{sweep.tokens:,} tokens in"


def change_of(line: Line) -> str:
    """Write the difference to the first row, nothing in the first row itself."""
    return templates.signed(line.delta) if line.number else ""


def figure(usage: Usage | None, name: str) -> str:
    """Write a token figure of a usage, with its sign where it is an estimate."""
    if usage is None:
        return ""
    return f"{'≈' if usage.estimated else ''}{getattr(usage, name):,}"


def _hidden(rows: Sequence[SweepRow], shown: int) -> str:
    hidden = rows[shown:]
    if not hidden:
        return ""
    failed = sum(row.status == "failed" for row in hidden)
    told = f", {failed} of them failed" if failed else ""
    return (
        f"{count(len(hidden), 'more row')} not shown{told}: in Python they are sweep[{shown}] to "
        f"sweep[{len(rows) - 1}] (--as binds the sweep to a variable)"
    )


def _total(sweep: Sweep, begun: bool) -> str:
    if not begun:
        first = "context only, nothing was sent" if not sweep.reason else sweep.reason
        return f"{first}; sending would take {planned(sweep)}"
    partials = [partial for row in sweep.rows if (partial := row.partial) is not None]
    usage = sweep.usage
    words = [
        count(sum(len(partial.ticks) for partial in partials), "model call"),
        f"{figure(usage, 'input_tokens')} tokens in, {figure(usage, 'output_tokens')} out",
        f"cost {templates.dollars(sweep.cost)}",
        templates.seconds(_seconds(sweep)),
        *_ends(sweep),
    ]
    return " · ".join(filter(None, words))


def _seconds(sweep: Sweep) -> float:
    """How long it took, or has taken so far."""
    starts = [row.started for row in sweep.rows if row.started is not None]
    ends = [row.ended for row in sweep.rows if row.ended is not None]
    if not starts:
        return 0.0
    return (max(ends, default=min(starts)) if sweep.done else time.time()) - min(starts)


def _ends(sweep: Sweep) -> Iterator[str]:
    """Say how many rows ended other than with an answer."""
    failed = sum(row.status == "failed" for row in sweep.rows)
    if failed:
        yield f"{failed} failed"
    budget = sum(row.result is not None and row.result.stop_reason == "budget" for row in sweep.rows)
    if budget:
        yield f"{budget} stopped by the budget"
    if sweep.reason:
        unsent = sum(row.status == "unsent" for row in sweep.rows)
        yield sweep.reason + (f", {unsent} not asked" if unsent else "")


def _status(sweep: Sweep, row: SweepRow) -> str:
    if row.status == "unsent" and row.started is None:
        return "not asked" if sweep.reason else ""
    return row.status if row.status in ("waiting", "running") else ""


def _error(row: SweepRow) -> str:
    if row.error is None:
        return ""
    said = " ".join(f"{type(row.error).__name__}: {row.error}".split())
    return said if len(said) <= ERROR else said[: ERROR - 1] + "…"


def _calls(result: Result) -> Iterator[str]:
    for run in result.tool_calls:
        bad = run.result is not None and (run.result.is_error or run.result.status != "done")
        yield f"{run.name} ({run.result.status})" if bad and run.result is not None else run.name


def _sources(result: Result) -> Iterator[tuple[str, str, str]]:
    """Give the different (source, model, when recorded) of what answered."""
    answered = [tick for tick in result.ticks if tick.source and (tick.response or tick.usage.total_tokens)]
    told: dict[tuple[str, str, str], tuple[str, str, str]] = {}
    for tick in answered:
        told.setdefault(
            (tick.source, tick.model, tick.recorded[:10]), (tick.source, tick.model, tick.recorded)
        )
    return iter(told.values())


def _source(source: str, model: str, recorded: str) -> str:
    if source == "recorded":
        return f"recorded {templates.moment(recorded)}".strip()
    return source if model == source else f"{source}: {model}"
