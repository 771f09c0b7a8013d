"""What the routes serve: the gateway to the sessions, the runs, and what is done beside the requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nbsession.server.following import Following
from nbsession.server.runs import Runs

if TYPE_CHECKING:
    from nbsession.server.gateway import Gateway
    from nbsession.server.limits import Turnstile

TENDED = 5.0
"""Seconds between two looks for what rests."""


class Service:
    """The sessions of a server and its runs. It begins with the first request, on the loop of that.

    ``turnstile`` counts what each user asks, on a socket as well.
    """

    def __init__(self, gateway: Gateway, turnstile: Turnstile) -> None:
        self.gateway = gateway
        self.turnstile = turnstile
        self.runs = Runs(gateway)
        self.following = Following(gateway)

    def begin(self) -> None:
        """Begin on the running loop, once; ``SessionError`` where the apps' sessions live on another one."""
        if self.gateway.bind() and self.gateway.keeps:
            self.gateway.start(self.runs.resume())
            self.gateway.start(self.following.watch())
            self.gateway.start(self._tend())

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TENDED)
            await self.gateway.tend()
            await self.runs.ask_again()
