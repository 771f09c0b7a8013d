"""The end of a session: all is stored, and everything let go."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from nbsession.errors import SessionClosedError, SessionError, StoreError

if TYPE_CHECKING:
    from nbsession.session.core import SessionCore


CLOSED = "the session was closed"


class Closing:
    """Closes one session, once; where not all can be stored it stays open the first time."""

    def __init__(self, core: SessionCore) -> None:
        self._core = core
        self._closer: asyncio.Task[None] | None = None
        self._warned = False

    def refuse(self) -> None:
        """Raise ``SessionClosedError`` where it is closed."""
        if self._core.closed:
            name = self._core.session.id
            raise SessionClosedError(
                f"session {name!r} is closed; open it again with app.session({name!r})"
                if self._core.journal.keeps
                else f"session {name!r} is closed, and no store kept it; begin another one with app.session()"
            )

    async def aclose(self) -> None:
        """Close it on its home loop; a second call waits for the first."""
        await self._core.home.carry(lambda: asyncio.shield(self._begin()))

    def close(self) -> None:
        """Close it and wait; on the home loop itself a task does it."""
        home = self._core.home
        if home.here:
            if self._closer is None:
                self._core.keeper.at_once()
            self._begin()
        else:
            home.run(self.aclose)

    def _begin(self) -> asyncio.Task[None]:
        if self._closer is None:
            self._core.closed = True
            name = f"close {self._core.session.id}"
            self._closer = asyncio.get_running_loop().create_task(self._close(), name=name)
        return self._closer

    async def _close(self) -> None:
        try:
            await self._wind_up()
        except StoreError as error:
            if not self._warned:
                self._warned, self._core.closed, self._closer = True, False, None
                raise StoreError(
                    f"{error}; session {self._core.session.id!r} stays open: close it again when there is room, or to "
                    "give up what is not stored",
                    location=error.location,
                ) from error
        except SessionError:
            pass  # another process writes it, or deleted it: what is here can be stored at no time, which the end tells
        await self._let_go()

    async def _wind_up(self) -> None:
        """Stop what runs, close what was spawned and store what waits; nothing is taken down yet."""
        core = self._core
        core.line.withdraw(CLOSED)
        running = core.current
        if running is not None and running.stranded:
            running.bury()
        if running is not None:
            if not running.pause():
                running.abort(CLOSED)
            await running.settled()
        for child in core.children:
            await child.session.aclose()
        for sweep in list(core.sweeps):
            await sweep.aclose()
        await core.keeper.last()

    async def _let_go(self) -> None:
        """Unmount the tree and store what came of that."""
        core = self._core
        try:
            await core.mount.unmount(core.session)
        finally:
            try:
                with suppress(SessionClosedError):  # it was deleted: there is nothing to be lost
                    await core.keeper.last()
            finally:
                core.feed.close()
                core.journal.close()
                core.forget()
