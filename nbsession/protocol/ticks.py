"""Ticks as JSON data, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.content import ToolCall, ToolResult, block_from_dict
from nbsession.context import CompiledContext
from nbsession.errors import ModelError, NbsessionError
from nbsession.timeline import Tick, ToolRun
from nbsession.tools import Decision
from nbsession.usage import CacheDiagnosis, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN = (
    "number",
    "execution",
    "asked",
    "model",
    "source",
    "recorded",
    "stop_reason",
    "detail",
    "cost",
    "started",
    "first_token",
    "ended",
    "should_continue",
    "reason",
    "interrupted",
)


def tick_to_dict(tick: Tick, *, context: bool = False) -> dict[str, Any]:
    """Return a tick as plain JSON data; its context by its hash and tokens, or, with ``context``, whole.

    What a tool returned is not in it, nor its traceback; of an error, its words, if they are ours.
    """
    sent: dict[str, Any] = {"hash": tick.context.hash, "tokens": tick.context.tokens}
    return {
        **{name: getattr(tick, name) for name in _PLAIN},
        "context": tick.context.to_dict() if context else sent,
        "response": [block.to_dict() for block in tick.response],
        "tool_calls": [
            {
                "call": run.call.to_dict(),
                "result": None if run.result is None else run.result.to_dict(),
                "started": run.started,
                "decision": None if run.decision is None else list(run.decision),
            }
            for run in tick.tool_calls
        ],
        "usage": tick.usage.to_dict(),
        "cache_diagnosis": None if tick.cache_diagnosis is None else tick.cache_diagnosis.to_dict(),
        "error": _said(tick.error),
    }


def tick_from_dict(data: Mapping[str, Any]) -> Tick:
    """Read a tick back; without its context it has an empty one, which says how many tokens were sent."""
    sent = data["context"]
    tick = Tick(
        **{name: data[name] for name in _PLAIN},
        context=CompiledContext.from_dict(sent)
        if "parts" in sent
        else CompiledContext((), (), tokens=sent["tokens"]),
        response=tuple(block_from_dict(item) for item in data["response"]),
        tool_calls=[_run(item) for item in data["tool_calls"]],
        usage=Usage.from_dict(data["usage"]),
    )
    if data["cache_diagnosis"]:
        tick.cache_diagnosis = CacheDiagnosis.from_dict(data["cache_diagnosis"])
    if data["error"]:
        tick.error = ModelError(data["error"])
    return tick


def _said(error: BaseException | None) -> str:
    if error is None:
        return ""
    return str(error) if isinstance(error, NbsessionError) else "the app failed"


def _run(data: Mapping[str, Any]) -> ToolRun:
    call, result = block_from_dict(data["call"]), data["result"]
    assert isinstance(call, ToolCall)
    read = None if result is None else block_from_dict(result)
    return ToolRun(
        call,
        read if isinstance(read, ToolResult) else None,
        started=data["started"],
        decision=None if data["decision"] is None else Decision(*data["decision"]),
    )
