"""A session's hold on its record: one process writes it at a time."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nbsession import threads
from nbsession.errors import NbsessionError, SessionBusyError, SessionClosedError

if TYPE_CHECKING:
    from nbsession.stores.base import SessionStore

SECONDS = 20.0
"""How long a lease lasts without a heartbeat."""
HEARTBEAT = 5.0
"""Seconds between two renewals."""


class Lease:
    """The lease of one session: taken before the first write, renewed by a heartbeat until it is released."""

    def __init__(self, store: SessionStore, session: str) -> None:
        self._store = store
        self._session = session
        self._token: int | None = None
        self._renewed = 0.0
        self._released = threading.Event()

    def hold(self, revision: int) -> int:
        """Return the token to write with.

        Raises ``SessionBusyError`` while another process holds the session, or where the
        store has another ``revision``: then whoever wrote it keeps the lease.
        """
        if self._token is None:
            from nbsession.stores.lease import this_owner

            token = self._token = self._store.acquire(self._session, this_owner(), SECONDS, revision=revision)
            self._renewed = time.monotonic()
            if self._store.blocking and threads.can_start():
                threading.Thread(
                    target=self._beat, args=(token,), name="nbsession-lease", daemon=True
                ).start()
        elif self._store.blocking and not threads.can_start():
            self._renew_when_due(self._token)
        return self._token

    @property
    def held(self) -> bool:
        """Whether it was taken and, as far as is known here, not lost."""
        return self._token is not None

    def give_back(self) -> None:
        """Let go for now; the next ``hold`` asks for it anew."""
        token, self._token = self._token, None
        if token is not None:
            self._store.release(self._session, token)

    def lose(self) -> None:
        """Know that it was taken over: the next ``hold`` asks for it anew."""
        self._token = None

    def release(self) -> None:
        """Let go, so that another process may hold the session at once."""
        self._released.set()
        if self._token is not None:
            with suppress(NbsessionError):  # an unreachable store lets the lease expire
                self._store.release(self._session, self._token)

    def _renew_when_due(self, token: int) -> None:
        """Renew it on the way to a write, where no thread can do so: a rest may outlast it, and then anyone may take it."""
        if time.monotonic() - self._renewed >= HEARTBEAT:
            self._store.renew(self._session, token, SECONDS)
            self._renewed = time.monotonic()

    def _beat(self, token: int) -> None:
        while not self._released.wait(HEARTBEAT) and token == self._token:
            try:
                self._store.renew(self._session, token, SECONDS)
            except (SessionBusyError, SessionClosedError):  # taken over or deleted: the next write says so
                return
            except NbsessionError:  # out of reach for now: the lease may outlast that
                continue
