"""The contract between a session and whatever keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Row:
    """One fact about a session, never changed once kept.

    ``kind`` is ``"session"``, ``"entry"``, ``"head"``, ``"execution"``,
    ``"tick"``, ``"state"`` or ``"event"``; ``key`` says which one of that
    kind; ``data`` is plain JSON. A later row of the same kind and key
    supersedes the earlier one, which is kept all the same.
    """

    kind: str
    key: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as a list shows it. Times are in seconds since the epoch.

    ``metadata`` and ``parent`` are those in the data of its latest row of kind
    ``"session"``.
    """

    id: str
    created: float
    updated: float
    revision: int
    metadata: Mapping[str, Any]
    parent: str | None = None


class SessionStore(Protocol):
    """Keeps sessions as append-only rows, and long texts once, by content hash.

    Synchronous: a session calls it from one writer thread. Every method may
    raise ``StoreError`` (typed, with the location and what to do). ``blocking``
    is False where a call costs no input or output, so that no thread is needed.
    """

    blocking: bool

    def append(
        self, session: str, rows: Sequence[Row], texts: Mapping[str, str] | None = None, *, revision: int
    ) -> int:
        """Keep ``rows`` and ``texts`` (digest to text) in one transaction; return the new revision.

        ``revision`` is the number of rows kept so far, as the caller knows it
        (0 creates the session). Another number in the store means that
        somebody else wrote: ``SessionBusyError``, and nothing is kept. A row
        that is not JSON is a ``StoreError`` naming it, and nothing is kept
        either. A digest that is there already keeps its text. Without rows,
        texts alone are kept and no session is made.
        """
        ...

    def load(self, session: str) -> list[Row] | None:
        """Return all rows in the order they were appended, or ``None`` for an unknown session."""
        ...

    def texts(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the kept texts of these digests; a missing one is a ``StoreError``."""
        ...

    def sessions(self) -> list[SessionInfo]:
        """List the sessions, the last updated first."""
        ...

    def close(self) -> None:
        """Release files and connections; a second call does nothing."""
        ...
