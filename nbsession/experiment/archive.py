"""Where the sessions of trials are once they have ended, and their long answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.errors import SessionNotFoundError
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

    def session(self, id: str, model: Any = None) -> Session:
        """Open one, which stays open, with the model that it was asked of. Raises ``SessionNotFoundError`` where it was deleted."""
        self._refuse_gone(id)
        was_open = id in self._app.opened
        session = self._app.session(id)
        if model is not None and not was_open:
            session.model = model
        return session

    async def result(self, id: str) -> Result:
        """Read what one gave; it stays open only if it was. Raises ``SessionNotFoundError`` where it was deleted."""
        self._refuse_gone(id)
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

    def _refuse_gone(self, id: str) -> None:
        if not self._app.knows(id):
            raise SessionNotFoundError(
                f"the session {id!r} of this trial is not in the store any more: it was deleted; the trial's figures stay"
            )
