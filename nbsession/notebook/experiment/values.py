"""What else an experiment gives, laid out in rows: one arm, one trial, what a judge prefers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.notebook.panels.tables import Column, Row, Table, Word, count, shortened
from nbsession.notebook.view import templates
from nbsession.statistics import figure

if TYPE_CHECKING:
    from nbsession.experiment import ArmReport, Trial
    from nbsession.experiment.pairs import Preferences

MOST_ROWS = 50
"""Lost trials and pairs that are shown."""
LONGEST = 200
"""Characters of an answer that stand in a row."""
LONGEST_ANSWER = 4_000
"""Characters of the answer of a trial that is shown by itself."""


def arm(shown: ArmReport) -> Table:
    """Lay out how an arm did, and the trials that it lost."""
    facts = [f"{name} {shown.interval_of(name)}" for name in shown.scores]
    facts += [f"{shown.tokens:,} tokens", templates.dollars(shown.cost)]
    for status in ("failed", "refused", "unsent"):
        number = sum(trial.status == status for trial in shown.trials)
        facts += [f"{number:,} {status}"] if number else []
    lost = shown.lost() if shown.scores else []
    facts += [f"{count(len(lost), 'trial')} lost{_shown(len(lost))}"] if lost else []
    columns = (
        Column("trial", "n"),
        Column("case"),
        *_columns(shown.scores),
        Column("expected"),
        Column("answer"),
    )
    rows = [
        Row(
            (
                str(trial.number),
                trial.case.name,
                *_scores(trial, shown.scores),
                _expected(trial),
                _answer(trial),
            )
        )
        for trial in lost[:MOST_ROWS]
    ]
    return Table(f"Arm {shown.name}", facts, columns, rows)


def trial(shown: Trial) -> Table:
    """Lay out what is known of a trial."""
    answered = shown.status == "done"
    answer = shown.text if answered else ""
    facts = [
        ("case", f"{shown.case.name}: {shown.case}"),
        ("expected", _expected(shown)),
        ("arm", ", ".join([shown.arm.name, *([f"again {shown.repeat}"] if shown.repeat else [])])),
        ("knobs", ", ".join(f"{name} = {value!r}" for name, value in shown.arm.knobs.items())),
        ("store", "it was there, and was not asked again" if shown.reused else ""),
        *(
            (name, figure(value) if isinstance(value, float) else str(value))
            for name, value in shown.scores.items()
        ),
        *((f"{name}: why", said["reason"]) for name, said in shown.notes.items() if "reason" in said),
        (
            "answer",
            answer
            if len(answer) <= LONGEST_ANSWER
            else f"{answer[:LONGEST_ANSWER]}… ({len(answer):,} characters)",
        ),
        ("error", shown.error),
        (
            "took",
            f"{shown.tokens:,} tokens, {templates.dollars(shown.cost)}, {templates.seconds(shown.seconds)}"
            if answered
            else "",
        ),
        ("session", shown.session_id),
    ]
    columns = (Column("", "q"), Column(""))
    return Table(f"Trial {shown.number}", [shown.status], columns, [Row(fact) for fact in facts if fact[1]])


def preferences(shown: Preferences) -> Table:
    """Lay out which of two answers a judge prefers, pair by pair."""
    first = shown.pairs[0]
    a, b = first.a.arm.name, first.b.arm.name
    rows = [
        Row(
            (
                pair.case.name,
                a if pair.score > 0.5 else b if pair.score < 0.5 else "neither",
                "the order decided" if pair.notes.get("swayed") else "",
                _answer(pair.a),
                _answer(pair.b),
            )
        )
        for pair in shown.pairs[:MOST_ROWS]
    ]
    columns = (Column("case"), Column("preferred"), Column("", "q"), Column(a), Column(b))
    words = [Word(f"{a} against {b}", str(shown.comparison.verdict), "")]
    return Table(
        "Preferences", [f"{count(len(shown.pairs), 'pair')}{_shown(len(shown.pairs))}"], columns, rows, words
    )


def _columns(scores: list[str]) -> list[Column]:
    return [Column(name, "n") for name in scores]


def _scores(trial: Trial, scores: list[str]) -> list[str]:
    values = [trial.number_of(name) for name in scores]
    return ["–" if value is None else figure(value) for value in values]


def _expected(trial: Trial) -> str:
    return "" if trial.case.expected is None else shortened(str(trial.case.expected), LONGEST)


def _answer(trial: Trial) -> str:
    return shortened(trial.text, LONGEST)


def _shown(number: int) -> str:
    return f", the first {MOST_ROWS} shown" if number > MOST_ROWS else ""
