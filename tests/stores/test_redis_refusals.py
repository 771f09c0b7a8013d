"""A Redis server that cannot be used is named, with what to do and without its password, and nothing is destroyed."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest
import redis

from nbsession import App, SessionError
from nbsession.errors import StoreError
from nbsession.stores import RedisStore, Row, SqlStore, default_store
from tests.support import redis as support
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS = [Row("entry", f"{number}", {"text": "kept"}) for number in range(10)]


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    """Return a store with one session of ten rows and a text."""
    opened = RedisStore(redis_url)
    opened.append("s", ROWS, {"d": "a text"}, revision=0)
    yield opened
    opened.close()


@pytest.fixture
def client(redis_server: support.Server) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as opened:
        yield opened


def key(store: RedisStore, name: str) -> str:
    return f"{store.location.partition('prefix=')[2]}{name}"


@contextmanager
def refused(advice: str, *secrets: str) -> Iterator[pytest.ExceptionInfo[StoreError]]:
    """Expect a StoreError of one sentence that gives the advice, and shows no secret."""
    with pytest.raises(StoreError, match=advice) as failure:
        yield failure
    said = str(failure.value)
    assert "\n" not in said
    assert failure.value.location in said
    assert [secret for secret in secrets if secret in said + failure.value.location] == []


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:secret@127.0.0.1:1/0",
        "redis://:secret@127.0.0.1:1",
        "rediss://127.0.0.1:1/0?password=secret",
    ],
)
def test_a_refused_connection_is_told_without_the_password(url: str) -> None:
    with refused(r"127\.0\.0\.1:1.* cannot be reached \(.*\): see that the server runs", "secret") as failure:
        RedisStore(url)
    assert failure.value.location.partition("@")[0] in (
        "redis://ann:***",
        "redis://:***",
        "rediss://127.0.0.1:1/0",
    )


def test_the_advice_fits_where_the_url_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with refused(r"or give RedisStore\(\) another URL"):
        RedisStore("unix:///nowhere/redis.sock")
    monkeypatch.setenv("NBSESSION_STORE", "unix:///nowhere/redis.sock")
    with refused(r"or set \$NBSESSION_STORE to another place"):
        default_store()


def test_a_wrong_password_and_none_are_told(tmp_path: object) -> None:
    with support.server("--requirepass", "right-one", "--appendonly", "yes") as server:
        path = server.url.removeprefix("unix://")
        with refused("refuses the name or password, or wants one .*: give them in the URL", "right-one"):
            RedisStore(server.url)
        for url in (f"unix://:wrong-one@{path}", f"unix://ann:wrong-one@{path}"):
            with refused("refuses the name or password", "wrong-one"):
                RedisStore(url)
        store = RedisStore(f"unix://:right-one@{path}")
        assert store.location == f"unix://:***@{path}"
        assert "right-one" not in repr(store)
        store.close()


def test_a_user_who_may_not_write_is_told_what_to_be_allowed() -> None:
    with support.server() as server:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("ACL SETUSER reader on >word ~nbsession:* +get +hget +lrange")
        RedisStore(server.url).append("s", ROWS, revision=0)
        store = RedisStore(server.url.replace("unix://", "unix://reader:word@"))
        assert store.load("s") == ROWS
        with refused("does not let this user do that .*ACL SETUSER", "word@"):
            store.append("s", ROWS, revision=10)
        store.close()


def test_a_replica_can_be_read_and_refuses_to_be_written() -> None:
    with support.server() as replica:
        with redis.Redis.from_url(replica.url) as client:
            # Whom it follows matters to nobody who reads.
            RedisStore(replica.url).append("s", ROWS, revision=0)
            client.replicaof("127.0.0.1", "1")
        store = RedisStore(replica.url)
        assert store.load("s") == ROWS
        assert [info.id for info in store.sessions()] == ["s"]
        for write in writes(store):
            with refused("is a replica that may only be read .*: name the primary"):
                write()
        store.close()


def writes(store: RedisStore) -> list[Callable[[], object]]:
    return [
        lambda: store.append("s", [Row("entry", "late", {})], {"e": "text"}, revision=10),
        lambda: store.acquire("s", "process 1 on host-a", 60),
    ]


def test_a_server_without_memory_keeps_nothing_of_the_append_and_all_before_it() -> None:
    with support.server("--appendonly", "yes", "--maxmemory", "100mb") as server:
        store = RedisStore(server.url)
        store.append("s", ROWS, {"d": "a text"}, revision=0)
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", 1)
            for write in writes(store):
                with refused("has no memory left .*: raise its maxmemory .*nothing of this was kept"):
                    write()
            assert store.load("s") == [row for _, row in store.rows("s")] == ROWS
            assert (store.revision("s"), store.holder("s"), store.texts(["d"])) == (10, "", {"d": "a text"})
            assert [info.revision for info in store.sessions()] == [10]
            client.config_set("maxmemory", 0)
        with pytest.raises(StoreError, match="missing"):
            store.texts(["e"])
        assert store.append("s", [Row("entry", "late", {})], revision=10) == 11
        store.close()


def test_a_server_without_the_replicas_it_wants_is_told_of() -> None:
    with support.server("--min-replicas-to-write", "1") as server, redis.Redis.from_url(server.url) as client:
        with refused("takes no writes without its replicas .*: see that they run"):
            RedisStore(server.url)
        client.config_set("min-replicas-to-write", 0)
        store = RedisStore(server.url)
        store.append("s", ROWS, revision=0)
        client.config_set("min-replicas-to-write", 1)
        for write in writes(store):
            with refused("takes no writes without its replicas"):
                write()
        store.close()


def test_a_server_that_cannot_write_its_disk_is_told_of() -> None:
    with support.server("--save", "3600 1") as server:
        store = RedisStore(server.url)
        store.append("s", ROWS, revision=0)
        with redis.Redis.from_url(server.url) as client:
            (server.folder / "dump.rdb").mkdir()
            client.bgsave()
            while client.info("persistence")["rdb_last_bgsave_status"] == "ok":
                pass
        for write in writes(store):
            with refused("takes no writes, for it cannot write its data to disk .*: see its log"):
                write()
        assert store.load("s") == ROWS
        store.close()


@pytest.mark.parametrize("name", ["session:t", "rows:t", "sessions", "texts"])
def test_a_key_of_another_program_in_the_way_is_left_alone(
    name: str, redis_url: str, client: redis.Redis
) -> None:
    store = RedisStore(redis_url)
    client.set(key(store, name), "mine")
    with refused(r"has a key of another program where the store has one .*: choose another prefix"):
        store.append("t", ROWS, {"e": "text"}, revision=0)
    assert client.get(key(store, name)) == b"mine"
    left = {key(store, "schema").encode(), key(store, name).encode()}
    assert set(cast("list[bytes]", client.keys(key(store, "*")))) == left
    store.close()


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("2", r"written by a newer nbsession \(schema 2, this one knows 1\): upgrade with pip install"),
        ("cookies", "that is no session store's: choose another prefix"),
    ],
)
def test_a_store_of_another_layout_is_left_alone(
    value: str, advice: str, redis_url: str, client: redis.Redis
) -> None:
    prefix = redis_url.partition("prefix=")[2]
    client.set(f"{prefix}schema", value)
    with refused(advice):
        RedisStore(redis_url)
    client.delete(f"{prefix}schema")
    client.lpush(f"{prefix}schema", value)
    with refused("has a key of another program"):
        RedisStore(redis_url)


def test_rows_that_were_dropped_are_noticed(store: RedisStore, client: redis.Redis) -> None:
    token = store.acquire("s", "me", 60)
    client.ltrim(key(store, "rows:s"), 0, 6)
    for read in (lambda: store.load("s"), lambda: store.append("s", ROWS, revision=10, token=token)):
        with refused("session 's' should have 10 rows and has 7 .*: restore the store from a copy"):
            read()
    with refused("row 8 of session 's' is missing"):
        list(store.rows("s"))
    client.delete(key(store, "rows:s"))
    with refused("session 's' should have 10 rows and has 0"):
        store.load("s")
    with refused("row 1 of session 's' is missing"):
        list(store.rows("s"))


def test_a_session_that_was_dropped_is_noticed(store: RedisStore, client: redis.Redis) -> None:
    client.delete(key(store, "session:s"))
    with refused("session 's' is listed and gone"):
        store.sessions()
    uses: list[Callable[[], object]] = [
        lambda: store.load("s"),
        lambda: [*store.rows("s")],
        lambda: store.append("s", ROWS, revision=0),
    ]
    for use in uses:
        with refused("session 's' should have 0 rows and has 10"):
            use()


def test_what_is_damaged_is_named(store: RedisStore, client: redis.Redis) -> None:
    client.lset(key(store, "rows:s"), 7, '["entry","7"')
    with refused("row 8 of session 's' is damaged"):
        store.load("s")
    with refused("row 8 of session 's' is damaged"):
        list(store.rows("s"))
    client.lset(key(store, "rows:s"), 7, cast("str", b"\xff\xfe"))
    with refused("session 's' is damaged"):
        store.load("s")
    client.hset(key(store, "texts"), "d", b"\0")
    with refused("text d is damaged"):
        store.texts(["d"])


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("sessions", "no Redis server for 'what is no URL': write redis://host:6379/0"),
        ("http://ann:secret@host", "no Redis server for 'http': write redis://host:6379/0"),
        ("redis://:sec/ret@host:6379/0", "cannot be understood: .*write %40 for @, %2F for /"),
        ("redis://:12/34@host:6379/0", "cannot be understood"),
        ("redis://:12?secret@host:6379/0", "cannot be understood"),
        ("redis://:12#secret@host:6379/0", "cannot be understood"),
        ("redis://host:secret/0", "cannot be understood"),
        ("redis://host/zero", "cannot be understood"),
        (
            "redis://host/0?socket_timeout=soon&password=secret",
            r"redis://host/0 cannot be used: .*'socket_timeout'",
        ),
        ("redis://host/0?colour=red&password=secret", r"redis://host/0 cannot be used: .*'colour'"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_can(url: str, advice: str) -> None:
    with refused(advice, "secret", "ret@", "34@"):
        RedisStore(url)


def test_a_host_that_says_nothing_is_not_waited_for_for_ever() -> None:
    with support.server() as server, redis.Redis.from_url(server.url) as client:
        client.client_pause(60_000)
        with refused("gives no answer in time .*: see that it can be reached"):
            RedisStore(f"{server.url}?socket_timeout=0.05")


def test_redis_without_its_driver_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with refused(r'pip install "nbsession\[redis\]"', "secret"):
        RedisStore("redis://ann:secret@127.0.0.1:1/0")


def test_the_prefix_stands_in_the_url_or_beside_it(redis_server: support.Server) -> None:
    stores = [
        RedisStore(f"{redis_server.url}?prefix=a:"),
        RedisStore(redis_server.url, prefix="a:"),
        RedisStore(f"{redis_server.url}?prefix=b:&db=1"),
    ]
    for number, store in enumerate(stores[1:]):
        store.append(f"{number}", ROWS, revision=0)
    assert [[info.id for info in store.sessions()] for store in stores] == [["0"], ["0"], ["1"]]
    assert [store.location.partition("?")[2] for store in stores] == [
        "prefix=a:",
        "prefix=a:",
        "db=1&prefix=b:",
    ]
    for store in stores:
        store.close()


@pytest.mark.parametrize("name", ["a\0b", "cut \ud83d"])
def test_a_name_no_store_can_hold_is_refused(name: str, store: RedisStore) -> None:
    for use in (
        lambda: store.acquire("t", name, 60),
        lambda: store.acquire(name, "me", 60),
        lambda: store.append(name, ROWS, revision=0),
        lambda: store.append("t", [Row("entry", name, {})], revision=0),
        lambda: store.append("t", ROWS, {name: "text"}, revision=0),
        lambda: store.load(name),
    ):
        with pytest.raises(StoreError, match="may hold no"):
            use()
    assert [info.id for info in store.sessions()] == ["s"]


def test_other_doors_name_the_right_one() -> None:
    with pytest.raises(StoreError, match=r"no store for 'redis': .*RedisStore\(\) for redis://"):
        SqlStore("redis://ann:secret@host/0")
    with pytest.raises(
        SessionError, match=r'got .*; use nbsession.stores.RedisStore\("redis://…"\)'
    ) as failure:
        App(Notepad, store=cast("RedisStore", "redis://ann:secret@host/0"))
    assert "secret" not in str(failure.value)
