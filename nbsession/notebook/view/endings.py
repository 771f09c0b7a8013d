"""How an execution, or a question, ended: in words."""

from __future__ import annotations

WHY_STOPPED = {
    "max_ticks": "the limit of ticks is reached",
    "max_tokens": "the answer reached its limit of tokens",
    "refusal": "the model declined to answer",
    "aborted": "by you",
    "stopped": "a continuation said so",
    "budget": "the budget is used up",
    "context_window": "the context window is full",
}

WAITS = "waits for an answer"


def why_stopped(stop_reason: str, reason: str) -> str:
    """Say why an execution ended other than by the model's own end of turn, or ``""``."""
    if not stop_reason or stop_reason in ("end_turn", "error"):
        return ""
    if stop_reason == "paused":
        return WAITS
    if reason and stop_reason == "aborted":
        return reason
    return f"stopped: {reason or WHY_STOPPED.get(stop_reason, stop_reason)}"


def withdrawn(count: int) -> str:
    """Say that questions of before wait no more, since a message was sent instead."""
    return f"{'A question' if count == 1 else f'{count} questions'} that waited for an answer: withdrawn by this message"
