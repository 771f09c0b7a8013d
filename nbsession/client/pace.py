"""How long to wait before a server is asked again."""

from __future__ import annotations

import random
import time

FIRST = 0.5
"""Seconds before the first new try, where the server did not say."""

MOST = 30.0
"""Seconds between two tries, at most, unless the server asks for more."""

JITTER = 0.5
"""By how much of itself a wait may be longer, so that many clients of a server that comes back do not come at once."""


class Pace:
    """Waits that grow from try to try, until a server's ``patience`` (in seconds) is used up."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._tries = 0
        self._since: float | None = None

    def reset(self) -> None:
        """Begin anew: the server was reached."""
        self._tries, self._since = 0, None

    def next(self, *, first: float | None = None, least: float = 0.0) -> float | None:
        """Return the seconds to wait now, ``None`` where it has been tried for too long.

        ``first`` is the wait from which they grow, ``least`` what the server asked for this once.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        grown = min(MOST, (FIRST if first is None else first) * 2**self._tries)
        wait = max(least, grown * random.uniform(1, 1 + JITTER))  # noqa: S311  # no secret
        self._tries = min(self._tries + 1, 30)
        return wait if now + wait <= self._since + self._patience else None
