"""Where the sessions of trials are once they have ended, and their long answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.experiment.bench import whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nbsession.app import App
    from nbsession.experiment.ledger import Ledger
    from nbsession.session import Result, Session


class Archive:
    """Opens the sessions of trials, as those of the app that keeps them."""

    def __init__(self, app: App, ledger: Ledger) -> None:
        self._app = app
        self._ledger = ledger

    def session(self, id: str) -> Session:
        """Open one, which stays open."""
        return self._app.session(id)

    async def result(self, id: str) -> Result:
        """Read what one gave; it stays open only if it was."""
        was_open = id in self._app.opened
        session = self._app.session(id)
        try:
            return whole(session)
        finally:
            if not was_open:
                await session.aclose()

    def texts(self, digests: Iterable[str]) -> dict[str, str]:
        """Read long answers, by digest."""
        return self._ledger.texts(digests)
