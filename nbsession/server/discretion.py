"""What leaves the server of failures: their kind, and not their words, which may name paths, keys and places in the code."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbsession.errors import ModelError, SessionError
from nbsession.events import Error, ExecutionEnd, TickEnd, ToolEnd
from nbsession.protocol import tick_to_dict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.events import Event
    from nbsession.timeline import Tick

FAILED = "the app failed; the server's log says why"


def told(event: Event, ticks: Sequence[Tick]) -> Event:
    """Return an event as it leaves the server; ``ticks`` are its session's."""
    if isinstance(event, ToolEnd) and event.traceback:
        return replace(event, traceback="", value=None)
    if isinstance(event, Error):
        ours = event.kind in ("error", "render")
        return replace(event, message=FAILED if ours else _of_model(event.kind))
    if isinstance(event, ExecutionEnd) and event.stop_reason == "error":
        return replace(event, reason="it failed")
    if isinstance(event, TickEnd) and event.tick < len(ticks) and not event.should_continue:
        return event if ticks[event.tick].error is None else replace(event, reason="it failed")
    return event


def told_tick(tick: Tick, *, context: bool = False) -> dict[str, Any]:
    """Return a tick as it leaves the server."""
    data = tick_to_dict(tick, context=context)
    if tick.error is not None:
        data["error"] = _of_model(tick.error.kind) if isinstance(tick.error, ModelError) else FAILED
        data["reason"] = data["reason"] if tick.should_continue else "it failed"
    return data


class AppFailedError(Exception):
    """An execution failed by the app's own fault; its cause is for the log."""


def told_error(error: BaseException) -> BaseException:
    """Return what an execution failed with as it may be answered.

    That of an earlier process is known as a ``SessionError`` with the words of any other.
    """
    if type(error) is SessionError:
        failed = AppFailedError()
        failed.__cause__ = error
        return failed
    return error


def _of_model(kind: str) -> str:
    return f"the model failed ({kind})"
