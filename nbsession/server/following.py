"""Sessions that somebody follows here and another server writes.

Two servers on one store share the sessions through their leases: one of them runs a session, and the other reads
what it stored. Where the store tells of changes, one hears of them at once; else it is asked every second. What
changed elsewhere is read anew, and who follows goes on from there.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING

from nbsession.errors import NbsessionError, SessionNotFoundError
from nbsession.server.fault import LOG
from nbsession.session.feed import Place

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from nbsession.events import Event
    from nbsession.server.gateway import Gateway
    from nbsession.session import Session

ASKED = 1.0
"""Seconds between two questions to a store that tells nothing, and between two readings of one session."""


class Following:
    """What becomes of followed sessions that another process writes."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._changed: set[str] = set()
        self._news = asyncio.Event()

    async def watch(self) -> None:
        """Read anew, again and again, what changed elsewhere."""
        while True:
            try:
                await self._watch()
            except NbsessionError as error:
                LOG.warning("what changes elsewhere is not heard of: %s", error)
                await asyncio.sleep(ASKED)

    async def _watch(self) -> None:
        loop, notifier = asyncio.get_running_loop(), self._gateway.notifier

        def heard(name: str) -> None:
            loop.call_soon_threadsafe(self._hear, name)

        with nullcontext() if notifier is None else notifier.listen(heard):
            while True:
                if notifier is not None:
                    await self._news.wait()
                changed, self._changed = self._changed, set()
                self._news.clear()
                await self._refresh(self._gateway.followed if notifier is None or "" in changed else changed)
                await asyncio.sleep(ASKED)

    def _hear(self, name: str) -> None:
        if not name or name in self._gateway.followed:
            self._changed.add(name)
            self._news.set()

    async def _refresh(self, names: set[str]) -> None:
        for name in list(names):
            try:
                await self._gateway.refresh(name)
            except NbsessionError as error:
                LOG.warning("session %s could not be read anew: %s", name, error)


async def followed(
    gateway: Gateway, user: str, session: Session, after: int | None
) -> AsyncGenerator[tuple[Session, Event]]:
    """Give a session's events after a number and as they come, also when it is closed and opened again meanwhile."""
    name, place = session.id, Place(after or 0)
    while True:
        try:
            async with (
                gateway.using(user, name, follow=True) as session,
                aclosing(session.subscribe(place.last or after)) as events,
            ):
                async for event in events:
                    if (new := place.take(event)) is not None:
                        yield session, new
        except SessionNotFoundError:  # it was ended for good, or no store had it
            return
        if session.status != "closed":
            return
