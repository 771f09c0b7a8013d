"""How long to wait before a request that failed is sent again."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.errors import ModelError

BACK_OFF = 0.5
"""Seconds before the first further try, twice as many before each next one, where the server names none."""

LONGEST = 60.0
"""Seconds that are waited at most: a server that asks for more has refused."""


_FOR_NOW = (408, 409, 429)
"""Statuses below 500 that may be others the next time."""


def pause_before(again: int, status: int, headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait before a further try, the first being number 0; ``None`` where there is to be none.

    ``status`` and ``headers`` are those of the response that refused, the status 0 where
    there was no response.
    """
    if 300 <= status < 500 and status not in _FOR_NOW:
        return None
    if headers.get("x-should-retry") == "false":
        return None
    asked_for = _asked_for(headers)
    pause = BACK_OFF * 2**again if asked_for is None else asked_for
    return pause if pause <= LONGEST else None


def what_failed(failure: ModelError) -> str:
    """Return what happened, without what is to be done about it, which stands behind the last semicolon."""
    return str(failure).rpartition("; ")[0] or str(failure)


def _asked_for(headers: Mapping[str, str]) -> float | None:
    """Read how long a server asks to be left alone: milliseconds, seconds, or until when by its own clock."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers.get(name, "")) * unit)
        except ValueError:
            continue
    try:
        until, now = (parsedate_to_datetime(headers.get(name, "")) for name in ("retry-after", "date"))
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return None
