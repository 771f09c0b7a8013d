"""What each ``%session`` command does. Returns what is to be shown, and shows nothing itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbsession.errors import SessionError
from nbsession.notebook import answering, arguments, serving
from nbsession.notebook.opened import Opened, opened_of
from nbsession.notebook.panels import findings, tables
from nbsession.notebook.panels.tables import Table, Tree
from nbsession.notebook.remote import OWN_TREE, Remote, at_hand, far_of
from nbsession.notebook.sweep.request import read as read_values
from nbsession.session import CALLS, REPEAT
from nbsession.session.freeze import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbsession.context import CompiledContext
    from nbsession.notebook.arguments import Line
    from nbsession.notebook.sessions import Sessions
    from nbsession.session import Session
    from nbsession.traces import Trace


@dataclass(frozen=True, slots=True)
class ShowKnobs:
    """The session's knobs, to be shown as controls."""

    session: Session


@dataclass(frozen=True, slots=True)
class ShowInspector:
    """A session, to be shown tick by tick."""

    session: Session


@dataclass(frozen=True, slots=True)
class ShowContext:
    """A compiled context, to be shown beside an older one if there is one; ``title`` says whose it is."""

    context: CompiledContext
    older: CompiledContext | None = None
    title: str = "Compiled context"


LOOKING = frozenset({"knobs", "context", "ticks", "waiting"})
"""Commands that show what is there by now, also where another client did something."""

Shown = str | ShowKnobs | ShowInspector | ShowContext | Table | Tree | Frozen


class Commands:
    """The commands, on the sessions of one kernel."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self._by_name: Mapping[str, Callable[[Line], Shown]] = {
            "new": self._new,
            "connect": self._connect,
            "open": self._open,
            "use": self._use,
            "list": self._list,
            "knobs": self._knobs,
            "context": self._context,
            "inspect": self._inspect,
            "ticks": self._ticks,
            "history": self._history,
            "predict": self._predict,
            "check": self._check,
            "bisect": self._bisect,
            "explain": self._explain,
            "compare": self._compare,
            "break": self._break,
            "continue": self._continue,
            "waiting": self._waiting,
            "tree": self._tree,
            "model": self._model,
            "fork": self._fork,
            "resume": self._resume,
            "reset": self._reset,
            "export": self._export,
            "serve": self._serve,
            "stop": self._stop,
            "help": self._help,
        }

    def perform(self, line: Line) -> Shown:
        """Carry out a command that was read. Text stands for itself; the rest is for a panel."""
        name = line.command.name
        if self.sessions.current_name is not None and name in OWN_TREE | LOOKING:
            current = self.sessions.current
            if name in OWN_TREE:
                at_hand(current, name)
            elif (remote := far_of(current)) is not None:
                remote.update()
        return self._by_name[line.command.name](line)

    def _new(self, line: Line) -> Shown:
        component = line.words[0]
        session = self.sessions.new(
            component, id=line.get("id"), model=line.get("model"), name=line.get("name")
        )
        entries = len(session.timeline)
        state = f"goes on after {_count(entries, 'entry', 'entries')}" if entries else "begins"
        return f"{self._title(session)} of {component} {state}; {_model_of(session)}"

    def _connect(self, line: Line) -> Shown:
        remote, made = self.sessions.connect(
            line.words[0], token=line.get("token"), id=line.get("id"), name=line.get("name")
        )
        return f"{remote} {'begins' if made else 'goes on after ' + _count(len(remote.ticks), 'tick')}"

    def _open(self, line: Line) -> Shown:
        traces = self.sessions.load(line.words[0])
        which = line.word(1)
        if which is None and len(traces) > 1:
            return tables.traces(traces, line.words[0])
        trace = traces[0 if which is None else which]
        self.sessions.open(trace, line.get("name"))
        notes = [f"- {note}" for note in trace.notes]
        return "\n".join([f"{_opened(trace)}; %session inspect shows it tick by tick", *notes])

    def _use(self, line: Line) -> Shown:
        session = self.sessions.use(line.words[0])
        if (opened := opened_of(session)) is not None:
            return _opened(opened.trace)
        if (remote := far_of(session)) is not None:
            return f"{remote}: {_count(len(remote.ticks), 'tick')}"
        return f"{self._title(session)}: {_count(len(session.timeline), 'entry', 'entries')}; {_model_of(session)}"

    def _list(self, line: Line) -> Shown:
        opened = [(name, self.sessions.target_of(name), session) for name, session in self.sessions]
        ids = {session.id for _, _, session in opened}
        stored = [info for info in self.sessions.stored() if info.id not in ids]
        if not opened and not stored:
            return "no sessions yet: %session new COMPONENT"
        return tables.sessions(opened, self.sessions.current_name, stored)

    def _knobs(self, line: Line) -> Shown:
        session = self.sessions.current
        if not session.knobs.specs():
            return (
                f"{self._title(session)} has no knobs; a component declares one with use_knob(name, default)"
            )
        if line.get("freeze"):
            return session.freeze(read_values(line.words, session.knobs.specs()))
        if line.words:
            name, _, value = line.words[0].partition("=")
            raise SessionError(
                f"%session knobs shows them; set one by its control, or in Python: session.knobs[{name!r}] = {value or '…'!r}"
                f"; what they would change, without a kernel: %session knobs --freeze {' '.join(line.words)}"
            )
        return ShowKnobs(session)

    def _context(self, line: Line) -> Shown:
        session = self.sessions.current
        if (kept := far_of(session) or opened_of(session)) is not None:
            return _context_of(kept, line)
        older = _tick(session, line.options["diff"]) if "diff" in line.options else None
        at, without = line.word(0), line.get("without")
        if without is not None:
            if at is not None:
                raise SessionError(
                    f"%session context --without looks at what would be sent now, not at tick {at}; "
                    f"%session fork {at} --before --without {without} stands there"
                )
            return ShowContext(
                session.without(without), session.compile(), f"What would be sent without {without}"
            )
        tick = None if at is None else _tick(session, _number("context", at))
        if "json" in line.options:
            named = line.options["json"]
            return findings.request(
                session.request(tick, model=None if named is True else self.sessions.model(named))
            )
        if tick is None:
            context, title = session.compile(), "What would be sent now"
        else:
            context, title = tick.context, f"What was sent at tick {tick.number}"
        forecast = session.forecast(tick)
        if line.get("cache"):
            return findings.forecast(forecast, title)
        if older is not None:
            title += f", compared with tick {older.number}"
        elif forecast.kept is not None:
            title += f"; {forecast}"
        return ShowContext(context, older.context if older is not None else None, title)

    def _inspect(self, line: Line) -> Shown:
        return ShowInspector(_whole(self.sessions.current))

    def _ticks(self, line: Line) -> Shown:
        session = self.sessions.current
        return tables.ticks(session) if session.ticks else "no ticks yet: nothing was sent"

    def _history(self, line: Line) -> Shown:
        names = {session.id: name for name, session in self.sessions if name != session.id}
        return tables.history(self.sessions.current.history(), names)

    def _model(self, line: Line) -> Shown:
        session = self.sessions.current
        chosen = line.word(0)
        if chosen is not None:
            # A server knows its models by name.
            session.model = chosen if far_of(session) is not None else self.sessions.model(chosen)
        return f"{self._title(session)}: {_model_of(session)}"

    def _fork(self, line: Line) -> Shown:
        at, before = line.word(0), bool(line.get("before"))
        if before and at is None:
            raise SessionError("%session fork --before needs a tick: %session fork TICK --before")
        tick = _tick(self.sessions.current, _number("fork", at)).number if at is not None else None
        _, said = self.sessions.fork(
            None,
            tick,
            before=before,
            id=line.get("id"),
            name=line.get("name"),
            without=line.get("without", ""),
        )
        return said

    def _resume(self, line: Line) -> Shown:
        session = self.sessions.resume(line.words[0])
        return f"{self._title(session)}: {_count(len(session.timeline), 'entry', 'entries')}; {_model_of(session)}"

    def _reset(self, line: Line) -> Shown:
        session = self.sessions.current
        entries = len(session.timeline)
        session.rewind(None)
        return f"{self._title(session)} stands before its first message; its {_count(entries, 'entry', 'entries')} are kept"

    def _export(self, line: Line) -> Shown:
        session = self.sessions.current
        session.export(line.words[0], force=bool(line.get("force")))
        return f"{self._title(session)} is written to {line.words[0]}"

    def _serve(self, line: Line) -> Shown:
        if line.get("stop"):
            return serving.end(self.sessions)
        return serving.serve(self.sessions, line.get("port", 2323), token=not line.get("no-token"))

    def _stop(self, line: Line) -> Shown:
        running = [session for _, session in self.sessions if session.status == "running"]
        sweeps = [sweep for _, session in self.sessions for sweep in session.sweeps if not sweep.done]
        for session in running:
            session.stop()
        for sweep in sweeps:
            sweep.abort()
        current = self.sessions.current if self.sessions.current_name is not None else None
        remote = far_of(current)
        if remote is not None and current not in running and remote.update().status == "running":
            remote.stop()  # what another client began
            running.append(self.sessions.current)
        if not running and not sweeps:
            return "nothing runs"
        names = [repr(session.id) for session in running]
        return "stopped " + ", ".join([*names, *(f"a sweep of {sweep.session.id!r}" for sweep in sweeps)])

    def _help(self, line: Line) -> Shown:
        word = line.word(0)
        if word is None:
            return arguments.describe()
        return arguments.describe(arguments.find_command(word))

    def _tree(self, line: Line) -> Shown:
        session = self.sessions.current
        return tables.outline(session.outline(), f"Components of session {session.id}")

    def _predict(self, line: Line) -> Shown:
        session = self.sessions.current
        prediction = self.sessions.predictions[session] = session.predict(**guesses(line.words))
        return f"{self._title(session)}: noted {prediction}; the next message shows how it holds"

    def _check(self, line: Line) -> Shown:
        session = self.sessions.current
        return findings.check(session.check(), f"Check of session {session.id}")

    def _bisect(self, line: Line) -> Shown:
        session = self.sessions.current
        predicate = expression(" ".join(line.words), self.sessions.namespace)
        calls = line.get("calls", CALLS if "max-cost" in line.options else 0)
        bisection = session.bisect(predicate, calls=calls, budget=line.get("max-cost"))
        return findings.bisection(bisection.run() if calls else bisection)

    def _explain(self, line: Line) -> Shown:
        session = self.sessions.current
        tick = _tick(session, _number("explain", line.words[0]))
        score = line.get("score")
        explanation = session.explain(
            tick,
            repeat=line.get("repeat", REPEAT),
            score=None if score is None else expression(score, self.sessions.namespace),
            budget=line.get("max-cost"),
        )
        asked = "repeat" in line.options or "max-cost" in line.options
        return findings.explanation(explanation.run() if asked else explanation)

    def _compare(self, line: Line) -> Shown:
        one, other = self.sessions.current, self.sessions.get(line.words[0])
        return findings.session_diff(_whole(one).compare(_whole(other)))

    def _break(self, line: Line) -> Shown:
        session = self.sessions.current
        if line.get("clear"):
            session.breakpoints.clear()
        if line.words:
            session.breakpoints.add(**conditions(line.words))
        return findings.breakpoints(session)

    def _continue(self, line: Line) -> Shown:
        session = self.sessions.current
        current = session.current
        if current is None or current.stopped is None:
            raise SessionError(
                f"session {session.id!r} does not stand at a breakpoint; %session break sets one"
            )
        said = str(current.stopped)
        current.resume()
        return f"{self._title(session)} goes on; it {said.replace('stopped', 'stood', 1)}"

    def _waiting(self, line: Line) -> Shown:
        found = answering.waiting(self.sessions)
        if not found:
            return "nothing waits for an answer"
        return tables.waiting(found)

    def _title(self, session: Session) -> str:
        names = [name for name, known in self.sessions if known is session and name != session.id]
        return f"session {session.id!r}" + (f" ({', '.join(names)})" if names else "")


def conditions(words: Sequence[str]) -> dict[str, Any]:
    """Read what a breakpoint stops at: ``on tool=search part=Plan tokens>8000``."""
    read: dict[str, Any] = {}
    for word in words[1:] if words[0] == "on" else words:
        found = re.fullmatch(r"(tool|part)=(.+)|(tokens)>(\d+)", word)
        if found is None:
            raise SessionError(
                f"a breakpoint is on tool=NAME, part=NAME or tokens>N, got {word!r}: %session break on tool=search"
            )
        name, pattern, tokens, number = found.groups()
        read[name or tokens] = pattern or int(number)
    return read


def guesses(words: Sequence[str]) -> dict[str, Any]:
    """Read what is predicted: ``tool=search,read enters=Plan tokens=400``."""
    read: dict[str, Any] = {}
    for word in words:
        kind, given, value = word.partition("=")
        if not given or not value:
            raise SessionError(
                f"a guess is written kind=value, got {word!r}: %session predict tool=search tokens=400"
            )
        if kind in ("tokens", "calls"):
            number = value.lstrip("≈").replace(",", "").replace("_", "")
            read[kind] = int(number) if number.isdecimal() else value
        else:
            read[kind] = [name.strip() for name in value.split(",")]
    return read


def expression(source: str, namespace: Mapping[str, Any]) -> Callable[[Any], object]:
    """Return a Python expression over ``tick`` as a function of it."""
    try:
        code = compile(source, "<expression>", "eval")
    except (SyntaxError, ValueError) as error:
        why = getattr(error, "msg", None) or error
        raise SessionError(
            f"{source!r} is no Python expression: {why}; write one over tick, such as 'sorry' in tick.text"
        ) from None
    return lambda tick: eval(code, {**namespace, "tick": tick})  # noqa: S307  # the line's own author wrote it


def _opened(trace: Trace) -> str:
    return f"{trace.id!r} ({_count(len(trace.ticks), 'tick')}) is a {trace.source}, to be looked at"


def _context_of(kept: Remote | Opened, line: Line) -> Shown:
    """Show a context of a session at a server, or of a trace."""
    if asked := [f"--{name}" for name in ("without", "json", "cache") if name in line.options]:
        raise SessionError(f"{asked[0]} works on the session's own tree, {kept.beyond}")
    at = line.word(0)
    older = kept.tick(_tick(kept, line.options["diff"]).number) if "diff" in line.options else None
    if at is None:
        context, title = kept.compile(), "What would be sent now"
    else:
        tick = kept.tick(_tick(kept, _number("context", at)).number)
        context, title = tick.context, f"What was sent at tick {tick.number}"
    title += f", compared with tick {older.number}" if older is not None else ""
    return ShowContext(context, older.context if older is not None else None, title)


def _whole(session: Session) -> Session:
    """Return a session of a server once all that was sent is here; any other as it is."""
    if (remote := far_of(session)) is not None:
        remote.fetch()
    return session


def _model_of(session: Session) -> str:
    if (remote := far_of(session)) is not None:
        return (
            f"model {remote.model}, as the server at {remote.url} knows it"
            if remote.model
            else "the server's model"
        )
    from nbsession.models import default_model

    model = session.model if session.model is not None else default_model()
    said = str(model.source)
    if said == "simulated":
        said = "rules, no language model" if model.name == said else "no language model"
    return f"model {model.name} ({said})"


def _tick(session: Session | Remote | Opened, number: int) -> Any:
    ticks = session.ticks
    if not 0 <= number < len(ticks):
        there = f"it has ticks 0 to {len(ticks) - 1}" if ticks else "it has none yet"
        raise SessionError(f"session {session.id!r} has no tick {number}; {there}")
    return ticks[number]


def _number(command: str, word: str) -> int:
    if not word.isdecimal():
        raise SessionError(f"%session {command} takes a tick's number, got {word!r}")
    return int(word)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
