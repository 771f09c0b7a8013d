"""One process writes a session; the others are told which, and a late one is refused."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import sqlalchemy

from nbsession.errors import SessionBusyError, SessionError
from nbsession.stores import MemoryStore, RedisStore, Row, SqlStore, default_store, sql_lease
from nbsession.stores.lease import Lease, is_gone, this_owner, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWNER = """
import sys
from nbsession.errors import SessionBusyError
from nbsession.stores import Row, default_store
from nbsession.stores.lease import this_owner
store = default_store(sys.argv[1])
token, revision = store.acquire("draft", this_owner(), float(sys.argv[2])), 0
print("holds", token, flush=True)
for line in sys.stdin:
    try:
        revision = store.append("draft", [Row("entry", line.strip(), {})], revision=revision, token=token)
        print("kept", revision, flush=True)
    except SessionBusyError as error:
        print("refused", error, flush=True)
"""


class Owner:
    """A process that holds the session ``draft``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said()

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def write(self, key: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{key}\n")
        self.process.stdin.flush()
        return self.said()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def owner(url: str, seconds: float) -> Iterator[Owner]:
    command = [sys.executable, "-c", OWNER, url, f"{seconds}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Owner(process)
        process.kill()


@pytest.fixture(params=["sqlite", "postgres", "redis_url"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/sessions.db"
    made: str = request.getfixturevalue(request.param)
    return made


def test_a_second_process_is_told_who_holds_the_session_and_can_read_it(url: str) -> None:
    with owner(url, 60) as holder:
        assert holder.write("e1") == "kept 1"
        store = default_store(url)
        who = f"process {holder.process.pid} on {socket.gethostname()}"
        with pytest.raises(
            SessionBusyError,
            match=rf"session 'draft' is held by {who} since \d\d:\d\d; it can be read and forked here; ",
        ):
            store.acquire("draft", this_owner(), 60)
        assert store.load("draft") == [Row("entry", "e1", {})]
        assert list(store.rows("draft")) == [(1, Row("entry", "e1", {}))]
        assert holder.write("e2") == "kept 2"
        store.close()


def test_the_late_write_of_a_process_whose_lease_was_taken_over_is_refused(url: str) -> None:
    with owner(url, 0) as late:
        assert late.write("e1") == "kept 1", "an expired lease is good until somebody takes it over"
        store = default_store(url)
        token = store.acquire("draft", this_owner(), 60)
        answer = late.write("e2")
        assert answer.startswith(f"refused the lease of session 'draft' was taken over by {this_owner()}")
        assert "nothing of this was kept; open 'draft' again" in answer
        assert store.append("draft", [Row("entry", "mine", {})], revision=1, token=token) == 2
        assert late.write("e3").startswith("refused")
        assert [row.key for row in store.load("draft") or []] == ["e1", "mine"]
        store.close()


def test_a_killed_process_does_not_keep_its_successor_waiting(url: str) -> None:
    with owner(url, 3600) as holder:
        store = default_store(url)
        with pytest.raises(SessionBusyError):
            store.acquire("draft", this_owner(), 60)
        holder.kill()
        assert store.acquire("draft", this_owner(), 60) == 2
        store.close()


def test_a_stopped_process_keeps_its_lease(url: str) -> None:
    with owner(url, 3600) as holder:
        holder.process.send_signal(signal.SIGSTOP)
        store = default_store(url)
        with pytest.raises(SessionBusyError):
            store.acquire("draft", this_owner(), 60)
        store.close()


def test_a_lease_is_not_taken_over_while_a_write_with_it_is_under_way(postgres: str) -> None:
    store = SqlStore(postgres)
    token = store.acquire("draft", "process 1 on host-a", 0)
    engine = sqlalchemy.create_engine(postgres)
    with store._engine.begin() as writer:
        sql_lease.check(writer, {"draft": token})
        with engine.connect() as other:
            other.exec_driver_sql("SET lock_timeout = '50ms'")
            with pytest.raises(sqlalchemy.exc.DBAPIError, match="lock timeout"):
                sql_lease.acquire(other, "draft", "process 2 on host-b", 60)
    with engine.begin() as other:
        assert sql_lease.acquire(other, "draft", "process 2 on host-b", 60) == token + 1
    engine.dispose()
    store.close()


def test_a_lease_that_is_renewed_just_then_is_not_taken_over(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = RedisStore(redis_url), RedisStore(redis_url)
    token = store.acquire("draft", "process 1 on host-a", 0)
    check_free = Lease.check_free

    def renewed_meanwhile(lease: Lease, session: str, owner: str, now: float) -> None:
        check_free(lease, session, owner, now)  # it has expired, the first time
        store.renew("draft", token, 60)

    monkeypatch.setattr(Lease, "check_free", renewed_meanwhile)
    with pytest.raises(SessionBusyError, match="held by process 1 on host-a"):
        other.acquire("draft", "process 2 on host-b", 60)
    assert store.append("draft", [Row("entry", "e", {})], revision=0, token=token) == 1
    store.close()
    other.close()


@pytest.mark.parametrize("server", ["postgres", "redis_url"])
def test_with_a_server_leases_are_timed_by_its_clock(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = default_store(request.getfixturevalue(server))
    store.acquire("draft", "process 1 on host-a", 60)
    monkeypatch.setattr(time, "time", lambda: 9e9)  # this machine's clock is years ahead
    with pytest.raises(SessionBusyError):
        store.acquire("draft", "process 2 on host-b", 60)
    store.close()


def test_a_lease_ends_when_its_time_has_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    for store in (MemoryStore(), SqlStore(f"sqlite:///{tmp_path}/s.db")):
        monkeypatch.setattr(time, "time", lambda: now)
        token = store.acquire("draft", "process 1 on host-a", 30)
        monkeypatch.setattr(time, "time", lambda: now + 29)
        with pytest.raises(SessionBusyError):
            store.acquire("draft", "process 2 on host-b", 30)
        store.renew("draft", token, 30)
        monkeypatch.setattr(time, "time", lambda: now + 58)
        with pytest.raises(SessionBusyError):
            store.acquire("draft", "process 2 on host-b", 30)
        monkeypatch.setattr(time, "time", lambda: now + 59)
        assert store.acquire("draft", "process 2 on host-b", 30) > token
        store.close()


def test_a_holder_of_another_day_is_shown_with_the_date() -> None:
    noon = time.mktime((2026, 5, 17, 12, 0, 0, 0, 0, -1))
    lease = Lease(3, "process 4711 on host-a", noon, noon + 1e6)
    with pytest.raises(SessionBusyError, match="since 12:00;"):
        lease.check_free("draft", "me", noon + 60)
    with pytest.raises(SessionBusyError, match="since 2026-05-17 12:00;"):
        lease.check_free("draft", "me", noon + 86_400)


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_a_lease_of_no_sensible_length_is_refused(seconds: float) -> None:
    store = MemoryStore()
    token = store.acquire("draft", "me", 1)
    for ask in (
        lambda: store.acquire("draft", "me", seconds),
        lambda: store.renew("draft", token, seconds),
    ):
        with pytest.raises(SessionError, match=f"finite number of seconds, got {seconds}"):
            ask()


def test_a_lease_needs_the_name_of_its_owner() -> None:
    with pytest.raises(SessionError, match=rf"needs an owner such as 'process {os.getpid()} on "):
        MemoryStore().acquire("draft", " ", 1)


def test_only_a_process_of_this_machine_is_known_to_be_gone() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from nbsession.stores.lease import this_process; print(this_process())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert not is_gone(this_process())
    assert is_gone(ended)
    world, pid, started = this_process().split(" ")
    assert is_gone(f"{world} {pid} 1{started}"), "another process had this number before"
    assert not is_gone(f"elsewhere/{ended}")
    assert not is_gone("")
