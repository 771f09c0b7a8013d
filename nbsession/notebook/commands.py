"""What each ``%session`` command does. Returns what is to be shown, and shows nothing itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbsession.errors import SessionError
from nbsession.notebook import arguments

if TYPE_CHECKING:
    from nbsession.context import CompiledContext
    from nbsession.notebook.arguments import Line
    from nbsession.notebook.sessions import Sessions
    from nbsession.session import Session


@dataclass(frozen=True, slots=True)
class ShowKnobs:
    """The session's knobs, to be shown as controls."""

    session: Session


@dataclass(frozen=True, slots=True)
class ShowContext:
    """A compiled context, to be shown beside an older one if there is one."""

    context: CompiledContext
    older: CompiledContext | None = None


Shown = str | ShowKnobs | ShowContext


class Commands:
    """The commands, on the sessions of one kernel."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self._by_name: Mapping[str, Callable[[Line], Shown]] = {
            "new": self._new,
            "use": self._use,
            "list": self._list,
            "knobs": self._knobs,
            "context": self._context,
            "ticks": self._ticks,
            "tree": self._tree,
            "model": self._model,
            "fork": self._fork,
            "resume": self._resume,
            "reset": self._reset,
            "stop": self._stop,
            "help": self._help,
        }

    def perform(self, line: Line) -> Shown:
        """Carry out a command that was read. Text stands for itself; the rest is for a panel."""
        return self._by_name[line.command.name](line)

    def _new(self, line: Line) -> Shown:
        component = line.words[0]
        session = self.sessions.new(
            component, id=line.get("id"), model=line.get("model"), name=line.get("name")
        )
        entries = len(session.timeline)
        state = f"goes on after {_count(entries, 'entry', 'entries')}" if entries else "begins"
        return f"{self._title(session)} of {component} {state}; {_model_of(session)}"

    def _use(self, line: Line) -> Shown:
        session = self.sessions.use(line.words[0])
        return f"{self._title(session)}: {_count(len(session.timeline), 'entry', 'entries')}; {_model_of(session)}"

    def _list(self, line: Line) -> Shown:
        rows: list[tuple[str, ...]] = [
            (
                "*" if name == self.sessions.current_name else " ",
                name,
                self.sessions.target_of(name),
                session.status,
                _count(len(session.ticks), "tick"),
                _model_of(session),
            )
            for name, session in self.sessions
        ]
        return _table(rows) if rows else "no sessions yet: %session new COMPONENT"

    def _knobs(self, line: Line) -> Shown:
        session = self.sessions.current
        if not session.knobs.specs():
            return (
                f"{self._title(session)} has no knobs; a component declares one with use_knob(name, default)"
            )
        return ShowKnobs(session)

    def _context(self, line: Line) -> Shown:
        session = self.sessions.current
        older = _tick(session, line.options["diff"]).context if "diff" in line.options else None
        return ShowContext(session.compile(), older)

    def _ticks(self, line: Line) -> Shown:
        ticks = self.sessions.current.ticks
        if not ticks:
            return "no ticks yet: nothing was sent"
        return _table([("tick", "started", "context", "tools", "cost"), *map(_tick_row, ticks)])

    def _model(self, line: Line) -> Shown:
        session = self.sessions.current
        chosen = line.word(0)
        if chosen is not None:
            session.model = self.sessions.model(chosen)
        return f"{self._title(session)}: {_model_of(session)}"

    def _fork(self, line: Line) -> Shown:
        session, at = self.sessions.current, line.word(0)
        if at is not None and not at.isdecimal():
            raise SessionError(f"%session fork takes a tick's number, got {at!r}; name the fork with --name")
        fork = session.fork(int(at) if at is not None else None)
        name = line.get("name") or fork.id
        self.sessions.add(fork, name, self.sessions.target_of(self.sessions.current_name or ""))
        self.sessions.use(name)
        where = f"after tick {at}" if at is not None else "at the head"
        return f"{self._title(fork)} is a copy of {session.id!r} {where}"

    def _resume(self, line: Line) -> Shown:
        session = self.sessions.resume(line.words[0])
        return f"{self._title(session)}: {_count(len(session.timeline), 'entry', 'entries')}; {_model_of(session)}"

    def _reset(self, line: Line) -> Shown:
        session = self.sessions.current
        entries = len(session.timeline)
        session.rewind(None)
        return f"{self._title(session)} stands before its first message; its {_count(entries, 'entry', 'entries')} are kept"

    def _stop(self, line: Line) -> Shown:
        running = [session for _, session in self.sessions if session.status == "running"]
        for session in running:
            session.stop()
        if not running:
            return "nothing runs"
        return "stopped " + ", ".join(repr(session.id) for session in running)

    def _help(self, line: Line) -> Shown:
        word = line.word(0)
        if word is None:
            return arguments.describe()
        return arguments.describe(arguments.find_command(word))

    def _tree(self, line: Line) -> Shown:
        return self.sessions.current.outline()

    def _title(self, session: Session) -> str:
        names = [name for name, known in self.sessions if known is session and name != session.id]
        return f"session {session.id!r}" + (f" ({', '.join(names)})" if names else "")


def _model_of(session: Session) -> str:
    from nbsession.models import default_model

    model = session.model if session.model is not None else default_model()
    said = str(model.source)
    if said == "simulated":
        said = "rules, no language model" if model.name == said else "no language model"
    return f"model {model.name} ({said})"


def _tick(session: Session, number: int) -> Any:
    ticks = session.ticks
    if not 0 <= number < len(ticks):
        there = f"it has ticks 0 to {len(ticks) - 1}" if ticks else "it has none yet"
        raise SessionError(f"session {session.id!r} has no tick {number}; {there}")
    return ticks[number]


def _tick_row(tick: Any) -> tuple[str, ...]:
    started = dt.datetime.fromtimestamp(tick.started).astimezone().strftime("%H:%M:%S")
    calls = ", ".join(call.name for call in tick.tool_calls) or "–"
    cost = f"${tick.cost:.4f}" if tick.cost is not None else "–"
    return str(tick.number), started, f"≈{tick.context.tokens:,}", calls, cost


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    )
