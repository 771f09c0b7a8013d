"""A thread that listens to a server for as long as somebody wants to be told."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from nbsession.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AGAIN = 1.0
"""Seconds between two attempts to reach a server that was lost."""


class Line(Protocol):
    """A connection on which the ids of sessions come. What it meets is a ``StoreError``."""

    def heard(self) -> Iterator[str]:
        """Give each id as it comes; ends after ``hang_up``."""
        ...

    def hang_up(self) -> None:
        """End ``heard``, from another thread."""
        ...

    def close(self) -> None:
        """Let go of the connection, when nobody is in ``heard``."""
        ...


class Listener:
    """The ``Notifier`` of a server: ``dial`` opens a line, and each ``listen`` has one of its own."""

    def __init__(self, dial: Callable[[], Line]) -> None:
        self._dial = dial

    @contextmanager
    def listen(self, on_change: Callable[[str], None]) -> Iterator[None]:
        """See ``Notifier``. Raises ``StoreError`` where the server cannot be reached when the block begins."""
        ear = _Ear(self._dial, on_change)
        try:
            yield
        finally:
            ear.close()


class _Ear:
    """One listening thread and its line, dialled anew when it was lost."""

    def __init__(self, dial: Callable[[], Line], on_change: Callable[[str], None]) -> None:
        self._dial = dial
        self._on_change = on_change
        self._line = dial()
        self._closed = threading.Event()
        self._lock = threading.Lock()  # on the line, which is not changed for another once this is closed
        self._thread = threading.Thread(target=self._run, name="nbsession-listen", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            with suppress(StoreError):
                for session in self._line.heard():
                    self._on_change(session)
            self._line.close()
            if not self._redial():
                return
            self._on_change("")

    def _redial(self) -> bool:
        """Open another line, however long that takes; return whether there is one, and not closed meanwhile."""
        while not self._closed.is_set():
            with suppress(StoreError):
                line = self._dial()
                with self._lock:
                    if not self._closed.is_set():
                        self._line = line
                        return True
                line.close()
                return False
            self._closed.wait(AGAIN)
        return False

    def close(self) -> None:
        with self._lock:
            self._closed.set()
            self._line.hang_up()
        self._thread.join()
