"""Two sessions beside each other, tick by tick, and where they part."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from nbsession.context import ContextDiff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.context import Part
    from nbsession.timeline import Tick


@runtime_checkable
class Ticked(Protocol):
    """What has ticks to be compared: a session, or a trace of another tool."""

    @property
    def id(self) -> str:
        """What it is called."""

    @property
    def ticks(self) -> list[Tick]:
        """Every tick."""


class TickPair(NamedTuple):
    """The ticks of one ``number`` in two sessions, ``one`` and ``other``, ``None`` where a session has none."""

    number: int
    one: Tick | None
    other: Tick | None

    @property
    def diff(self) -> ContextDiff:
        """What the other one's context has otherwise; parts are matched by path and key."""
        if self.one is None or self.other is None:
            return ContextDiff()
        return self.other.context.diff(self.one.context)

    @property
    def part(self) -> Part | None:
        """The first part, in the order of the request, that the other one has otherwise."""
        diff = self.diff
        if diff.prefix_broken_by is not None:
            return diff.prefix_broken_by
        return next(iter((*diff.added, *diff.removed)), None)

    @property
    def what(self) -> str:
        """What is the first to differ, in words; ``""`` where nothing is."""
        one, other = self.one, self.other
        if one is None or other is None:
            return "only one of them has this tick"
        if one.context.hash != other.context.hash:
            part, settings = self.part, self.diff.settings
            if part is not None:
                return f"the context, from {part.path} on"
            return f"the settings: {', '.join(settings)}" if settings else "the context"
        if one.asked != other.asked:
            return f"the model: {one.asked} and {other.asked}"
        return "" if _said(one) == _said(other) else "the answer, to the same context"


class SessionDiff:
    """Two sessions, their ticks paired by number; made by ``Session.compare``.

    ``one`` and ``other`` are their ids, and ``pairs`` the ticks, a ``TickPair`` each. ``divergence`` is the first pair that
    differs, ``None`` where there is none: its ``what`` says in what, ``part`` from which part of the context on, and
    ``diff`` all of it.
    """

    def __init__(self, one: str, other: str, ticks: Sequence[Tick], others: Sequence[Tick]) -> None:
        self.one, self.other = one, other
        self.pairs = tuple(
            TickPair(number, mine, theirs)
            for number, (mine, theirs) in enumerate(itertools.zip_longest(ticks, others))
        )
        self.divergence = next((pair for pair in self.pairs if pair.what), None)

    def __repr__(self) -> str:
        where = "none" if self.divergence is None else f"tick {self.divergence.number}"
        return f"<SessionDiff of {self.one!r} and {self.other!r}: divergence {where}>"

    @property
    def verdict(self) -> str:
        """Where they part, in a sentence."""
        if self.divergence is None:
            return f"{len(self.pairs)} tick{'s' * (len(self.pairs) != 1)}, all alike"
        return f"they part at tick {self.divergence.number}: {self.divergence.what}"

    def __str__(self) -> str:
        lines = [f"{self.one} and {self.other}: {self.verdict}"]
        pair = self.divergence
        if pair is not None:
            lines += [line for line in (str(pair.diff),) if line]
            lines += [f"{self.one}: {answer(pair.one)}", f"{self.other}: {answer(pair.other)}"]
        return "\n".join(lines)


def answer(tick: Tick | None) -> str:
    """Write a tick's answer: its text and the calls that it made, ``"–"`` where there is none."""
    if tick is None:
        return "–"
    return (
        "; ".join([*([tick.text] if tick.text else []), *[str(run.call) for run in tick.tool_calls]]) or "–"
    )


def _said(tick: Tick) -> object:
    return tick.text, [(run.name, dict(run.input)) for run in tick.tool_calls], type(tick.error)
