"""Users with tokens of their own: whatever one asks for with the other's ids, by any route, is not there."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from nbsession.protocol import FrameReader
from nbsession.server.routes import ROUTES
from nbsession.stores import MemoryStore
from nbsession.testing import call
from tests.server.conftest import client_of, events_of, notepad, served
from tests.server.test_guard import ALICE, BOB, USERS, bearer

BODIES = {
    "message": {"message": "mine"},
    "runs": {"message": "mine"},
    "steer": {"message": "mine"},
    "queue": {"message": "mine"},
    "knobs": {"tone": "terse"},
    "{question}": {"value": True},
    "{id}": {"metadata": {"mine": True}},
}

OWN = [route for route in ROUTES if "{id}" in route.path]


@pytest.mark.parametrize("route", OWN, ids=lambda route: f"{route.method} {route.path}")
async def test_a_session_of_another_user_is_not_there_by_any_route(route: Any) -> None:
    app = notepad("one", "two", "three")
    async with client_of(app, tokens=USERS) as client:
        await client.post("/sessions", json={"id": "s"}, headers=bearer(ALICE))
        await client.post("/sessions/s/message", json={"message": "hers"}, headers=bearer(ALICE))
        run = (await client.post("/sessions/s/runs", json={"message": "run"}, headers=bearer(ALICE))).json()
        await app.opened["s"].executions[-1]
        sequence = app.opened["s"].sequence
        ids = {"number": 0, "run": run["id"], "tool": "add_note", "question": "q"}
        body = next((BODIES[end] for end in BODIES if route.path.removesuffix("/stream").endswith(end)), {})
        sent: dict[str, Any] = {"json": body} if route.body is not None else {}
        for name in ("s", "t"):
            path = route.path.format(id=name, **ids)
            answer = await client.request(route.method, path, headers=bearer(BOB), **sent)
            told = answer.json()["error"]
            assert (answer.status_code, told["code"]) == (404, "session_not_found")
            assert told["message"] == f"there is no session {name!r}"
        assert app.opened["s"].sequence == sequence
        for listing in ("/sessions", "/agents"):
            assert '"s"' not in (await client.get(listing, headers=bearer(BOB))).text


async def test_a_socket_tells_nothing_of_another_users_session() -> None:
    app = notepad("one")
    server = app.serve(0, say=None, tokens=USERS)
    async with httpx.AsyncClient(base_url=server.url) as client:
        await client.post("/sessions", json={"id": "s"}, headers=bearer(ALICE))
        await client.post("/sessions/s/message", json={"message": "hers"}, headers=bearer(ALICE))
    async with connect(f"{server.url.replace('http', 'ws')}/ws", additional_headers=bearer(BOB)) as socket:
        for name in ("s", "t"):
            await socket.send(json.dumps({"do": "subscribe", "session": name, "after": 0}))
            told = json.loads(await asyncio.wait_for(socket.recv(), 20))
            assert (told["event"], told["data"]["kind"]) == ("error", "session_not_found")
            assert told["data"]["message"] == f"there is no session {name!r}"
    await server.aclose()


def test_from_whichever_number_a_stream_is_taken_up_it_has_the_rest_once() -> None:
    store = MemoryStore()
    replies = [call("add_note", note="a"), "noted " * 20, "on"]

    for app in (
        notepad(*replies, store=store),
        notepad("never", store=store),
    ):  # as it runs, and read from the store
        with served(app) as (_, client):
            if client.get("/sessions").json()["sessions"] == []:
                client.post("/sessions", json={"id": "s"}).raise_for_status()
                for message in ("hi", "again"):
                    client.post("/sessions/s/message", json={"message": message}).raise_for_status()
            last = client.get("/sessions/s").json()["sequence"]
            for after in range(last):
                with client.stream(
                    "GET", "/sessions/s/events", headers={"last-event-id": str(after)}
                ) as answer:
                    got: list[int] = []
                    for frame, _event in events_of(answer):
                        got += [] if frame.id is None else [frame.id]
                        if frame.id == last:
                            break
                assert got == list(range(after + 1, last + 1))
                page: int | None = after
                read: list[int] = []
                while page is not None:
                    some = client.get("/sessions/s/events/history", params={"after": page, "limit": 3}).json()
                    read += [event["sequence"] for event in some["events"] if "offset" not in event]
                    page = some["next"]
                assert read == got
            beyond = client.get("/sessions/s/events", params={"after": last + 1})
            assert [frame.event for frame in FrameReader().feed(beyond.content)] == ["resync_required"]
