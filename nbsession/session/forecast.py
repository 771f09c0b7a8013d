"""What of a request the provider may read from its cache: forecast by component, and what it then reported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.session.fork import tick_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.context import CompiledContext, Part
    from nbsession.session.core import SessionCore
    from nbsession.timeline import Tick
    from nbsession.usage import CacheDiagnosis


class Share(NamedTuple):
    """What one component adds to a request, in estimated tokens, and what of that is as it was sent before.

    ``kept`` is ``None`` where nothing is known. Its ``tools`` stand apart: they come first in a request.
    """

    path: str
    tokens: int
    kept: int | None
    tools: bool = False

    def __str__(self) -> str:
        return f"{self.path}, tools" if self.tools else self.path


@dataclass(frozen=True, slots=True)
class Forecast:
    """What of a request may be read from the provider's cache, by component in the order of the request.

    ``tokens`` and ``kept`` (what is as it was at the front of the request before) are estimates.
    ``broken_by`` is the path of what ends the prefix, ``""`` where all that was sent before stands at
    the front. ``kept`` is ``None`` where it cannot be known, and ``unknown`` says why. ``reported``
    is what the provider said that it read, ``None`` before it answered, or where it did not say, and
    ``diagnosis`` why that was not all, where it knows. ``sent`` says that the request was sent.
    """

    shares: tuple[Share, ...]
    tokens: int
    kept: int | None = None
    broken_by: str = ""
    unknown: str = ""
    reported: int | None = None
    diagnosis: CacheDiagnosis | None = None
    sent: bool = False

    def __str__(self) -> str:
        if self.kept is None:
            said = f"unknown: {self.unknown}"
        else:
            until = f", up to {self.broken_by}" if self.broken_by else ""
            said = f"≈{self.kept:,} of ≈{self.tokens:,} tokens may be read from the cache{until}"
        return f"{said}; {self._outcome()}" if self.sent else said

    def _outcome(self) -> str:
        """Say what the provider read, and why that was not what was to be read."""
        if self.reported is None:
            return "what the provider read is unknown"
        read = f"the provider reported {self.reported:,}"
        if self.diagnosis is not None and (self.diagnosis.code or not self.reported):
            missed = f", ≈{self.diagnosis.tokens:,} tokens missed" if self.diagnosis.tokens else ""
            return f"{read}: {self.diagnosis}{missed}"
        return read if self.reported or not self.kept else f"{read}: why is unknown"


def forecast_of(core: SessionCore, at: Any) -> Forecast:
    """Forecast what would be sent now, or what was sent at a tick; see ``Session.forecast``."""
    if at is None:
        core.render()
        return _forecast(core.look(), core.ticks)
    tick = tick_at(core, getattr(at, "number", at))
    before = _forecast(tick.context, core.ticks[: tick.number])
    return replace(before, sent=True, reported=reported_by(tick), diagnosis=tick.cache_diagnosis)


def reported_by(tick: Tick) -> int | None:
    """Return how many tokens the provider said that it read from its cache, ``None`` where it did not say."""
    usage = tick.usage
    if tick.source == "simulated" or usage.estimated or not usage.input_tokens:
        return None
    return usage.cache_read_tokens


def _forecast(context: CompiledContext, ticks: Sequence[Tick]) -> Forecast:
    """Compare a context with what was last sent to its model: each model has a cache of its own."""
    older = next((tick.context for tick in reversed(ticks) if tick.context.model == context.model), None)
    if older is None:
        earlier = f"to {context.model} " if ticks else ""
        shares = _shares(context, None)
        unknown = f"nothing was sent {earlier}before in this session"
        return Forecast(shares, context.tokens, unknown=unknown)
    diff = context.diff(older)
    broken = diff.prefix_broken_by
    kept = diff.prefix_tokens_kept
    return Forecast(_shares(context, kept), context.tokens, kept, "" if broken is None else broken.path)


def _shares(context: CompiledContext, kept: int | None) -> tuple[Share, ...]:
    """Add up the parts by component, in the order of a request, and what stands before its ``kept`` tokens end."""
    tokens: dict[tuple[str, bool], int] = {}
    before: dict[tuple[str, bool], int] = {}
    left = kept or 0
    for part in _in_order(context):
        place = (part.path, part.kind == "tool")
        taken = min(left, part.tokens)
        tokens[place] = tokens.get(place, 0) + part.tokens
        before[place] = before.get(place, 0) + taken
        left -= taken
    return tuple(
        Share(place[0], count, None if kept is None else before[place], place[1])
        for place, count in tokens.items()
    )


def _in_order(context: CompiledContext) -> list[Part]:
    """Return the parts in the order of a request: tools, system, messages."""
    return sorted(context.parts, key=lambda part: part.kind != "tool")
