"""A store in a Redis server, or in one that speaks its language, as Valkey does."""

from __future__ import annotations

import sys
import weakref
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from nbsession.errors import StoreError
from nbsession.stores import every, redis_server
from nbsession.stores.base import Row, SessionInfo
from nbsession.stores.lease import Lease, check_request, check_seconds, this_process
from nbsession.stores.listening import Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from redis.client import Pipeline

T = TypeVar("T")

VERSION = "1"
"""How the keys are laid out; a store of another version is refused."""

_APPEND = Path(__file__).with_name("redis_append.lua")
_DELETE = Path(__file__).with_name("redis_delete.lua")
_PAGE = 1_000
_DIGESTS_AT_ONCE = 500
_LEASE = ("token", "owner", "since", "expires", "process")


class RedisStore:
    """Keeps sessions in the Redis server at ``url``: ``redis://…``, ``rediss://…`` with TLS or ``unix://…``.

    Its keys begin with ``prefix``, else with that of the URL (``?prefix=…``), else with
    ``nbsession:``; stores with different prefixes don't meet. Of each session there are a
    hash ``session:<id>`` (what a list shows, and its lease), a list ``rows:<id>``, and the sets ``uses:<id>`` (of
    its texts) and ``forks:<id>``; of all of them the hash ``texts``, the sorted sets ``sessions`` and ``users``
    (whose each text is), and ``token``. An append is one step of the server, by a script, and so is a deletion. Where its answer was lost, the holder of the lease may send it
    again: it is kept once. Leases are timed by the server's clock. ``location`` is the URL
    without its password.

    **What is kept is what the server keeps.** With ``appendonly yes`` and the usual
    ``appendfsync everysec``, a power cut or a killed server takes the last second with it, or
    two, each append as a whole; with ``appendfsync always`` nothing is lost, and each append waits for
    the disk. With snapshots alone (``save …``) all since the last one is lost when the server is
    killed, and with neither everything when it ends. A server with a ``maxmemory`` and
    a policy of ``allkeys-…`` drops sessions when it is full, without a word; that a session has
    lost rows is told when it is read or written. Replication is asynchronous: a replica that takes over may
    lack the last appends. What was deleted stays in the append-only file until the server rewrites it
    (``BGREWRITEAOF``), and in snapshots until the next. ``notes`` names what of this the server's settings say.

    All of a store must be on one server. In a Redis Cluster a prefix with a hash tag, such as
    ``{nbsession}:``, puts all its keys into one slot; name a server that has it. ``elsewhere`` is
    what errors advise to have another place, for a caller who was not given ``url`` here.
    """

    blocking = True

    def __init__(
        self, url: str, *, prefix: str | None = None, elsewhere: str = redis_server.ELSEWHERE
    ) -> None:
        place = redis_server.place(url, prefix)
        self.location = place.location
        self._prefix, self._channel, self._elsewhere = place.prefix, place.channel, elsewhere
        self._client = redis_server.client(place)
        self._append = self._client.register_script(_APPEND.read_text("utf-8"))
        self._delete = self._client.register_script(_DELETE.read_text("utf-8"))
        self._release = weakref.finalize(self, self._client.connection_pool.disconnect)
        self.notifier = Listener(partial(redis_server.dial, place, elsewhere))
        try:
            self._prepare()
            with self._typed():
                self.notes = redis_server.notes(self._client, self.location)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"RedisStore({self.location!r})"

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
        described = _described(description, begins=revision == 0)
        shares = description.shares if description is not None else None
        channel = self._channel if every.tells(rows) else ""
        packed = [part for text in every.encode_texts(texts or {}).items() for part in text]
        held = "" if token is None else token
        keys = [self._session(session), self._rows(session), self._key("sessions"), self._key("texts")]
        keys += [self._key(f"uses:{session}"), self._key("users")]
        if shares is not None:
            keys += [self._session(shares[0]), self._forks(shares[0])]
        with self._typed():
            said, first, *more = self._append(
                keys=keys,
                args=[
                    session,
                    revision,
                    held,
                    described,
                    channel,
                    *(shares or ("", 0)),
                    len(encoded),
                    *encoded,
                    *packed,
                ],
            )
        if said == b"late":
            Lease(int(first), more[0].decode()).check_token(session, int(held), writes=True)
        if said == b"stale":
            raise every.conflict(session, revision, first)
        if said == b"cut":
            raise every.cut(session, first, more[0], self.location)
        if said == b"without past" and shares is not None:
            raise every.without_past(session, shares, first, self.location)
        return int(first)

    def load(self, session: str, last_of: Iterable[str] = ()) -> list[Row] | None:
        revision, lines = self._read(session, 0, -1)
        if len(lines) != revision:
            raise every.cut(session, revision, len(lines), self.location)
        if not revision:
            return None
        places = every.last_of(lines, last_of)
        numbers = [place + 1 for place in places]
        return every.decode_rows(session, [lines[place] for place in places], numbers, self.location)

    def revision(self, session: str) -> int:
        every.plain(session, "a session id")
        with self._typed():
            return int(cast("Any", self._client.hget(self._session(session), "revision")) or 0)

    def rows(
        self, session: str, after: int = 0, kinds: Iterable[str] | None = None, limit: int | None = None
    ) -> Iterator[tuple[int, Row]]:
        wanted = None if kinds is None else tuple(map(every.beginning, kinds))
        after, left = max(after, 0), sys.maxsize if limit is None else limit
        while left > 0:
            revision, page = self._read(session, after, after + _PAGE - 1)
            if len(page) < min(_PAGE, revision - after):
                raise every.gap(session, after + len(page) + 1, self.location)
            if not page:
                return
            found = [
                (n, line)
                for n, line in enumerate(page, after + 1)
                if wanted is None or line.startswith(wanted)
            ]
            numbers = [number for number, _ in found[:left]]
            decoded = every.decode_rows(session, [line for _, line in found[:left]], numbers, self.location)
            yield from zip(numbers, decoded, strict=True)
            left -= len(numbers)
            after += len(page)

    def acquire(self, session: str, owner: str, seconds: float, *, revision: int | None = None) -> int:
        check_request(every.plain(owner, "an owner"), seconds)

        def take(transaction: Pipeline, lease: Lease, now: float) -> int:
            lease.check_free(session, owner, now)
            if revision is not None:
                kept = int(cast("Any", transaction.hget(self._session(session), "revision")) or 0)
                if kept != revision:
                    raise every.conflict(session, revision, kept)
            last = int(cast("Any", transaction.get(self._key("token"))) or 0)
            transaction.multi()
            taken = Lease((lease.token or last) + 1, owner, now, now + seconds, this_process())
            transaction.hset(self._session(session), mapping={name: getattr(taken, name) for name in _LEASE})
            return taken.token

        return self._leased(session, take)

    def holder(self, session: str) -> str:
        def look(_: Pipeline, lease: Lease, now: float) -> str:
            return lease.owner if lease.held(now) else ""

        return self._leased(session, look)

    def renew(self, session: str, token: int, seconds: float) -> None:
        check_seconds(seconds)

        def last(transaction: Pipeline, lease: Lease, now: float) -> None:
            lease.check_renewable(session, token)
            transaction.multi()
            transaction.hset(self._session(session), "expires", repr(now + seconds))

        self._leased(session, last)

    def release(self, session: str, token: int) -> None:
        def let_go(transaction: Pipeline, lease: Lease, _: float) -> None:
            if lease.token == token:
                transaction.multi()
                transaction.hset(self._session(session), mapping={"owner": "", "expires": 0.0})

        self._leased(session, let_go)

    def texts(self, digests: Iterable[str]) -> dict[str, str]:
        wanted = [every.plain(digest, "a digest") for digest in digests]
        found: dict[str, str] = {}
        with self._typed():
            for start in range(0, len(wanted), _DIGESTS_AT_ONCE):
                some = wanted[start : start + _DIGESTS_AT_ONCE]
                texts = cast("list[bytes | None]", self._client.hmget(self._key("texts"), some))
                for digest, text in zip(some, texts, strict=True):
                    if text is not None:
                        found[digest] = every.decode_text(text, digest, self.location)
        if missing := [digest for digest in wanted if digest not in found]:
            raise every.absent(missing, self.location)
        return found

    def sessions(
        self, *, after: tuple[float, str] | None = None, limit: int | None = None
    ) -> list[SessionInfo]:
        # The time alone says where a page begins: no two sessions have the same.
        latest, most = "+inf" if after is None else f"({after[0]!r}", -1 if limit is None else limit
        listed: list[SessionInfo] = []
        with self._typed():
            places = self._client.zrevrangebyscore(
                self._key("sessions"), latest, "-inf", start=0, num=most, withscores=True
            )
            found = cast("list[tuple[bytes, float]]", places)
            for start in range(0, len(found), _PAGE):
                some = [(name.decode(), updated) for name, updated in found[start : start + _PAGE]]
                with self._client.pipeline(transaction=False) as reading:
                    for name, _ in some:
                        reading.hmget(self._session(name), "revision", "created", "description")
                    told = reading.execute()
                listed += [
                    self._info(*place, *values)
                    for place, values in zip(some, told, strict=True)
                    if values[0] is not None or self._lists(place[0])  # else it was deleted just now
                ]
        return listed

    def delete(self, sessions: Sequence[str]) -> None:
        ids = every.to_delete(sessions)

        def attempt(transaction: Pipeline) -> None:
            past = [self._deletable(transaction, session, ids) for session in ids]
            transaction.multi()
            keys = [self._key(name) for name in ("sessions", "texts", "users", "token")]
            for session, shared in zip(ids, past, strict=True):
                keys += [self._session(session), self._rows(session), self._key(f"uses:{session}")]
                keys += [self._forks(session), self._forks(shared or session)]
            self._delete(keys=keys, args=ids, client=transaction)

        watched = [key for session in ids for key in (self._session(session), self._forks(session))]
        if ids:
            with self._typed():
                self._client.transaction(cast("Any", attempt), *watched)

    def close(self) -> None:
        self._release()

    def _deletable(self, transaction: Pipeline, session: str, going: Sequence[str]) -> str | None:
        """Return the session whose past one shares that may be deleted; one that may not is an error."""
        key = self._session(session)
        revision, shared = cast("Any", transaction.hmget(key, "revision", "shares"))
        if revision is None:
            raise every.unknown([session], self.location)
        lease, now = self._lease(transaction, key)
        lease.check_deletable(session, now)
        forks = {fork.decode() for fork in cast("Any", transaction.smembers(self._forks(session)))}
        if staying := forks.difference(going):
            raise every.shared(session, list(staying))
        return shared.decode() if shared is not None else None

    def _info(
        self, session: str, updated: float, revision: bytes | None, created: bytes, description: bytes
    ) -> SessionInfo:
        if revision is None:
            raise StoreError(
                f"session {session!r} is listed and gone from {self.location}: restore the store from a copy",
                location=self.location,
            )
        what = f"the description of session {session!r}"
        metadata, parent = every.decode(description.decode(), what, self.location)
        return SessionInfo(session, float(created), updated, int(revision), metadata, parent)

    def _prepare(self) -> None:
        with self._typed():
            key = self._key("schema")
            found = self._client.get(key)
            if found is None:
                self._client.set(key, VERSION, nx=True)
                found = self._client.get(key)
        version = cast("bytes", found).decode(errors="replace")
        if version.isdecimal() and int(version) > int(VERSION):
            raise StoreError(
                f"{self.location} was written by a newer nbsession (schema {version}, this one knows {VERSION}): "
                "upgrade with pip install --upgrade nbsession, or choose another prefix",
                location=self.location,
            )
        if version != VERSION:
            raise StoreError(
                f"{self.location} has a key {key!r} that is no session store's: choose another prefix",
                location=self.location,
            )

    def _leased(self, session: str, step: Callable[[Pipeline, Lease, float], T]) -> T:
        """Take a step with the session's lease and the server's time, again if the lease was changed meanwhile.

        What the step asks for after ``multi`` is done if nobody else changed the session's hash.
        """
        key = self._session(every.plain(session, "a session id"))

        def attempt(transaction: Pipeline) -> T:
            return step(transaction, *self._lease(transaction, key))

        with self._typed():
            # Declared for a callable without a value, which is then the transaction's answers.
            return cast("T", self._client.transaction(cast("Any", attempt), key, value_from_callable=True))

    def _lease(self, transaction: Pipeline, key: str) -> tuple[Lease, float]:
        """Return the lease in a session's hash, and the server's time."""
        token, owner, since, expires, process = cast("Any", transaction.hmget(key, *_LEASE))
        seconds, microseconds = cast("Any", transaction.time())
        lease = Lease()
        if token is not None:
            lease = Lease(int(token), owner.decode(), float(since), float(expires), process.decode())
        return lease, seconds + microseconds / 1e6

    def _lists(self, session: str) -> bool:
        return self._client.zscore(self._key("sessions"), session) is not None

    def _read(self, session: str, first: int, last: int) -> tuple[int, list[str]]:
        """Return a session's revision, and its lines from one place to another as far as that.

        Not as one transaction, which a server without memory refuses: rows are only ever added, or all gone.
        """
        every.plain(session, "a session id")
        with self._typed(), self._client.pipeline(transaction=False) as reading:
            reading.hget(self._session(session), "revision")
            reading.lrange(self._rows(session), first, last)
            revision, found = reading.execute()
        if revision is None and found:
            if self.revision(session):  # it was begun just now
                return self._read(session, first, last)
            raise every.cut(session, 0, len(found), self.location)
        kept = int(revision or 0)
        if kept > first and not found and not self.revision(session):  # it was deleted just now
            return 0, []
        try:
            return kept, [line.decode() for line in found[: max(kept - first, 0)]]
        except UnicodeDecodeError as error:
            raise every.damaged(f"session {session!r}", self.location, error) from error

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _session(self, session: str) -> str:
        return self._key(f"session:{session}")

    def _rows(self, session: str) -> str:
        return self._key(f"rows:{session}")

    def _forks(self, session: str) -> str:
        return self._key(f"forks:{session}")

    @contextmanager
    def _typed(self) -> Iterator[None]:
        """Turn the server's errors into ours, with the location and what to do."""
        if not self._release.alive:
            raise StoreError(f"the store {self.location} was closed: open it again", location=self.location)
        with redis_server.typed(self.location, self._elsewhere):
            yield


def _described(description: every.Description | None, *, begins: bool) -> str:
    """Return what describes a session now, as JSON of metadata and parent; ``""`` where that stays as it is."""
    if description is None and not begins:
        return ""
    said = description or every.Description()
    return f"[{said.metadata},{every.encode(said.parent, 'a parent')}]"
