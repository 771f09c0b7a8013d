"""How much one user may ask, so that nobody's haste is everybody's wait."""

from __future__ import annotations

import math
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbsession.server.fault import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Limits:
    """What one user may ask of a server.

    ``body`` is in bytes, ``rate`` in requests a second, of which ``burst`` may come at once;
    ``requests`` and ``streams`` may be open at a time, and ``line`` messages of one session may wait for their
    turn. ``sessions`` are kept open for all users together, and an idle one for ``rest`` seconds. ``stalled`` are the seconds after
    which a reader that takes nothing is cut off.
    """

    body: int = 10_000_000
    rate: float = 1_000
    burst: int = 2_000
    requests: int = 500
    streams: int = 2_000
    line: int = 1_000
    sessions: int = 500
    rest: float = 300
    stalled: float = 20


class Turnstile:
    """Counts what each user asks, and refuses what is too much."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._left: dict[str, tuple[float, float]] = {}
        self._open: Counter[tuple[str, str]] = Counter()

    def take(self, user: str) -> None:
        """Count a request; refuse it where they come too fast."""
        limits, now = self._limits, time.monotonic()
        left, before = self._left.get(user, (float(limits.burst), now))
        left = min(limits.burst, left + (now - before) * limits.rate)
        if left < 1:
            self._left[user] = (left, now)
            raise later((1 - left) / limits.rate, f"more than {limits.rate:g} requests a second")
        self._left[user] = (left - 1, now)

    @contextmanager
    def during(self, user: str, *, stream: bool) -> Iterator[None]:
        """Count what is open; refuse what is too much at a time."""
        what, most = ("streams", self._limits.streams) if stream else ("requests", self._limits.requests)
        if self._open[user, what] >= most:
            raise later(1, f"{most} {what} are open already")
        self._open[user, what] += 1
        try:
            yield
        finally:
            self._open[user, what] -= 1
            if not self._open[user, what]:
                del self._open[user, what]


def later(seconds: float, why: str) -> Refusal:
    """Return the refusal of what may be asked again in some seconds."""
    wait = max(1, math.ceil(seconds))
    return Refusal(429, "too_many", f"{why}; wait {wait} s", headers={"retry-after": str(wait)})
