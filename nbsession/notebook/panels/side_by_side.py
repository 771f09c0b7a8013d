"""Two sessions side by side at one step of the inspector: part beside counterpart, and what came of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nbsession.errors import SessionError
from nbsession.notebook.panels.inspection import bar_of
from nbsession.notebook.panels.trial import aftermath
from nbsession.notebook.remote import far_of
from nbsession.notebook.view.cards import row
from nbsession.notebook.view.difference import compare
from nbsession.notebook.view.strip import Strip, strip_of
from nbsession.notebook.view.transcript import Transcript
from nbsession.notebook.view.tree import MARKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nbsession.context import CompiledContext, ContextDiff, Part
    from nbsession.notebook.panels.inspection import Bar
    from nbsession.notebook.view.difference import Line
    from nbsession.session import Session, SessionDiff
    from nbsession.timeline import Tick

MOST_ROWS = 40
"""Parts that differ and are written out; the others are counted."""


class Companion:
    """The session that stands beside the one that is inspected, and how far it is ahead of it.

    While it is ``locked`` a step moves both, by as many ticks; else it stays where it is.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.locked = True
        self.ahead = 0
        self._at = 0
        self._compared: tuple[tuple[int, int], SessionDiff] | None = None
        self._shown: tuple[object, SideBySide] | None = None

    def at(self, number: int) -> int:
        """Return the number of its tick where the other session is at one; there may be none of that number."""
        return number + self.ahead if self.locked else self._at

    def lock(self, number: int, locked: bool) -> None:
        """Move it along from now on, from where both stand; or let it stand still."""
        at = self.at(number)
        self.locked, self.ahead, self._at = locked, at - number, at

    def go(self, number: int, to: int) -> None:
        """Stand at another tick than the one beside which it stands."""
        self._at, self.ahead = to, to - number

    def to_parting(self, one: Session, number: int) -> int:
        """Go to where the two part, in step from there on; return the other one's tick, ``number`` where they do not."""
        found = self.compared(one).divergence
        if found is None:
            return number
        self.locked, self.ahead = True, 0
        return found.number

    def beside(self, one: Session, number: int) -> SideBySide:
        """Lay both out where the other session is at a tick; what was laid out last is remembered."""
        step = number, self.at(number), _ended(one), _ended(self.session)
        if self._shown is None or self._shown[0] != step:
            self._shown = step, side_by_side(one, number, self)
        return self._shown[1]

    @property
    def bars(self) -> list[Bar]:
        """Its ticks that have ended."""
        return [bar_of(tick) for tick in self.session.ticks if tick.ended is not None]

    def compared(self, one: Session) -> SessionDiff:
        """Say where the two part."""
        ticks = _ended(one), _ended(self.session)
        if self._compared is None or self._compared[0] != ticks:
            self._compared = ticks, one.compare(self.session)
        return self._compared[1]


def others(session: Session, named: Iterable[tuple[str, Session]]) -> Mapping[str, str]:
    """Return what may be set beside a session: those of its family, and those that the user named; names by id."""
    family = {branch.id: branch.id for branch in session.history().branches}
    found = family | {other.id: name for name, other in named}
    return {id_: name for id_, name in found.items() if id_ != session.id}


def companion_of(session: Session, named: Iterable[tuple[str, Session]], id_: str) -> Companion:
    """Open the session of that id to stand beside another one; ``SessionError`` where none is known."""
    if id_ not in others(session, named):
        raise SessionError(f"there is no session {id_!r} to be set beside {session.id!r}")
    opened = {other.id: other for _, other in named}
    chosen = opened.get(id_) or session.app.session(id_)
    remote = far_of(chosen)
    if remote is not None and not remote.is_whole:
        raise SessionError(
            f"what session {id_!r} was sent is at {remote.url}; %session compare with it in a cell reads that"
        )
    return Companion(chosen)


class Side(NamedTuple):
    """One of the two at its tick; ``tick`` is ``None`` where it has none of that number."""

    session: str
    number: int
    tick: Tick | None
    strip: Strip
    run: Transcript
    failure: str = ""

    @property
    def tokens(self) -> int:
        """The estimated tokens of what was sent."""
        return self.tick.context.tokens if self.tick is not None else 0


class Counterparts(NamedTuple):
    """A part and its counterpart, which is another; one of the two may be missing.

    ``one`` and ``other`` are their lines, as far as they differ; ``delta`` is the signed change of the tokens.
    """

    key: str
    title: str
    path: str
    mark: str
    change: str
    delta: int
    one: Sequence[Line]
    other: Sequence[Line]


class SideBySide(NamedTuple):
    """Two sessions at a step: ``rows`` differ, in the order of the request; ``alike`` parts of both do not.

    ``verdict`` says where the two sessions part, ``parting`` at which tick, ``None`` where they do not.
    """

    one: Side
    other: Side
    rows: Sequence[Counterparts]
    more: int
    alike: int
    alike_tokens: int
    delta: int
    settings: Sequence[tuple[str, str, str]]
    verdict: str
    parting: int | None

    @property
    def words(self) -> str:
        """The same in a line."""
        here = f"tick {self.one.number} of {self.one.session} beside tick {self.other.number} of {self.other.session}"
        return f"{here}; {self.verdict}"


def side_by_side(session: Session, number: int, companion: Companion) -> SideBySide:
    """Lay out two sessions where the first one is at a tick."""
    one = _side(session, number, "a")
    other = _side(companion.session, companion.at(number), "b")
    compared = companion.compared(session)
    parting = compared.divergence.number if compared.divergence is not None else None
    if one.tick is None or other.tick is None:
        return SideBySide(one, other, (), 0, 0, 0, 0, (), compared.verdict, parting)
    before, after = one.tick.context, other.tick.context
    diff = after.diff(before)
    pairs = _matched(before, after, diff)
    rows = [_counterpart(f"s{place}", *pair) for place, pair in enumerate(pairs[:MOST_ROWS])]
    differing = {part.identity for part in (*diff.added, *(change.new for change in diff.changed))}
    alike = [part for part in after.parts if part.identity not in differing]
    return SideBySide(
        one,
        other,
        rows,
        len(pairs[MOST_ROWS:]),
        len(alike),
        sum(part.tokens for part in alike),
        diff.tokens,
        [(name, repr(old), repr(new)) for name, (old, new) in diff.settings.items()],
        compared.verdict,
        parting,
    )


def _ended(session: Session) -> int:
    """Count the ticks that are over."""
    ticks = session.ticks
    return len(ticks) - bool(ticks and ticks[-1].ended is None)


def _side(session: Session, number: int, key: str) -> Side:
    ticks = session.ticks
    if not 0 <= number < len(ticks) or ticks[number].ended is None:
        return Side(session.id, number, None, Strip(()), Transcript())
    tick = ticks[number]
    strip = strip_of(tick.context, None).with_answer(tick.usage.output_tokens)
    failure = f"{type(tick.error).__name__}: {tick.error}" if tick.error is not None else ""
    return Side(session.id, number, tick, strip, aftermath([tick], f"{key}{number}"), failure)


def _matched(
    one: CompiledContext, other: CompiledContext, diff: ContextDiff
) -> list[tuple[Part | None, Part | None]]:
    """Match what differs: by path and key as the comparison does, and messages by who said them, in order."""
    pairs: list[tuple[Part | None, Part | None]] = [(old, new) for old, new in diff.changed]
    added = {part.identity: part for part in diff.added}
    said: dict[object, list[Part]] = {}
    for part in reversed(diff.added):
        said.setdefault(_speaker(part), []).append(part)
    for gone in diff.removed:
        waiting = said.get(_speaker(gone)) if gone.kind == "message" else None
        new = waiting.pop() if waiting else None
        if new is not None:
            added.pop(new.identity, None)
        pairs.append((gone, new))
    pairs += [(None, part) for part in added.values()]
    pairs += [(part, part) for part in diff.moved]
    before, after = _places(one), _places(other)

    def place(pair: tuple[Part | None, Part | None]) -> int:
        old, new = pair
        return after[new.identity] if new is not None else before[old.identity] if old is not None else 0

    return sorted(pairs, key=place)


def _counterpart(key: str, old: Part | None, new: Part | None) -> Counterparts:
    if old is new:
        change = "moved"
    else:
        change = "added" if old is None else "removed" if new is None else "changed"
    there = new if new is not None else old
    assert there is not None  # a pair has one of the two
    lines = compare(_text(old), _text(new)) if change != "moved" else ()
    shown = row(there, key=key)
    return Counterparts(
        key,
        shown.title,
        "" if there.kind == "message" else shown.path,
        MARKS[change],
        change,
        (new.tokens if new is not None else 0) - (old.tokens if old is not None else 0),
        [line for line in lines if line.sign != "+"] if old is not None else (),
        [line for line in lines if line.sign != "−"] if new is not None else (),
    )


def _text(part: Part | None) -> str:
    return part.readable if part is not None else ""


def _speaker(part: Part) -> tuple[str, str, str | None]:
    return part.kind, part.path, part.role


def _places(context: CompiledContext) -> dict[object, int]:
    return {part.identity: place for place, part in enumerate(context.parts)}
