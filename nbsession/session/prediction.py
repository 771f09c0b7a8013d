"""A prediction: what somebody expects of the next message, compared with what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.errors import SessionError, did_you_mean
from nbsession.session.breakpoints import is_called

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from nbsession.context import CompiledContext, ContextDiff, Part
    from nbsession.timeline import Tick

NONE = "none"
"""The word for no tool, and for no part."""

WITHIN = 0.1
"""How far off a number of tokens may be, as a share of what it was."""

_ASKED = {
    "tool": "tools called",
    "enters": "enters the context",
    "leaves": "leaves the context",
    "changes": "changes in the context",
    "tokens": "tokens of the last context",
    "calls": "model calls",
}


class Mark(NamedTuple):
    """One guess, beside what ``came``; ``asked`` says in words what was guessed."""

    asked: str
    guess: str
    came: str
    right: bool

    def __str__(self) -> str:
        return f"{'✓' if self.right else '✗'} {self.asked}: {self.guess}" + (
            "" if self.right else f"; it was {self.came}"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Grade:
    """How a prediction did: a mark for each guess, and ``diff``, how the context changed. True where all are right."""

    marks: tuple[Mark, ...]
    diff: ContextDiff | None

    @property
    def points(self) -> int:
        """How many guesses were right."""
        return sum(mark.right for mark in self.marks)

    def __bool__(self) -> bool:
        return self.points == len(self.marks)

    def __str__(self) -> str:
        return "\n".join([f"{self.points} of {len(self.marks)} right", *map(str, self.marks)])

    __repr__ = __str__


class Prediction:
    """What is expected of the next message; made by ``session.predict``.

    ``guesses`` are what was given. ``done`` says that something came meanwhile, ``grade()`` how it did.
    """

    def __init__(
        self,
        guesses: Mapping[str, Any],
        within: float,
        ticks: Callable[[], Sequence[Tick]],
        path: Callable[[str | None], Collection[str]],
    ) -> None:
        _check(guesses, within)
        self.guesses = dict(guesses)
        self.within = within
        self._ticks = ticks
        self._path = path
        self._after = len(ticks())

    @property
    def done(self) -> bool:
        """Whether a model was called since."""
        return len(self._ticks()) > self._after

    def grade(self) -> Grade:
        """Compare the guesses with what the next execution did; ``SessionError`` where nothing was sent since."""
        ticks = self._ticks()
        earlier, new = ticks[: self._after], ticks[self._after :]
        if not new:
            raise SessionError(f"nothing was sent since {self}; send the message, and ask then")
        made = [tick for tick in new if tick.execution == new[0].execution]
        context = made[-1].context
        # Not the last tick as such: the message may have been sent from before it, by a rewind or a cell that ran again.
        behind = self._path(made[0].head_before)
        before = next((tick.context for tick in reversed(earlier) if tick.head_after in behind), None)
        diff = None if before is None else context.diff(before)
        marks = [self._mark(kind, guess, made, context, diff) for kind, guess in self.guesses.items()]
        return Grade(tuple(marks), diff)

    def __str__(self) -> str:
        said = (f"{kind}={_listed(guess)}" for kind, guess in self.guesses.items())
        return f"the prediction {' '.join(said)}"

    def __repr__(self) -> str:
        return f"<Prediction {' '.join(f'{kind}={guess!r}' for kind, guess in self.guesses.items())}>"

    def _mark(
        self, kind: str, guess: Any, ticks: Sequence[Tick], context: CompiledContext, diff: ContextDiff | None
    ) -> Mark:
        asked = _ASKED[kind]
        if kind == "tokens":
            came = context.tokens
            return Mark(asked, f"≈{guess:,}", f"≈{came:,}", abs(guess - came) <= self.within * came)
        if kind == "calls":
            return Mark(asked, str(guess), str(len(ticks)), guess == len(ticks))
        names = _names(guess)
        if kind == "tool":
            called = [run.name for tick in ticks for run in tick.tool_calls]
            return Mark(asked, _listed(names), _listed(called), names == called)
        parts = _moved(kind, context, diff)
        right = all(any(is_called(part, name) for part in parts) for name in names) if names else not parts
        return Mark(asked, _listed(names), _listed([_told(part) for part in parts]), right)


def _moved(kind: str, context: CompiledContext, diff: ContextDiff | None) -> Sequence[Part]:
    """Return the parts that entered, left or changed, but the messages, of which each execution has new ones.

    Before the first message there was nothing.
    """
    if diff is None:
        found: Sequence[Part] = context.parts if kind == "enters" else ()
    elif kind == "changes":
        found = [change.new for change in diff.changed]
    else:
        found = diff.added if kind == "enters" else diff.removed
    return [part for part in found if part.kind != "message"]


def _told(part: Part) -> str:
    return part.title or part.path


def _names(guess: Any) -> list[str]:
    names = [guess] if isinstance(guess, str) else list(guess)
    return [] if names == [NONE] else names


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(name.strip())


def _listed(guess: Any) -> str:
    return str(guess) if isinstance(guess, int) else ", ".join(_names(guess)) or NONE


def _check(guesses: Mapping[str, Any], within: float) -> None:
    if not guesses:
        raise SessionError(
            f"a prediction says what it expects: {', '.join(f'{kind}=' for kind in _ASKED)}, such as "
            "session.predict(tool='search', tokens=400)"
        )
    for kind, guess in guesses.items():
        if kind not in _ASKED:
            raise SessionError(f"nothing is predicted by {kind}={did_you_mean(kind, _ASKED)}")
        if kind in ("tokens", "calls"):
            if isinstance(guess, bool) or not isinstance(guess, int) or guess < 0:
                raise SessionError(f"{kind}= takes a whole number, got {guess!r}")
        elif not isinstance(guess, str | Sequence) or not all(map(_is_name, _names(guess))):
            raise SessionError(f"{kind}= takes a name, several, or 'none', got {guess!r}")
    if not 0 <= within < 1:
        raise SessionError(f"within= is a share from 0 to 1, got {within!r}")
