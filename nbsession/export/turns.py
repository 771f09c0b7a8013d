"""Turns as HTML that reads without styles and scripts; each text of a context stands in it once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nbsession.export.conversation import shortened
from nbsession.export.page import rendered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markupsafe import Markup

    from nbsession.export.conversation import Asked, Turn
    from nbsession.timeline import Tick, ToolRun


@dataclass(frozen=True, slots=True)
class Row:
    """A part of what was sent, or a run of parts that were shown before: then there is no ``text``."""

    title: str
    tokens: int
    text: str | None = None


class Called(NamedTuple):
    """A call with its result and what was asked about it."""

    call: str
    result: str
    asked: Asked | None


class Turns:
    """Lays turns out, one after the other; what was shown once is only counted from then on."""

    def __init__(self) -> None:
        self._shown: set[tuple[str, str]] = set()

    def output(self, turn: Turn) -> Markup:
        """Return a turn as the output of its cell: contexts folded, calls, answers."""
        ticks = [(tick, list(self._rows(tick)), _calls(tick, turn)) for tick in turn.ticks]
        return rendered("output.html.j2", ticks=ticks)

    @staticmethod
    def text(turns: Sequence[Turn]) -> Markup:
        """Return what was said in turns, without the contexts."""
        return rendered(
            "turns.html.j2",
            turns=[(turn, [(tick, _calls(tick, turn)) for tick in turn.ticks]) for turn in turns],
        )

    def _rows(self, tick: Tick) -> Iterator[Row]:
        known = tokens = 0
        for part in tick.context.parts:
            place = (part.path, part.digest)
            if place in self._shown:
                known, tokens = known + 1, tokens + part.tokens
                continue
            if known:
                yield _as_before(known, tokens)
                known = tokens = 0
            self._shown.add(place)
            yield Row(f"{part.title or part.role or part.kind} · {part.path}", part.tokens, part.readable)
        if known:
            yield _as_before(known, tokens)


def _as_before(count: int, tokens: int) -> Row:
    return Row("1 part as shown before" if count == 1 else f"{count:,} parts as shown before", tokens)


def _called(run: ToolRun) -> str:
    return str(run.call) if run.decision is None else f"{run.call} · {run.decision}"


def _calls(tick: Tick, turn: Turn) -> list[Called]:
    return [
        Called(
            _called(run),
            "no result" if run.result is None else shortened(run.result.text),
            turn.asked.get(run.id),
        )
        for run in tick.tool_calls
    ]
