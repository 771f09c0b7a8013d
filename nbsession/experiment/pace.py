"""How many calls a provider is given at once: as many as it takes, found out by what it refuses."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nbsession.errors import ModelError

BACK_OFF = 1.0
"""Seconds that nothing new is asked after a refusal for the rate, where the provider names none; twice as many each time."""
LONGEST = 60.0
"""Seconds that are waited at most."""
LIMITED = ("rate_limit", "overloaded")
"""The kinds of ``ModelError`` that say: too many at once."""


class Pace:
    """Calls of one provider that are under way, and how many may be: halved at each refusal, grown again by what goes well.

    Additive increase and multiplicative decrease, as TCP has it: one more for as many that ended well as are
    allowed at once. Refusals of calls that began before the last halving do not count again.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.allowed = float(most)
        self._under_way = 0
        self._resumes = 0.0
        self._refused_in_a_row = 0
        self._slowed = 0.0
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait for a place, and hold it within the block, to which the time is given at which it began."""
        async with self._freed:
            await self._freed.wait_for(lambda: self._under_way < max(1, int(self.allowed)))
            self._under_way += 1
        try:
            while (pause := self._resumes - time.monotonic()) > 0:  # noqa: ASYNC110  # it is until a time
                await asyncio.sleep(pause)
            yield time.monotonic()
        finally:
            self._under_way -= 1
            async with self._freed:
                self._freed.notify_all()

    def went_well(self) -> None:
        """Allow a little more after a call that was not refused."""
        self._refused_in_a_row = 0
        self.allowed = min(float(self.most), self.allowed + 1 / max(1.0, self.allowed))

    def slow_down(self, began: float, error: ModelError) -> None:
        """Allow half as many after a call that was refused, and ask nothing new for as long as the provider says."""
        if began < self._slowed:  # it was under way already when another one was refused
            return
        self._slowed = now = time.monotonic()
        self.allowed = max(1.0, self.allowed / 2)
        pause = BACK_OFF * 2**self._refused_in_a_row if error.retry_after is None else error.retry_after
        self._refused_in_a_row += 1
        self._resumes = max(self._resumes, now + min(pause, LONGEST))


def provider_of(model: str) -> str:
    """Return whose limits a model's calls count for: what stands before the colon of its name."""
    return model.partition(":")[0]
