"""A thread that listens to a server for as long as somebody wants to be told."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from nbsession.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK = 0.2
"""Seconds that a listening thread waits at a time, and so the longest that the end of listening takes."""
AGAIN = 1.0
"""Seconds between two attempts to reach a server that was lost."""


class Line(Protocol):
    """A connection on which the ids of sessions come, used by one thread. What it meets is a ``StoreError``."""

    def heard(self, seconds: float) -> list[str]:
        """Wait at most so long, and return the ids that came as soon as there are some."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
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
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(dial(),), name="nbsession-listen", daemon=True
        )
        self._thread.start()

    def _run(self, line: Line | None) -> None:
        while line is not None:
            with suppress(StoreError):
                while not self._closed.is_set():
                    for session in line.heard(LOOK):
                        self._on_change(session)
            line.close()
            line = self._redial()
            if line is not None:
                self._on_change("")

    def _redial(self) -> Line | None:
        """Open another line, however long that takes; ``None`` when this is closed."""
        while not self._closed.is_set():
            with suppress(StoreError):
                return self._dial()
            self._closed.wait(AGAIN)
        return None

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
