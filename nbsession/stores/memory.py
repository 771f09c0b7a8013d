"""A store that lasts as long as its object."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from nbsession.stores import every
from nbsession.stores.base import Row, SessionInfo
from nbsession.stores.lease import Lease, check_request, check_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_PAGE = 1_000


@dataclass(slots=True)
class _Kept:
    created: float
    updated: float = 0.0
    description: every.Description = field(default_factory=every.Description)
    rows: list[str] = field(default_factory=list)


class MemoryStore:
    """Keeps sessions in this process, and gives them back as a database would.

    Rows are kept as JSON text: what could not be written to a file is refused
    here too, and nobody can change a row after the fact. ``close`` does
    nothing, since a store that is dropped is gone anyway.
    """

    blocking = False
    notifier = None
    notes = ()

    def __init__(self) -> None:
        self._sessions: dict[str, _Kept] = {}
        self._texts: dict[str, str] = {}
        self._uses: dict[str, set[str]] = {}  # of each text, the sessions that it was given with
        self._leases: dict[str, Lease] = {}
        self._last_token = 0  # of leases that are gone
        self._clock = every.Clock()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._sessions)} sessions)"

    def append(
        self,
        session: str,
        rows: Sequence[Row],
        texts: Mapping[str, str] | None = None,
        *,
        revision: int,
        token: int | None = None,
    ) -> int:
        encoded = every.encode_rows(session, rows)
        description = every.describe(session, rows)
        fresh = {every.plain(digest, "a digest"): text for digest, text in (texts or {}).items()}
        with self._lock:
            if token is not None:
                self._lease(session).check_token(session, token, writes=True)
            self._expect(session, revision)
            if description is not None and description.shares is not None:
                self._check_past(session, description.shares)
            for digest, text in fresh.items():
                self._texts.setdefault(digest, text)
                self._uses.setdefault(digest, set()).add(session)
            if not encoded:
                return revision
            now = self._clock.now()
            kept = self._sessions.pop(session, None) or _Kept(created=now)
            self._sessions[session] = kept  # they stand in the order in which they were updated
            kept.rows += encoded
            kept.updated = now
            if description is not None:
                shares = description.shares or kept.description.shares
                kept.description = replace(description, shares=shares)
            return len(kept.rows)

    def load(self, session: str, last_of: Iterable[str] = ()) -> list[Row] | None:
        with self._lock:
            kept = self._sessions.get(session)
            lines = list(kept.rows) if kept else None
        if lines is None:
            return None
        places = every.last_of(lines, last_of)
        return every.decode_rows(session, [lines[place] for place in places], places)

    def revision(self, session: str) -> int:
        with self._lock:
            kept = self._sessions.get(session)
            return len(kept.rows) if kept else 0

    def rows(
        self, session: str, after: int = 0, kinds: Iterable[str] | None = None, limit: int | None = None
    ) -> Iterator[tuple[int, Row]]:
        wanted = None if kinds is None else tuple(map(every.beginning, kinds))
        after, left = max(after, 0), sys.maxsize if limit is None else limit
        while left > 0:
            with self._lock:
                kept = self._sessions.get(session)
                page = kept.rows[after : after + _PAGE] if kept else []
            if not page:
                return
            found = [
                (n, line)
                for n, line in enumerate(page, after + 1)
                if wanted is None or line.startswith(wanted)
            ]
            numbers = [number for number, _ in found[:left]]
            decoded = every.decode_rows(session, [line for _, line in found[:left]], numbers)
            yield from zip(numbers, decoded, strict=True)
            left -= len(numbers)
            after += len(page)

    def acquire(self, session: str, owner: str, seconds: float, *, revision: int | None = None) -> int:
        check_request(owner, seconds)
        with self._lock:
            now, before = time.time(), self._lease(session)
            before.check_free(session, owner, now)
            if revision is not None:
                self._expect(session, revision)
            token = (before.token or self._last_token) + 1
            self._leases[session] = Lease(token, owner, now, now + seconds)
            return token

    def holder(self, session: str) -> str:
        with self._lock:
            lease = self._lease(session)
        return lease.owner if lease.held(time.time()) else ""

    def renew(self, session: str, token: int, seconds: float) -> None:
        check_seconds(seconds)
        with self._lock:
            lease = self._lease(session)
            lease.check_renewable(session, token)
            self._leases[session] = replace(lease, expires=time.time() + seconds)

    def release(self, session: str, token: int) -> None:
        with self._lock:
            if self._lease(session).token == token:
                self._leases[session] = Lease(token)

    def delete(self, sessions: Sequence[str]) -> None:
        ids = every.to_delete(sessions)
        with self._lock:
            self._check_deletable(ids)
            for session in ids:
                del self._sessions[session]
                self._last_token = max(self._last_token, self._leases.pop(session, Lease()).token)
            for digest, users in list(self._uses.items()):
                users.difference_update(ids)
                if not users:
                    del self._uses[digest], self._texts[digest]

    def _check_deletable(self, ids: Sequence[str]) -> None:
        if missing := [session for session in ids if session not in self._sessions]:
            raise every.unknown(missing, "memory")
        now = time.time()
        for session in ids:
            self._lease(session).check_deletable(session, now)
        forks: dict[str, list[str]] = {}
        for fork, kept in self._sessions.items():
            if kept.description.shares is not None and fork not in ids:
                forks.setdefault(kept.description.shares[0], []).append(fork)
        for session in ids:
            if session in forks:
                raise every.shared(session, forks[session])

    def _check_past(self, session: str, shares: tuple[str, int]) -> None:
        past = self._sessions.get(shares[0])
        count = len(past.rows) if past else 0
        if count < shares[1]:
            raise every.without_past(session, shares, count, "memory")

    def _info(self, session: str) -> SessionInfo:
        kept = self._sessions[session]
        return SessionInfo(
            id=session,
            created=kept.created,
            updated=kept.updated,
            revision=len(kept.rows),
            metadata=every.decode(kept.description.metadata, f"metadata of session {session!r}"),
            parent=kept.description.parent,
        )

    def _expect(self, session: str, revision: int) -> None:
        kept = self._sessions.get(session)
        count = len(kept.rows) if kept else 0
        if revision != count:
            raise every.conflict(session, revision, count)

    def _lease(self, session: str) -> Lease:
        return self._leases.get(session) or Lease()

    def texts(self, digests: Iterable[str]) -> dict[str, str]:
        wanted = list(digests)
        with self._lock:
            found = {digest: self._texts[digest] for digest in wanted if digest in self._texts}
        if missing := [digest for digest in wanted if digest not in found]:
            raise every.absent(missing, "memory")
        return found

    def sessions(
        self, *, after: tuple[float, str] | None = None, limit: int | None = None
    ) -> list[SessionInfo]:
        with self._lock:
            following = (
                session
                for session, kept in reversed(self._sessions.items())
                if after is None or (kept.updated, session) < after
            )
            return [self._info(session) for session in islice(following, limit)]

    def close(self) -> None:
        """Do nothing: there is no file or connection to release."""
