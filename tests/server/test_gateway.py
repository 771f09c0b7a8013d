"""Many sessions of several apps: opened when asked for, closed when they rest, shared by two servers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, SessionError, System, Timeline, component, use_state
from nbsession.errors import SessionBusyError
from nbsession.events import Done
from nbsession.server import Limits, application
from nbsession.server.folder import Folders
from nbsession.server.gateway import Gateway
from nbsession.server.users import Users
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, pause
from tests.server.conftest import client_of, events_of, notepad
from tests.server.test_command import started
from tests.support import postgres, redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@component
def Poet() -> Any:
    return [System("You are a poet."), Timeline()]


def gateway_of(app: App, limits: Limits) -> Gateway:
    gateway = Gateway({"a": app}, users=Users(), folders=Folders(None, several_users=False), limits=limits)
    gateway.bind()
    return gateway


async def test_several_apps_are_served_and_a_session_stays_with_its_own() -> None:
    store = MemoryStore()

    def apps() -> dict[str, App]:
        return {
            "notes": notepad("noted", store=store),
            "poems": App(Poet, model=ScriptedModel("roses"), store=store),
        }

    async with client_of(apps()) as client:
        agents = (await client.get("/agents")).json()["agents"]
        assert [(agent["id"], agent["component"]) for agent in agents] == [
            ("notes", "Notepad"),
            ("poems", "Poet"),
        ]
        first = (await client.post("/sessions", json={})).json()
        named = (await client.post("/sessions", json={"id": "p", "agent_id": "poems"})).json()
        by_root = (await client.post("/sessions", json={"component": "Poet"})).json()
        assert [made["agent_id"] for made in (first, named, by_root)] == ["notes", "poems", "poems"]
        assert (await client.post("/sessions", json={"agent_id": "nobody"})).status_code == 404
        both = await client.post("/sessions", json={"agent_id": "poems", "component": "Poet"})
        assert both.status_code == 422
    async with client_of(apps()) as client:
        other = await client.post("/sessions/p/message", json={"message": "hi", "agent_id": "notes"})
        assert (other.status_code, other.json()["error"]["code"]) == (409, "app")
        own = await client.post("/sessions/p/message", json={"message": "hi", "component": "Poet"})
        assert own.json()["response"] == "roses"
    async with client_of({"notes": apps()["notes"]}) as client:
        gone = await client.get("/sessions/p")
        assert (gone.status_code, gone.json()["error"]["code"]) == (409, "app")


async def test_the_session_used_longest_ago_is_closed_and_comes_back_and_never_one_that_runs() -> None:
    held = pause()
    app = notepad("one", ["two", held], "three", "four")
    gateway = gateway_of(app, Limits(sessions=2))
    for name in ("a", "b", "c"):
        session = gateway.served["a"].open(name, None)
        await gateway.adopt(session)
    async with gateway.using("", "a") as session:
        await session.send("hi")
        running = session.send("and on")
        await held.reached
    async with gateway.using("", "c"):
        await gateway.tend()
        assert set(app.opened) == {"a", "c"}
        app.session("mine")  # somebody else's, which is left alone
        await gateway.adopt(gateway.served["a"].open("d", None))
        await gateway.tend()
        assert set(app.opened) == {"a", "c", "d", "mine"} - {"d"}
    held.release()
    await running
    async with gateway.using("", "b") as session:
        assert (await session.send("back")).text == "three"
    await gateway.close()
    assert set(app.opened) == {"mine"}


async def test_an_idle_session_is_closed_after_a_while_and_its_lease_let_go() -> None:
    store = MemoryStore()
    app = notepad("one", store=store)
    gateway = gateway_of(app, Limits(rest=0))
    await gateway.adopt(gateway.served["a"].open("s", None))
    assert store.holder("s")
    await gateway.tend()
    assert not store.holder("s")
    async with gateway.using("", "s") as session:
        assert session.status == "idle"
        await gateway.tend()
        assert session.status == "idle"  # it is in use
    await gateway.close()


async def test_sessions_that_nothing_keeps_are_not_closed_and_not_endless() -> None:
    app = App(Poet, model=ScriptedModel("one"))
    async with client_of(app, limits=Limits(sessions=2)) as client:
        for _ in range(2):
            assert (await client.post("/sessions", json={})).status_code == 201
        full = await client.post("/sessions", json={})
    assert (full.status_code, full.headers["retry-after"]) == (429, "60")


async def test_state_of_a_session_that_was_closed_meanwhile_is_there_again() -> None:
    @component
    def Counter() -> Any:
        count, set_count = use_state(0)
        return [System(f"count {count}"), Timeline(), _counting(set_count)]

    def _counting(set_count: Any) -> Any:
        from nbsession import tool

        @tool
        def count() -> str:
            """Count."""
            set_count(lambda n: n + 1)
            return "counted"

        return count

    app = App(Counter, model=ScriptedModel("ok"), store=MemoryStore())
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        await client.post("/sessions/s/dispatch/count", json={})
        await app.opened["s"].aclose()
        assert "count 1" in (await client.get("/sessions/s/context")).json()["system"][0]


def test_apps_with_different_stores_are_not_served_together() -> None:
    with pytest.raises(SessionError, match="2 stores"):
        application({"a": notepad(), "b": notepad()})


async def test_a_session_that_another_process_holds_is_told_with_who_has_it() -> None:
    store = MemoryStore()
    app = notepad("one", store=store)
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        await app.opened["s"].aclose()
        token = store.acquire("s", "process 4711 on host-a", 60)
        with pytest.raises(SessionBusyError):
            store.acquire("s", "another", 60)
        busy = await client.post("/sessions/s/message", json={"message": "hi"})
        assert (busy.status_code, busy.json()["error"]["code"]) == (409, "session_busy")
        assert "process 4711 on host-a" in busy.json()["error"]["message"]
        store.release("s", token)
        assert (await client.post("/sessions/s/message", json={"message": "hi"})).json()["response"] == "one"


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of a store that two servers may share."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shared.db'}"
    elif request.param == "postgresql":
        with postgres.server() as folder:
            yield postgres.url(folder)
    else:
        with redis.server(*redis.QUICK) as server:
            yield server.url


def test_two_servers_on_one_store_share_the_work_and_each_tells_of_the_others_events(
    tmp_path: Path, store_url: str
) -> None:
    seen: list[int] = []
    with (
        started(tmp_path, "--no-token", "--store", store_url) as one,
        started(tmp_path, "--no-token", "--store", store_url) as other,
        one.client() as a,
        other.client() as b,
    ):
        a.post("/sessions", json={"id": "s"}).raise_for_status()
        a.post("/sessions/s/message", json={"message": "hello"}).raise_for_status()
        first = b.get("/sessions/s").json()
        assert (first["ticks"], first["sequence"]) == (1, a.get("/sessions/s").json()["sequence"])

        def follow() -> None:
            done = 0
            with other.client() as reader, reader.stream("GET", "/sessions/s/events") as answer:
                for frame, event in events_of(answer):
                    seen.extend([] if frame.id is None else [frame.id])
                    done += isinstance(event, Done)
                    if done == 2:
                        return

        following = threading.Thread(target=follow)
        following.start()
        a.post("/sessions/s/message", json={"message": "hello again"}).raise_for_status()
        following.join(30)
        assert seen == list(range(1, a.get("/sessions/s").json()["sequence"] + 1))
        busy = b.post("/sessions/s/message", json={"message": "mine"})
        assert (busy.status_code, busy.json()["error"]["code"]) == (409, "session_busy")
        assert str(one.process.pid) in busy.json()["error"]["message"]
        one.process.terminate()
        one.process.wait(30)
        taken = b.post("/sessions/s/message", json={"message": "mine"})
        assert taken.status_code == 200
        assert b.get("/sessions/s").json()["ticks"] == 3
