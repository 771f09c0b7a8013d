"""What one ``send`` asks for, besides its message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.context import ToolUse
    from nbsession.tools import Output
    from nbsession.usage import Budget


class Options(NamedTuple):
    """What ``send`` was asked for, besides its message."""

    model: Any = None
    max_ticks: int | None = None
    tools: tuple[ToolUse, ...] = ()
    metadata: Mapping[str, Any] = {}  # a mapping nobody writes to
    request_id: str | None = None
    output: Output | None = None
    budget: Budget | None = None


def checked_ticks(max_ticks: Any) -> int:
    """Return a limit of ticks that was given; ``SessionError`` for what is none."""
    if isinstance(max_ticks, bool) or not isinstance(max_ticks, int) or max_ticks < 1:
        raise SessionError(f"max_ticks must be a whole number, at least 1, got {max_ticks!r}")
    return max_ticks
