"""Questions over HTTP: listed, answered once, with what the first answer was for whoever comes second."""

from __future__ import annotations

import asyncio
from typing import Any

from nbsession import App, Pause, Timeline, component, tool
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call
from tests.server.conftest import client_of

SENT: list[str] = []


@tool
def approve(draft: str) -> str:
    """Ask somebody."""
    raise Pause(f"Send {draft!r}?", answer=bool)


@tool(confirm=True)
def send(draft: str) -> str:
    """Send it."""
    SENT.append(draft)
    return "sent"


@component
def Desk() -> Any:
    return [approve, send, Timeline()]


def desk(store: MemoryStore, *responses: Any) -> App:
    return App(Desk, model=ScriptedModel(*responses), store=store)


async def test_a_paused_session_is_answered_after_a_restart_and_once() -> None:
    store = MemoryStore()
    async with client_of(desk(store, [call("approve", draft="hello")])) as client:
        await client.post("/sessions", json={"id": "s"})
        paused = (await client.post("/sessions/s/message", json={"message": "go"})).json()
        assert (await client.get("/sessions/s")).json()["waiting"] == 1
    assert paused["stop_reason"] == "paused"
    async with client_of(desk(store, "done")) as client:
        (question,) = (await client.get("/sessions/s/waiting")).json()["waiting"]
        assert (question["text"], question["kind"]) == ("Send 'hello'?", "pause")
        assert question["schema"] == {"type": "boolean"}
        path = f"/sessions/s/waiting/{question['id']}"
        unfit = await client.post(path, json={"value": "perhaps"})
        answered = await client.post(path, json={"value": True})
        second = await client.post(path, json={"value": False})
        assert (await client.get("/sessions/s/waiting")).json() == {"waiting": []}
    assert unfit.status_code == 409
    assert (answered.status_code, answered.json()["response"]) == (200, "done")
    assert second.status_code == 409
    assert "answered with True" in second.json()["error"]["message"]


async def test_a_confirmation_is_given_from_afar_and_the_call_runs_once() -> None:
    store = MemoryStore()
    SENT.clear()
    async with client_of(desk(store, [call("send", draft="hello")], "done")) as client:
        await client.post("/sessions", json={"id": "s"})
        run = (await client.post("/sessions/s/runs", json={"message": "go"})).json()
        waiting: list[Any] = []
        while not waiting:
            await asyncio.sleep(0)  # a client in the same loop lets nobody else run
            waiting = (await client.get("/sessions/s/waiting")).json()["waiting"]
        answered = await client.post(f"/sessions/s/waiting/{waiting[0]['id']}", json={"value": True})
        ended = (await client.get(f"/sessions/s/runs/{run['id']}")).json()
    assert (waiting[0]["kind"], waiting[0]["call"]["name"]) == ("confirmation", "send")
    assert answered.json()["response"] == "done"
    assert ended["status"] == "done"
    assert SENT == ["hello"]
