"""What stands in rows: a kernel's sessions, a session's ticks, its forks and its components.

Each is laid out once, as values, and written from these as HTML and as plain text.
"""

from __future__ import annotations

import datetime as dt
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nbsession.content import visible
from nbsession.notebook.opened import opened_of
from nbsession.notebook.remote import far_of
from nbsession.notebook.view import templates
from nbsession.notebook.view.bounds import ANSWER_CHARACTERS, bounded
from nbsession.notebook.view.form import since
from nbsession.session import Fact, reported_by
from nbsession.tree import Element

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.notebook.panels.spans import Span
    from nbsession.session import Outline, Session
    from nbsession.stores.base import SessionInfo, SessionStore
    from nbsession.timeline import History, Tick
    from nbsession.tools import Question
    from nbsession.traces import Traces

LONGEST = 60
"""Characters of a message or value that stand in a row."""

MOST_STORED = 12
"""Stored sessions that a list names; of the others it says how many there are."""


class Column(NamedTuple):
    """A column; ``kind`` is ``"n"`` for numbers, ``"q"`` for what matters less, or ``""``."""

    title: str
    kind: str = ""


class Row(NamedTuple):
    """A row; ``here`` says that it is the current one."""

    cells: Sequence[str | Span]
    here: bool = False


class Word(NamedTuple):
    """Something that can be done about what is shown: its name, how it is written, and what it does."""

    name: str
    how: str
    what: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns."""

    title: str
    facts: Sequence[str]
    columns: Sequence[Column]
    rows: Sequence[Row]
    words: Sequence[Word] = ()

    def __str__(self) -> str:
        lines = [["", *(column.title for column in self.columns)]] if self.rows else []
        lines += [["*" if row.here else "", *map(str, row.cells)] for row in self.rows]
        if not any(row.here for row in self.rows):
            lines = [line[1:] for line in lines]
        return _joined(self, [*aligned(lines)])


@dataclass(frozen=True, slots=True)
class Twig:
    """One line of a tree; ``own`` says that it is the author's, and not one of the package's."""

    lead: str
    name: str
    facts: Sequence[Fact]
    key: str = ""
    own: bool = True
    here: bool = False

    def __str__(self) -> str:
        name = f"{self.name}[{self.key}]" if self.key else self.name
        facts = " · ".join(map(str, self.facts))
        return f"{self.lead}{name}{'  ' if facts else ''}{facts}{' ←' if self.here else ''}"


@dataclass(frozen=True, slots=True)
class Tree:
    """Lines below one another."""

    title: str
    facts: Sequence[str]
    branches: Sequence[Twig]
    words: Sequence[Word] = ()

    def __str__(self) -> str:
        return _joined(self, [str(branch) for branch in self.branches])


def bundle(shown: Table | Tree) -> dict[str, str]:
    """Return it as HTML and as plain text."""
    html = templates.macro("tables", "table" if isinstance(shown, Table) else "tree")(shown)
    style = f"{templates.style()}{templates.style('tables')}"
    return {"text/html": f"{style}{html}", "text/plain": bounded(visible(str(shown)), ANSWER_CHARACTERS)}


def ticks(session: Session) -> Table:
    """Lay out a session's model calls, and what can be done about a past one."""
    made = session.ticks
    asked = {entry.id: entry.text for entry in session.timeline.all() if entry.role == "user"}
    present = {entry.id for entry in session.timeline}
    left = [tick.number for tick in made if tick.head_after is not None and tick.head_after not in present]
    days = {_local(tick.started).date() for tick in made if tick.started}
    form = "%H:%M:%S" if len(days) <= 1 else "%Y-%m-%d %H:%M:%S"
    waits = {question.tick for question in session.waiting}
    rows = [
        _tick_row(
            tick,
            asked.get(tick.head_before or "", ""),
            form,
            [word for word, of in (("waits", waits), ("rewound", left)) if tick.number in of],
        )
        for tick in made
    ]
    return Table(
        f"Ticks of session {session.id}",
        [count(len(made), "model call")] if made else ["none yet: nothing was sent"],
        (
            Column("tick", "n"),
            Column("started", "q"),
            Column("message"),
            Column("context", "n"),
            Column("from cache", "n"),
            Column("tools"),
            Column("answered by"),
            Column("cost", "n"),
        ),
        rows,
        _words_of(made[-1].number, left)[: None if opened_of(session) is None else 1] if made else (),
    )


def traces(found: Traces, path: str) -> Table:
    """Lay out the conversations of a file that another tool wrote, and how one of them is opened."""
    rows = [
        Row((trace.id, f"{len(trace.ticks):,}", trace.ticks[-1].model, shortened(trace.ticks[-1].text)))
        for trace in found
    ]
    return Table(
        f"Conversations in {path}",
        [count(len(found), "conversation"), found[0].source],
        (Column("id"), Column("ticks", "n"), Column("answered by"), Column("last answer")),
        rows,
        [Word("open", f"%session open {shlex.join([path, found[0].id])}", "to look at it, tick by tick")],
    )


def _words_of(last: int, left: Sequence[int]) -> list[Word]:
    compared = f" --diff {last - 1}" if last else ""
    words = [
        Word("view", f"%session context {last}{compared}", "what the model was sent; from the record, free"),
        Word(
            "fork", f"%session fork {last}", "go on after it, in a copy; --before: from where it was compiled"
        ),
        Word("replay", "%session model recorded:<path>", "a recorded answer to the very same context, free"),
        Word(
            "re-run",
            f"%session fork {last} --before --as again",
            "then await again.render(): calls the model again, at its price",
        ),
    ]
    if left:
        how = f"%session fork {left[-1]}"
        words.append(Word("rewound", how, "left when its cell was run again; kept, and the way back to it"))
    return words


def _tick_row(tick: Tick, message: str, form: str, marks: Sequence[str]) -> Row:
    calls = ", ".join(call.name for call in tick.tool_calls)
    if tick.error is not None:
        by = f"failed: {type(tick.error).__name__}"
    elif tick.ended is None:
        by = "running"
    else:
        by = tick.source if tick.source == tick.model else " ".join(filter(None, (tick.source, tick.model)))
    cut = tick.interrupted and tick.error is None
    return Row(
        (
            str(tick.number),
            _local(tick.started).strftime(form) if tick.started else "unknown",
            shortened(message),
            f"≈{tick.context.tokens:,}",
            _read(tick),
            calls or "–",
            ", ".join([by or "–", *(["interrupted"] if cut else []), *marks]),
            templates.dollars(tick.cost),
        )
    )


def _read(tick: Tick) -> str:
    """Say what the provider read from its cache, and why not more, where it found something changed."""
    read, diagnosis = reported_by(tick), tick.cache_diagnosis
    if read is None:
        return "unknown"
    return f"{read:,}: {diagnosis.reason}" if diagnosis is not None and diagnosis.tokens else f"{read:,}"


def sessions(
    opened: Sequence[tuple[str, str, Session]], current: str | None, stored: Sequence[SessionInfo] = ()
) -> Table:
    """Lay out the open sessions, by name with what each was opened of, and the stored ones that are not open."""
    places = [remote.url if (remote := far_of(s)) else place_of(s.app.store) for _, _, s in opened]
    rows = [_session_row(name, target, session, here=name == current) for name, target, session in opened]
    open_ones = len(rows)
    rows += [
        Row((info.id, "", "stored", "", info.parent or "–", templates.minute(info.updated), ""))
        for info in stored[:MOST_STORED]
    ]
    left = len(stored) - MOST_STORED
    facts = [count(open_ones, "session") + " open", *([f"{len(stored):,} more stored"] if stored else [])]
    if left > 0:
        facts.append(f"the last {MOST_STORED} of them shown")
    facts += [f"kept in {place}" for place in dict.fromkeys(places)]
    words = []
    if stored:
        words.append(
            Word(
                "open",
                f"%session new COMPONENT --id {stored[0].id}",
                "goes on where it was; of the same component",
            )
        )
    if open_ones:
        words.append(Word("speak to", "%session use NAME", "or %%session NAME, for one message"))
        words.append(Word("forks", "%session history", "the tree of forks that the current one belongs to"))
    return Table(
        "Sessions",
        facts,
        (
            Column("name"),
            Column("of"),
            Column("status", "q"),
            Column("ticks", "n"),
            Column("fork of"),
            Column("last used", "q"),
            Column("model", "q"),
        ),
        rows,
        words,
    )


def _session_row(name: str, target: str, session: Session, *, here: bool) -> Row:
    last = session.ticks[-1] if session.ticks else None
    where = str(session.forked).removeprefix("forked ") if session.forked else ""
    return Row(
        (
            name if name == session.id else f"{name} ({session.id})",
            target or _root_of(session),
            "waits" if session.status == "idle" and session.waiting else session.status,
            f"{len(session.ticks):,}",
            f"{session.parent} {where}".strip() if session.parent else "–",
            templates.minute(last.ended or last.started) if last and last.started else "–",
            _model_of(session),
        ),
        here,
    )


def waiting(found: Sequence[tuple[Session, Question]]) -> Table:
    """Lay out the questions that wait, each with the call that asks it."""
    rows = [
        Row(
            (
                question.id,
                shortened(question.text),
                shortened(str(question.call)),
                templates.minute(since(session, question)),
                session.id,
            )
        )
        for session, question in found
    ]
    named = "ID " if len(found) > 1 else ""
    return Table(
        "Waiting for an answer",
        [count(len(found), "question")],
        (Column("id"), Column("question"), Column("call"), Column("since", "q"), Column("session", "q")),
        rows,
        (
            Word("answer", f"%session answer {named}VALUE", "as JSON or text; what waited goes on at once"),
            Word("by a form", f"%session answer{' ID' if named else ''}", "shows what may be answered"),
        ),
    )


def _root_of(session: Session) -> str:
    root = session.app.root
    return str(root.type.name if isinstance(root, Element) else root.name)


def _model_of(session: Session) -> str:
    if (remote := far_of(session)) is not None:
        return remote.model or "the server's"
    from nbsession.models import default_model

    return str((session.model if session.model is not None else default_model()).name)


def place_of(store: SessionStore | None) -> str:
    """Say where a store keeps sessions: ``"memory"``, or the file or server."""
    location = getattr(store, "location", None)
    if location is None:
        return "memory"
    try:
        return f"~/{Path(location).relative_to(Path.home())}"
    except (ValueError, RuntimeError):  # elsewhere, a server, or there is no home
        return str(location)


def history(shown: History, names: Mapping[str, str] | None = None) -> Tree:
    """Lay out a tree of forks; ``names`` are what this kernel calls some of its sessions, by id."""
    branches = []
    for lead, branch in shown.lines():
        words = shown.facts(branch)
        if names and branch.id in names:
            words.insert(0, f"named {names[branch.id]}")
        if branch.used is not None:
            words.append(templates.minute(branch.used))
        facts = [Fact("text", "", word) for word in words]
        branches.append(Twig(lead, branch.id, facts, here=branch.id == shown.current))
    return Tree(
        f"Forks around session {shown.current}",
        [count(len(branches), "session")],
        branches,
        (
            Word("open", "%session use NAME", "or, of one that is only stored, %session resume ID"),
            Word(
                "fork",
                "%session fork TICK",
                "go on after a tick, in a copy; --before: from where it was compiled",
            ),
        ),
    )


def outline(shown: Outline, title: str) -> Tree:
    """Lay out the mounted components."""
    own = sum(place.own for place in shown.places)
    return Tree(
        title,
        [f"{count(own, 'component')} of yours", f"{len(shown.places) - own:,} of the package"],
        [Twig(lead, place.name, place.facts, key=place.key, own=place.own) for lead, place in shown.lines()],
        (
            Word("state", "session.state", "the kept state, by component and hook (#0 is the first)"),
            Word("knobs", "%session knobs", "as controls, and what a change would do to the context"),
            Word("context", "%session context", "what all of this compiles to"),
        ),
    )


def _local(at: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(at).astimezone()


def shortened(text: str, longest: int = LONGEST) -> str:
    """Write a text on one line of at most ``longest`` characters."""
    line = re.sub(r"\s+", " ", text[: 4 * longest]).strip()
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _joined(shown: Table | Tree, lines: list[str]) -> str:
    heading = " · ".join([shown.title, *shown.facts])
    below = aligned([list(word) for word in shown.words])
    return "\n".join([heading, *lines, *(["", *below] if below else [])])


def aligned(rows: list[list[str]]) -> list[str]:
    """Write rows of cells one below the other."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def count(number: int, one: str) -> str:
    """Write a number of things: ``"1 row"``, ``"1,200 rows"``."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"
