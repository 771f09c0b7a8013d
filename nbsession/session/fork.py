"""Forks: where a session is left, and what a new one begins with there."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.errors import SessionError
from nbsession.timeline import ForkPoint, Record, Tick

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.content import Entry
    from nbsession.hooks import StateLog
    from nbsession.record import Shared
    from nbsession.session.core import SessionCore


class Fork(NamedTuple):
    """What a fork begins with: the timeline, the state and the ticks up to a point of its parent.

    ``answers`` are its policies' (``older`` the keys of those that the store alone has); ``shared`` is what of all this is in the store, or on its
    way there, as the parent's.
    """

    record: Record
    state: StateLog
    ticks: list[Tick]
    point: ForkPoint
    answers: Mapping[str, tuple[Entry, ...]]
    older: frozenset[str]
    shared: Shared | None


def fork_of(core: SessionCore, at: int | None, before: bool) -> Fork:
    """Fork from now, or after tick ``at`` or, with ``before``, as it was compiled.

    Raises ``SessionError`` for a tick that is not there, and after one that has not ended.
    """
    if at is None and before:
        raise SessionError("fork(before=True) needs a tick to stand before: give fork(at=…, before=True)")
    if at is None:
        return _from_now(core)
    tick = tick_at(core, at)
    if before:
        return _fork(core, tick.head_before, tick.state_before, tick.number, ForkPoint(tick.number, before))
    if tick is core.running_tick:
        raise SessionError(
            f"tick {tick.number} of session {core.session.id!r} has not ended; wait for it, or "
            f"fork(at={tick.number}, before=True) to stand as it was compiled"
        )
    return _fork(core, tick.head_after, tick.state_after, tick.number + 1, ForkPoint(tick.number))


def tick_at(core: SessionCore, at: Any) -> Tick:
    """Return the tick of that number, counted from the end where it is negative; ``SessionError`` where there is none."""
    try:
        at = index(at)
    except TypeError:
        number = f", such as at={at.number}" if isinstance(at, Tick) else ""
        raise SessionError(f"a tick is named by its number{number}, got {at!r}") from None
    if not -len(core.ticks) <= at < len(core.ticks):
        count = len(core.ticks)
        there = f"{count} tick{'s' if count != 1 else ''}"
        raise SessionError(f"there is no tick {at}; session {core.session.id!r} has {there}")
    tick: Tick = core.ticks[at]
    return tick


def _from_now(core: SessionCore) -> Fork:
    core.keeper.drain()
    count = len(core.ticks)
    fork = _fork(core, core.record.head, core.state.version, count, ForkPoint(count - 1 if count else None))
    if core.running_tick is not None:
        fork.ticks[-1] = core.running_tick.cut(core.record.head, core.state.version)
    return fork


def _fork(core: SessionCore, head: str | None, version: int, ticks: int, point: ForkPoint) -> Fork:
    record = Record()
    record.restore(core.record.all(), head)
    sent = core.ticks[:ticks]
    if sent and sent[-1].head_after == head and any(run.result is None for run in sent[-1].tool_calls):
        sent[-1] = sent[-1].copy()  # its calls may wait for somebody, who answers here and there differently
    state, answers = core.state.prefix(version), core.policies.answers
    return Fork(record, state, sent, point, answers, core.policies.older, core.outbox.shared())
