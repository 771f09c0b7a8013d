"""Who does the trials: in this process as many at once as the providers take, or elsewhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from nbsession.errors import SessionError
from nbsession.experiment.pace import Pace, provider_of
from nbsession.experiment.together import stopped

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from nbsession.experiment.bench import Bench
    from nbsession.experiment.outcome import Outcome, Task

WAITING = 64
"""Outcomes that wait to be stored; while there are so many, no further trial begins."""


def counted(what: str, number: Any) -> int:
    """Return a number of at least 1; anything else is a ``SessionError`` that names it."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise SessionError(f"{what} must be a whole number, at least 1, got {number!r}")
    return number


@runtime_checkable
class Engine(Protocol):
    """Does tasks and gives what came of each, in the order in which they end.

    Closing the generator stops what runs: of that nothing is given. A trial that failed is an outcome; what the
    generator itself raises ends the run. Each task is given one outcome at most, whoever may have done it twice.
    """

    def outcomes(self, tasks: Sequence[Task], bench: Bench) -> AsyncGenerator[Outcome]: ...


class LocalEngine:
    """Does tasks in this process, on the loop that runs, at most ``concurrency`` at once for each provider.

    ``allowed`` has how many at once a provider was found to take; what is found out now is written there.
    """

    def __init__(self, concurrency: int, allowed: dict[str, float] | None = None) -> None:
        self._concurrency = counted("concurrency", concurrency)
        self._allowed = {} if allowed is None else allowed

    async def outcomes(self, tasks: Sequence[Task], bench: Bench) -> AsyncGenerator[Outcome]:
        """See ``Engine``; what a provider refuses for its rate is asked again, and less at once."""
        ended: asyncio.Queue[Outcome | Exception] = asyncio.Queue(WAITING)

        async def work(own: list[Task], pace: Pace) -> None:
            try:
                while own:
                    await ended.put(await bench.perform(own.pop(), pace))
            except Exception as error:  # noqa: BLE001  # raised again where the outcomes are taken
                await ended.put(error)

        waiting: dict[str, list[Task]] = {}
        for task in reversed(tasks):
            waiting.setdefault(provider_of(task.model), []).append(task)
        workers = []
        paces = {}
        for provider, own in waiting.items():
            pace = paces[provider] = Pace(self._concurrency)
            pace.allowed = min(pace.allowed, self._allowed.get(provider, pace.allowed))
            workers += [asyncio.create_task(work(own, pace)) for _ in range(min(self._concurrency, len(own)))]
        try:
            for _ in tasks:
                outcome = await ended.get()
                if isinstance(outcome, Exception):
                    raise outcome
                yield outcome
        finally:
            self._allowed |= {provider: pace.allowed for provider, pace in paces.items()}
            await stopped(workers)
