"""What was found out about a session, laid out in rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbsession.content import visible
from nbsession.notebook.panels.spans import spans
from nbsession.notebook.panels.tables import Column, Row, Table, Word, count, shortened
from nbsession.notebook.view import templates
from nbsession.session import answer

LONGEST_TEXT = 10_000
"""Characters of one text of a request that are written."""

MOST_DEAD = 5
"""Components of dead context that are named, the costliest."""

LONGEST = 200
"""Characters of an answer that stand in a row."""

if TYPE_CHECKING:
    from nbsession.session import (
        Bisection,
        Explanation,
        Findings,
        Forecast,
        Grade,
        Session,
        SessionDiff,
        Worth,
    )


def check(found: Findings, title: str = "Check") -> Table:
    """Lay out what is doubtful about a context."""
    severities = [finding.severity for finding in found]
    facts = [count(severities.count(severity), severity) for severity in dict.fromkeys(severities)] or [
        "nothing doubtful was found"
    ]
    return Table(
        title,
        facts,
        (Column("", "q"), Column("what"), Column("message")),
        [Row((finding.severity, finding.what, finding.message)) for finding in found],
    )


def forecast(shown: Forecast, title: str = "Forecast") -> Table:
    """Lay out what of a request may be read from the provider's cache, by component."""
    rows = [
        Row((str(share), f"≈{share.tokens:,}", "unknown" if share.kept is None else f"≈{share.kept:,}"))
        for share in shown.shares
    ]
    columns = (Column("component"), Column("tokens", "n"), Column("as before", "n"))
    return Table(title, [str(shown)], columns, rows)


def bisection(shown: Bisection) -> Table:
    """Lay out what was done to find where a session began to behave otherwise."""
    rows = [
        Row((str(at), step.what, step.outcome, "–" if step.tick is None else templates.dollars(step.cost)))
        for at, step in enumerate(shown.steps)
    ]
    columns = (Column("step", "n"), Column("what was done"), Column("outcome"), Column("cost", "n"))
    words = []
    if shown.tick is not None and shown.before is not None:
        how = f"%session context {shown.tick.number} --diff {shown.before.number}"
        words.append(Word("view", how, "what is another there"))
    if not shown.done:
        words.append(
            Word("try", "%session bisect … --calls N", "put back what changed, with at most N calls")
        )
    return Table(
        f"Bisect of session {shown.session_id}", [shown.conclusion, shown.spent], columns, rows, words
    )


def grade(shown: Grade, title: str = "Prediction") -> Table:
    """Lay out how a prediction did."""
    rows = [Row(("✓" if mark.right else "✗", mark.asked, mark.guess, mark.came)) for mark in shown.marks]
    columns = (Column(""), Column("", "q"), Column("predicted"), Column("came"))
    facts = [f"{shown.points} of {len(shown.marks)} right"]
    if shown.diff is not None:
        facts.append(f"{templates.signed(shown.diff.tokens)} tokens in the context")
    words = [Word("see", "%session ticks", "each model call; %session context TICK --diff TICK compares two")]
    return Table(title, facts, columns, rows, words)


def explanation(shown: Explanation) -> Table:
    """Lay out what each component is worth to an answer, with the interval drawn, and the dead context below."""
    number = shown.tick.number
    title = f"Tick {number} of session {shown.session_id} explained"
    known = (Column("component"), Column("tokens", "n"), Column("changed", "n"))
    cells = [
        (row.path, f"≈{row.tokens:,}", f"{row.changed} of {row.seen - 1}" if row.seen > 1 else "–")
        for row in shown
    ]
    if not shown.done:
        word = Word(
            "ask",
            f"%session explain {number} --max-cost USD",
            "within so many US dollars; --repeat N: so often",
        )
        return Table(title, [shown.conclusion, shown.basis], known, list(map(Row, cells)), [word])
    drawn = spans(None if row.effect is None else row.effect.interval for row in shown)
    rows = [
        Row((*first, span, "–" if row.effect is None else row.effect.verdict), here=_real(row))
        for first, span, row in zip(cells, drawn, shown, strict=True)
    ]
    words = [
        Word(
            "dead context",
            row.path,
            f"{templates.tokens(row.tokens)} a request, {_life(row)}, no effect measured",
        )
        for row in shown.dead[:MOST_DEAD]
    ]
    if words:
        path = shown.dead[0].path
        words.append(
            Word("without it", f"%session fork {number} --before --without {path}", "to ask again and go on")
        )
    facts = [
        shown.conclusion,
        shown.basis,
        *(["the context is another now"] if shown.differs else []),
        shown.spent,
    ]
    return Table(title, facts, (*known, Column("effect"), Column("verdict")), rows, words)


def _life(row: Worth) -> str:
    return f"never changed in {row.seen} ticks" if row.seen > 1 else "seen in one tick"


def _real(row: Worth) -> bool:
    return row.effect is not None and row.effect.kind == "real"


def breakpoints(session: Session) -> Table:
    """Lay out a session's breakpoints, and where it stands."""
    stopped = None if session.current is None else session.current.stopped
    facts = [count(len(session.breakpoints), "breakpoint"), *([] if stopped is None else [str(stopped)])]
    rows = [
        Row((str(each), "stands here" if stopped is not None and each == stopped.breakpoint else ""))
        for each in session.breakpoints
    ]
    words = [
        Word(
            "stop before",
            "%session break on tool=search",
            "or part=Plan, tokens>8000; together: where all hold",
        )
    ]
    if stopped is not None:
        words = [
            Word("look", "session.current.stopped.context", "what is about to be sent"),
            Word("go on", "%session continue", "or, with other texts, session.current.resume({part: text})"),
            Word("end", "%session stop", "what was said so far is kept"),
        ]
    return Table(
        f"Breakpoints of session {session.id}", facts, (Column("stop at"), Column("", "q")), rows, words
    )


def session_diff(shown: SessionDiff) -> Table:
    """Lay out two sessions beside each other, from the tick on at which they part."""
    parting = shown.divergence
    rows = []
    for pair in shown.pairs if parting is None else shown.pairs[parting.number :]:
        change = (
            templates.signed(pair.diff.tokens) if pair.one is not None and pair.other is not None else "–"
        )
        answers = (shortened(answer(tick), LONGEST) for tick in (pair.one, pair.other))
        rows.append(Row((str(pair.number), pair.what or "alike", change, *answers), here=pair is parting))
    words = []
    if parting is not None and parting.number:
        last = parting.number - 1
        words.append(Word("alike", f"ticks 0–{last}" if last else "tick 0", "as both have them"))
    columns = (
        Column("tick", "n"),
        Column("what differs"),
        Column("tokens", "n"),
        Column(shown.one),
        Column(shown.other),
    )
    return Table(f"{shown.one} and {shown.other}", [shown.verdict], columns, rows, words)


def request(body: Any) -> str:
    """Write a request as JSON; of a longer text, as of a picture, the beginning and how long it is."""
    return visible(json.dumps(_bounded(body), indent=2, ensure_ascii=False))


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:LONGEST_TEXT]}… ({len(value):,} characters in all)"
    if isinstance(value, Mapping):
        return {name: _bounded(item) for name, item in value.items()}
    return [_bounded(item) for item in value] if isinstance(value, (list, tuple)) else value
