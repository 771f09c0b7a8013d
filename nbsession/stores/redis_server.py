"""What is particular to a Redis server: its URL, its errors, how it tells of changes, what it promises to keep."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from nbsession.errors import StoreError
from nbsession.stores.place import REDIS_SCHEMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis
    from redis.exceptions import RedisError

PREFIX = "nbsession:"
"""What the keys of a store begin with where nothing else is said."""

ELSEWHERE = "give RedisStore() another URL"
"""What to do where a server cannot be used; it follows from where its URL was given."""

SECONDS = 10.0
"""How long an answer is waited for, if the URL has no ``socket_timeout``."""

_WRITE = "write redis://host:6379/0, rediss://… with TLS or unix:///path/of/redis.sock"

# By the names of redis-py's errors and words of the server's, what they mean and what to do; the first that fits
# counts. Older releases of redis-py have no names for some.
_REMEDIES = {
    "AuthenticationError": (
        "refuses the name or password, or wants one",
        "give them in the URL, as redis://name:password@host:6379/0, percent-encoded; the name may be left out",
    ),
    "NoPermissionError": (
        "does not let this user do that",
        "let it use the keys, channels and scripts of the store's prefix (ACL SETUSER), or {elsewhere}",
    ),
    "ReadOnlyError": (
        "is a replica that may only be read",
        "name the primary, or {elsewhere}; nothing of this was kept",
    ),
    "OutOfMemoryError": (
        "has no memory left",
        "raise its maxmemory or free some, and try again; nothing of this was kept, and all before it is there",
    ),
    "BusyLoadingError": ("is still reading its data from disk", "try again in a moment"),
    "MasterDownError": (
        "is a replica that lost its primary",
        "name the primary, or try again when they are connected",
    ),
    "MISCONF": (
        "takes no writes, for it cannot write its data to disk",
        "see its log and the free space of its disk; nothing of this was kept",
    ),
    "WRONGTYPE": (
        "has a key of another program where the store has one",
        "choose another prefix, as by redis://host:6379/0?prefix=sessions: or RedisStore(url, prefix=…)",
    ),
    "ClusterCrossSlotError CROSSSLOT": (
        "is a cluster, where one append can reach only keys of one slot",
        "give a prefix with a hash tag, as RedisStore(url, prefix='{{nbsession}}:')",
    ),
    "MovedError MOVED": (
        "is a cluster, which keeps the store's slot on another of its servers",
        "name that server, or one that is in no cluster",
    ),
    "ClusterDownError CLUSTERDOWN": (
        "is a cluster that does not work",
        "see CLUSTER INFO, and try again when it is up",
    ),
    "NOREPLICAS": (
        "takes no writes without its replicas",
        "see that they run (min-replicas-to-write), and try again; nothing of this was kept",
    ),
    "BUSY": (
        "is busy with a script of somebody's",
        "try again when that has ended, or end it by SCRIPT KILL",
    ),
    "TimeoutError": (
        "gives no answer in time",
        "see that it can be reached and is not busy with something long, and try again",
    ),
    "ConnectionError": (
        "cannot be reached",
        "see that the server runs and that host, port or path are right, or {elsewhere}",
    ),
}


class Place(NamedTuple):
    """Where a store lies: the URL for redis-py, the prefix of its keys, and what errors call it, without a password."""

    url: str
    prefix: str
    location: str
    database: str

    @property
    def channel(self) -> str:
        """Where changes are told; a server's channels are not a database's own."""
        return f"{self.prefix}changes:{self.database}"


def place(url: str, prefix: str | None) -> Place:
    """Take the prefix out of a URL and find what to call it; one that cannot be used is a ``StoreError``.

    That shows nothing of it: where it is not understood, a part of it may be of a password.
    """
    scheme, colon, _ = str(url).partition("://")
    if not colon or scheme not in REDIS_SCHEMES:
        raise StoreError(f"no Redis server for {scheme if colon else 'what is no URL'!r}: {_WRITE}")
    parts = _split(url)
    database = parts.path.strip("/") if scheme != "unix" else ""
    options = parse_qsl(parts.query, keep_blank_values=True)
    found = prefix if prefix is not None else dict(options).get("prefix", PREFIX)
    name, at, host = parts.netloc.rpartition("@")
    shown = f"{name.partition(':')[0]}:***@" if ":" in name else f"{name}{at}"
    chosen = dict(options).get("db", "")
    number = f"?db={chosen}" if chosen else ""
    suffix = "" if found == PREFIX else f"{'&' if number else '?'}prefix={quote(found, safe=':{}')}"
    query = urlencode([(key, value) for key, value in options if key != "prefix"])
    return Place(
        f"{scheme}://{parts.netloc}{parts.path}?{query}",
        found,
        f"{scheme}://{shown}{host}{parts.path}{number}{suffix}",
        chosen or database or "0",
    )


def _split(url: str) -> SplitResult:
    with suppress(ValueError):  # of a port that is no number
        parts = urlsplit(url)
        beyond = {*parts.path, *parts.query, *(parts.fragment and "#")}
        database = "" if parts.scheme == "unix" else parts.path.strip("/")
        if parts.port != 0 and not beyond & {"@", "#"} and (database.isdecimal() or not database):
            return parts
    raise StoreError(
        f"the {url.partition('://')[0]}:// URL cannot be understood: {_WRITE}; in a name or password write %40 for "
        "@, %2F for / and the like"
    )


def client(place: Place, *, retries: int = 2) -> Redis:
    """Return a client that connects when it is first used, and tries again where a connection was lost.

    So an append may come twice: the second time it is known to be kept.
    """
    try:
        from redis import Redis
        from redis.backoff import ExponentialBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise StoreError(
            f'{place.location} needs a driver: pip install "nbsession[redis]"', location=place.location
        ) from error
    timing: dict[str, Any] = {
        "socket_timeout": SECONDS,
        "retry": Retry(ExponentialBackoff(0.2, 0.05), retries),
    }
    if not place.url.startswith("unix"):
        timing |= {"socket_connect_timeout": SECONDS, "socket_keepalive": True}
    try:
        return Redis.from_url(place.url, protocol=2, **timing)
    except ValueError as error:  # it names the option, and not its value
        raise StoreError(
            f"{place.location} cannot be used: {error} {_WRITE}", location=place.location
        ) from error


def explain(error: RedisError, location: str, elsewhere: str) -> str:
    """Say what an error means for the store and what to do about it; see ``ELSEWHERE``."""
    cause = " ".join(str(error).split())  # one line, for those that show errors in one
    cause = cause.rpartition(" caused error: ")[2].partition(" script: ")[0]
    said = {*cause.split(), *(kind.__name__ for kind in type(error).__mro__)}
    for words, (state, advice) in _REMEDIES.items():
        if said & set(words.split()):
            return f"{location} {state} ({cause}): {advice.format(elsewhere=elsewhere)}"
    return (
        f"{location} refused this ({cause}): see its log, and that it is a Redis server of version 5 or later"
    )


@contextmanager
def typed(location: str, elsewhere: str) -> Iterator[None]:
    """Turn redis-py's errors into ours, with the location and what to do."""
    from redis.exceptions import RedisError

    try:
        yield
    except RedisError as error:
        raise StoreError(explain(error, location, elsewhere), location=location) from error
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise StoreError(
            f"{location} cannot be used: its URL has an option that redis-py does not know ({error})",
            location=location,
        ) from error


def dial(place: Place, elsewhere: str) -> RedisLine:
    """Open a line, on a connection of its own that is not opened again by itself: what came meanwhile would be missed."""
    return RedisLine(client(place, retries=0), place, elsewhere)


class RedisLine:
    """A connection that is subscribed to the channel of a store."""

    def __init__(self, client: Redis, place: Place, elsewhere: str) -> None:
        self._typed = partial(typed, place.location, elsewhere)
        self._client = client
        self._subscription = client.pubsub()  # type: ignore[no-untyped-call]  # redis-py's own
        try:
            with self._typed():
                self._subscription.subscribe(place.channel)
                self._subscription.get_message(timeout=SECONDS)  # the server's word that it is
        except BaseException:
            self.close()
            raise

    def heard(self, seconds: float) -> list[str]:
        with self._typed():
            message = self._subscription.get_message(timeout=seconds)
        return [message["data"].decode()] if message is not None and message["type"] == "message" else []

    def close(self) -> None:
        self._subscription.close()
        self._client.close()


def notes(client: Redis, location: str) -> tuple[str, ...]:
    """Say what of the server's settings puts what it keeps at risk; nothing where it does not tell them."""
    from redis.exceptions import ResponseError

    try:
        # One by one: before version 7 it takes no more.
        found = {
            name: str(client.config_get(name).get(name, ""))
            for name in ("appendonly", "save", "maxmemory", "maxmemory-policy")
        }
    except ResponseError:  # hosted servers often keep their settings to themselves
        return ()
    said = []
    if found["appendonly"] == "no" and not found["save"]:
        said.append(
            f"{location} writes nothing to disk: all sessions are lost when that server ends; set its appendonly to "
            "yes to keep them"
        )
    elif found["appendonly"] == "no":
        said.append(
            f"{location} writes to disk only now and then (save {found['save']}): what came since is lost when "
            "that server is killed; set its appendonly to yes to keep all but the last second"
        )
    if found["maxmemory-policy"].startswith("allkeys") and found["maxmemory"] != "0":
        said.append(
            f"{location} may drop sessions when its memory is full (maxmemory-policy {found['maxmemory-policy']}): set "
            "that to noeviction to be refused a write instead"
        )
    return tuple(said)
