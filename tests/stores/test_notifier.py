"""Who listens to a store is told which session has new events, whichever process wrote them."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import sqlalchemy

from nbsession import App, StoreError, Timeline
from nbsession.stores import MemoryStore, RedisStore, Row, SqlStore, default_store
from nbsession.testing import ScriptedModel
from tests.support import redis as server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbsession.stores import SessionStore

EVENTS = Row("events", "", {"first": 1, "events": ["done"]})


@pytest.fixture(params=["postgres", "redis_url"])
def url(request: pytest.FixtureRequest) -> str:
    made: str = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def store(url: str) -> Iterator[SessionStore]:
    opened = default_store(url)
    yield opened
    opened.close()


def test_another_process_is_heard(url: str, store: SessionStore) -> None:
    assert store.notifier is not None
    told: queue.Queue[str] = queue.Queue()
    code = """
import sys
from nbsession.stores import Row, default_store
store = default_store(sys.argv[1])
rows = [Row("entry", "e", {}), Row("events", "", {"first": 1, "events": ["done"]})]
store.append("schön", rows, revision=0)
"""
    with store.notifier.listen(told.put):
        subprocess.run([sys.executable, "-c", code, url], check=True)
        assert told.get(timeout=30) == "schön"
        assert len(store.load("schön") or []) == 2, "what is told of can be read"


def test_only_events_that_were_kept_are_told(url: str, store: SessionStore) -> None:
    assert store.notifier is not None
    told: queue.Queue[str] = queue.Queue()
    writer = default_store(url)
    with store.notifier.listen(told.put):
        writer.append("a", [Row("entry", "e", {})], revision=0)
        with pytest.raises(Exception, match="another one wrote"):
            writer.append("a", [EVENTS], revision=0)
        writer.append("b", [EVENTS], revision=0)
        writer.append("c", [EVENTS], revision=0)
        assert [told.get(timeout=30), told.get(timeout=30)] == ["b", "c"]
    writer.append("d", [EVENTS], revision=0)
    assert told.empty()
    assert not [thread for thread in threading.enumerate() if thread.name == "nbsession-listen"]
    writer.close()


async def test_a_session_that_runs_is_told_of(url: str, store: SessionStore) -> None:
    assert store.notifier is not None
    told: queue.Queue[str] = queue.Queue()
    with store.notifier.listen(told.put):
        session = App(Timeline(), model=ScriptedModel("hi"), store=default_store(url)).session("talk")
        await session.send("hello")
        await session.aclose()
        assert told.get(timeout=30) == "talk"


def test_several_listen_at_once(store: SessionStore) -> None:
    assert store.notifier is not None
    one: queue.Queue[str] = queue.Queue()
    other: queue.Queue[str] = queue.Queue()
    with store.notifier.listen(one.put), store.notifier.listen(other.put):
        store.append("a", [EVENTS], revision=0)
        assert (one.get(timeout=30), other.get(timeout=30)) == ("a", "a")


def test_stores_with_other_prefixes_and_databases_are_not_heard(redis_server: server.Server) -> None:
    stores = [
        RedisStore(f"{redis_server.url}{query}")
        for query in ("?prefix=here:", "?prefix=there:", "?prefix=here:&db=1")
    ]
    told: queue.Queue[str] = queue.Queue()
    with stores[0].notifier.listen(told.put):
        for number, store in reversed([*enumerate(stores)]):
            store.append(f"{number}", [EVENTS], revision=0)
        assert told.get(timeout=30) == "0"
    for store in stores:
        store.close()


def test_a_lost_connection_to_redis_is_found_again_and_that_is_told() -> None:
    with server.server() as made:
        store = RedisStore(made.url)
        told: queue.Queue[str] = queue.Queue()
        with store.notifier.listen(told.put):
            made.kill()
            made.start()
            assert told.get(timeout=30) == "", "any session may have changed meanwhile"
            store.append("a", [EVENTS], revision=0)
            assert told.get(timeout=30) == "a"
        store.close()


def test_a_lost_connection_to_postgresql_is_found_again_and_that_is_told(postgres: str) -> None:
    store = SqlStore(postgres)
    told: queue.Queue[str] = queue.Queue()
    assert store.notifier is not None
    engine = sqlalchemy.create_engine(postgres)
    with store.notifier.listen(told.put):
        with engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert told.get(timeout=30) == "", "any session may have changed meanwhile"
        store.append("a", [EVENTS], revision=0)
        assert told.get(timeout=30) == "a"
    engine.dispose()
    store.close()


def test_who_stops_listening_to_a_server_that_is_gone_is_not_kept() -> None:
    with server.server() as made:
        store = RedisStore(made.url)
        with store.notifier.listen(lambda _: None):
            made.kill()
        with pytest.raises(StoreError, match="cannot be reached"), store.notifier.listen(lambda _: None):
            pass
        store.close()


def test_a_file_and_memory_tell_of_nothing(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    assert (store.notifier, MemoryStore().notifier) == (None, None)
    store.close()
