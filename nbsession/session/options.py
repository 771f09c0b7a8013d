"""What one ``send`` asks for, besides its message."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.errors import SessionError
from nbsession.tools import Output
from nbsession.usage import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.context import ToolUse


class Options(NamedTuple):
    """What ``send`` was asked for, besides its message."""

    model: Any = None
    max_ticks: int | None = None
    tools: tuple[ToolUse, ...] = ()
    metadata: Mapping[str, Any] = {}  # a mapping nobody writes to
    request_id: str | None = None
    output: Output | None = None
    budget: Budget | None = None

    def kept(self) -> dict[str, Any]:
        """Return as JSON data what of it goes on after a restart: the limits, and the schema of the output."""
        limits = {} if self.budget is None else self.budget._asdict()
        data = {
            "max_ticks": self.max_ticks,
            "budget": {name: limit for name, limit in limits.items() if _limits(limit)},
            "output": None if self.output is None else dict(self.output.schema),
        }
        return {name: value for name, value in data.items() if value}

    @classmethod
    def again(cls, kept: Mapping[str, Any]) -> Options:
        """Read what was kept."""
        output = kept.get("output")
        return cls(
            max_ticks=kept.get("max_ticks"),
            budget=Budget.of(kept.get("budget")),
            output=None if output is None else Output(output),
        )


def _limits(limit: float | None) -> bool:
    """Say whether a limit is one: an infinite one is none, and no JSON either."""
    return limit is not None and math.isfinite(limit)


def checked_ticks(max_ticks: Any) -> int:
    """Return a limit of ticks that was given; ``SessionError`` for what is none."""
    if isinstance(max_ticks, bool) or not isinstance(max_ticks, int) or max_ticks < 1:
        raise SessionError(f"max_ticks must be a whole number, at least 1, got {max_ticks!r}")
    return max_ticks
