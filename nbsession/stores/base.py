"""The contract between a session and whatever keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager


class Row(NamedTuple):
    """One fact about a session, never changed once kept.

    ``kind`` is ``"session"``, ``"entry"``, ``"head"``, ``"fork"``, ``"execution"``,
    ``"tick"``, ``"partial"``, ``"state"``, ``"policy"``, ``"event"`` or ``"events"``;
    ``key`` says which one of that kind; ``data`` is plain JSON. A later row of the
    same kind and key supersedes the earlier one, which is kept all the same.
    """

    kind: str
    key: str
    data: Mapping[str, Any]


class Append(NamedTuple):
    """What ``SessionStore.append`` is given."""

    session: str
    rows: Sequence[Row]
    texts: Mapping[str, str]
    revision: int
    token: int | None


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

    @property
    def place(self) -> tuple[float, str]:
        """Where it stands in the list: what a next page comes after."""
        return self.updated, self.id


class Notifier(Protocol):
    """Tells that sessions have new events, whichever process wrote them."""

    def listen(self, on_change: Callable[[str], None]) -> AbstractContextManager[None]:
        """Call ``on_change`` with a session's id after each append of rows of kind ``"events"``, until the block ends.

        Listens already where the block begins: what is appended from then on is told. The
        calls come one by one, on a thread of their own, and must not raise. One with ``""``
        says that some may have been missed, in any session: the connection was lost, and is
        back.
        """
        ...


class SessionStore(Protocol):
    """Keeps sessions as append-only rows, and long texts once, by content hash.

    Synchronous: a session calls it from one writer thread. A store whose writers would
    wait for each other may have ``append_together(appends)`` besides: it takes a list of
    ``Append`` and returns, for each, its new revision or its error, as if it had come alone.
    Then one thread writes for all sessions, and hands in at once what came at once. It is left
    alone where a subclass or the object itself has another ``append``. Every method may
    raise ``StoreError`` (typed, with the location and what to do). ``blocking``
    is False where a call costs no input or output, so that no thread is needed.
    ``notifier`` is None where other processes' writes are not told, and ``notes``
    are sentences for the user: what puts at risk that things stay kept.

    A writer that may not be the only one holds a lease: it acquires a token,
    appends with it and renews it before it expires. Reading needs none. Times are
    those of the store's clock: the database server's, or where there is no server
    that of the writer's machine. Machines that share a file must agree on the time
    to within the part of a lease that is left at each renewal; where they don't,
    an owner may lose its lease too early, but the token still keeps it from
    writing afterwards.
    """

    blocking: bool

    @property
    def notifier(self) -> Notifier | None: ...

    @property
    def notes(self) -> Sequence[str]: ...

    def append(
        self,
        session: str,
        rows: Sequence[Row],
        texts: Mapping[str, str] | None = None,
        *,
        revision: int,
        token: int | None = None,
    ) -> int:
        """Keep ``rows`` and ``texts`` (digest to text) in one transaction; return the new revision.

        ``revision`` is the number of rows kept so far, as the caller knows it
        (0 creates the session). Another number in the store means that
        somebody else wrote: ``SessionBusyError``, and nothing is kept. A row
        that is not JSON is a ``StoreError`` naming it, and nothing is kept
        either. A digest that is there already keeps its text. Without rows,
        texts alone are kept and no session is made. A text stays as long as a session that
        it was given with: rows may refer to texts of their own session, and of those whose past it shares.
        A session whose first row is of kind ``"session"`` with ``shares``, an id and a number of
        rows, is a fork that has the first rows of that other session as its past; where they
        are not there it is a ``SessionClosedError``. A session that was deleted, which ``revision`` tells
        where it is not 0, or ``token``, is a ``SessionClosedError``. With a ``token`` that is not
        the session's latest, the late write of one whose lease was taken over, it
        is a ``SessionBusyError`` too; an expired lease that nobody took over is
        still good.
        """
        ...

    def load(self, session: str, last_of: Iterable[str] = ()) -> list[Row] | None:
        """Return all rows in the order they were appended, or ``None`` for an unknown session.

        Of each kind in ``last_of`` only the last row, for one who needs no more of it.
        """
        ...

    def revision(self, session: str) -> int:
        """Return the number of rows kept so far, 0 for an unknown session."""
        ...

    def rows(
        self, session: str, after: int = 0, kinds: Iterable[str] | None = None, limit: int | None = None
    ) -> Iterator[tuple[int, Row]]:
        """Give the rows after revision ``after`` with their revisions, the first of which is 1, a page at a time.

        Only those of ``kinds``, and at most ``limit`` of them. Rows that are
        appended meanwhile come too, in whole appends. An unknown session has none.
        """
        ...

    def acquire(self, session: str, owner: str, seconds: float, *, revision: int | None = None) -> int:
        """Take the session's lease for so many seconds and return its token, greater than any before.

        The session need not be there yet. ``owner`` is for people to read, such as
        "process 4711 on host-a". While another owner's lease has not expired:
        ``SessionBusyError`` that names it, unless the store can tell that the
        process has ended. The same owner gets a new token, and its old one is void.
        With a ``revision`` other than the store's the lease stays as it is too: who
        could not append anyway takes it from nobody.
        """
        ...

    def holder(self, session: str) -> str:
        """Return the owner who holds the session's lease now, as ``acquire`` would name it; ``""`` for nobody."""
        ...

    def renew(self, session: str, token: int, seconds: float) -> None:
        """Let the lease last from now for so many seconds, also when it expired and nobody took it over.

        ``SessionBusyError`` where somebody did; ``SessionError`` after its release, ``SessionClosedError``
        where the session was deleted.
        """
        ...

    def release(self, session: str, token: int) -> None:
        """Let go of the lease; a token that is no longer the latest does nothing."""
        ...

    def texts(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the kept texts of these digests; a missing one is a ``StoreError``."""
        ...

    def sessions(
        self, *, after: tuple[float, str] | None = None, limit: int | None = None
    ) -> list[SessionInfo]:
        """List the sessions, the last updated first: all, or a page.

        A page has at most ``limit``, those that follow ``after``, the ``place`` of the
        last one before. It costs the same however many there are. What is updated
        meanwhile moves to the front, and so may be missing on the pages to come; none
        comes twice.
        """
        ...

    def delete(self, sessions: Sequence[str]) -> None:
        """Delete sessions for good, all of them or none, in one transaction.

        Their rows and leases go, and each text that no other session was given. An id that
        is not there is a ``SessionNotFoundError``, one that another process holds a
        ``SessionBusyError`` that names it, and one that is the past of forks, unless they go
        too, a ``SessionError`` that names them. Who still has one of the sessions open is told by a
        ``SessionClosedError`` at the next write; a session that begins anew under the id is none of theirs.
        """
        ...

    def close(self) -> None:
        """Release files and connections; a second call does nothing."""
        ...


def together(store: SessionStore) -> Callable[[Sequence[Append]], list[int | Exception]] | None:
    """Return a store's ``append_together``, ``None`` where it has none, or an ``append`` that this would go past."""
    owner = next((kind for kind in type(store).__mro__ if "append_together" in vars(kind)), None)
    if owner is None or getattr(store.append, "__func__", None) is not owner.__dict__.get("append"):
        return None
    taken: Callable[[Sequence[Append]], list[int | Exception]] | None = getattr(store, "append_together")  # noqa: B009
    return taken


def lacking(store: object) -> list[str]:
    """Return what a store of somebody else's does not have of the protocol, by name."""
    wanted = {*vars(SessionStore), *SessionStore.__annotations__}
    return sorted(name for name in wanted if not name.startswith("_") and not hasattr(store, name))
