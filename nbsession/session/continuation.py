"""Whether another tick follows: what the tick itself says, then open gates, then the author's continuations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.errors import SessionError
from nbsession.hooks import call_hook, holding
from nbsession.session.result import Continue, Stop, StopReason

if TYPE_CHECKING:
    from nbsession.session.core import SessionCore
    from nbsession.session.door import Door
    from nbsession.timeline import Tick

CUT = ("max_tokens", "refusal", "context_window")
"""Stop reasons of a model that end the execution under the same name."""


class Ending(NamedTuple):
    """Why an execution ends, if it does."""

    stop: StopReason = StopReason.end_turn
    reason: str = ""


async def decide(core: SessionCore, session: Door, tick: Tick) -> Ending:
    """Put into the tick whether another one follows, and why; return why the execution ends otherwise.

    Each continuation sees the decision so far, and the last opinion wins. The gates that hold it open are
    shown to the tick that follows.
    """
    ending, held = _first(core, tick)
    for ask in core.mount.callbacks("continuation"):
        ending = _heard(tick, ending, await call_hook(ask, tick, session))
    if core.waiting and not tick.should_continue and ending.stop is StopReason.end_turn:
        tick.should_continue, tick.reason = True, "messages are waiting"
    core.environment.gates.show(held if tick.should_continue else [])
    return ending


def _first(core: SessionCore, tick: Tick) -> tuple[Ending, list[str]]:
    """Decide before the continuations are asked; name the gates that nothing else goes before."""
    held: list[str] = []
    if tick.stop_reason == "tool_use" and tick.tool_calls:
        tick.should_continue, tick.reason = True, "tool results to read"
    elif tick.stop_reason == "pause_turn":
        tick.should_continue, tick.reason = True, "the model paused its turn"
    elif tick.stop_reason in CUT:
        return Ending(StopReason(tick.stop_reason), tick.detail), held
    elif core.waiting:
        tick.should_continue, tick.reason = True, "messages are waiting"
    elif held := holding(core.mount.gates):
        tick.should_continue, tick.reason = True, open_gates(held)
    return Ending(), held


def open_gates(names: list[str]) -> str:
    """Say which gates are open."""
    return f"the gate{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))} {'are' if len(names) > 1 else 'is'} open"


def _heard(tick: Tick, ending: Ending, opinion: Any) -> Ending:
    """Take a continuation's opinion; the last one wins."""
    if opinion is None:
        return ending
    go_on = isinstance(opinion, Continue) or opinion is True
    if not go_on and not (isinstance(opinion, Stop) or opinion is False):
        raise SessionError(
            f"a continuation returned {opinion!r}; return None, a bool, Stop(reason) or Continue(reason)"
        )
    said = getattr(opinion, "reason", "")
    if go_on != tick.should_continue or said:
        tick.reason = said or ("a continuation said to go on" if go_on else "a continuation said to stop")
    if go_on:
        ending = Ending()
    elif tick.should_continue or isinstance(opinion, Stop):
        ending = Ending(StopReason.stopped, tick.reason)
    tick.should_continue = go_on
    return ending
