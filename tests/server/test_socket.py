"""One socket for many sessions: the same frames as in a stream, from any number on."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from nbsession.events import event_from_dict
from nbsession.server import Limits
from tests.server.conftest import notepad

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


def opened(server: Any, **options: Any) -> Any:
    headers = {"authorization": f"Bearer {server.token}"}
    return connect(f"{server.url.replace('http', 'ws')}/ws", **{"additional_headers": headers, **options})


async def read_until(socket: ClientConnection, *ends: tuple[str, str]) -> list[dict[str, Any]]:
    """Read frames until those of these sessions and types came."""
    read: list[dict[str, Any]] = []
    left = list(ends)
    while left:
        read.append(json.loads(await asyncio.wait_for(socket.recv(), 20)))
        if (said := (read[-1]["session"], read[-1]["event"])) in left:
            left.remove(said)
    return read


async def test_the_events_of_many_sessions_come_over_one_socket() -> None:
    app = notepad("one", "two", "three")
    sessions = [app.session(name) for name in "abc"]
    server = app.serve(0, say=None)
    async with opened(server) as socket:
        for name in "abc":
            await socket.send(json.dumps({"do": "subscribe", "session": name}))
        executions = [session.send("hi") for session in sessions]
        read = await read_until(socket, *[(name, "done") for name in "abc"])
        for execution in executions:
            await execution
    for session in sessions:
        own = [frame for frame in read if frame["session"] == session.id]
        ids = [frame["id"] for frame in own if frame["id"] is not None]
        assert ids == list(range(1, session.sequence + 1))
        events = [event_from_dict(frame["data"]) for frame in own]
        assert [event.type for event in events] == [frame["event"] for frame in own]
    await server.aclose()


async def test_a_socket_goes_on_after_a_number_and_lets_go_when_told() -> None:
    app = notepad("one", "two")
    session = app.session("a")
    await session.send("hi")
    server = app.serve(0, say=None)
    async with opened(server) as socket:
        await socket.send(json.dumps({"do": "subscribe", "session": "a", "after": session.sequence - 2}))
        read = await read_until(socket, ("a", "done"))
        assert [frame["id"] for frame in read] == [session.sequence - 1, session.sequence]
        await socket.send(json.dumps({"do": "unsubscribe", "session": "a"}))
        await socket.send(json.dumps({"do": "subscribe", "session": "nobody"}))
        (unknown,) = await read_until(socket, ("nobody", "error"))
        assert unknown["data"]["kind"] == "session_not_found"
        await session.send("again")
        await socket.send("nonsense")
        (refused,) = await read_until(socket, ("", "error"))
        assert refused["data"]["kind"] == "invalid"
    await server.aclose()


async def test_a_socket_needs_the_token_in_a_header_or_as_a_page_gives_it() -> None:
    server = notepad().serve(0, say=None)
    wrong: list[dict[str, Any]] = [{"additional_headers": {}}, {"origin": "http://evil.example"}]
    for options in wrong:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(server, **options):
                pass
        answer = refused.value.response
        assert answer.status_code in (401, 403)
        assert answer.headers.get_all("content-length") == [str(len(answer.body or b""))]
        assert json.loads(answer.body or b"")["error"]["code"] in ("token", "origin")
    offered = ["nbsession", f"bearer.{server.token}"]
    async with opened(server, additional_headers={}, subprotocols=offered) as socket:
        assert socket.subprotocol == "nbsession"
    await server.aclose()


async def test_what_is_asked_on_a_socket_counts_among_the_requests_of_its_user() -> None:
    app = notepad("one")
    app.session("a")
    server = app.serve(0, say=None, limits=Limits(rate=0.001, burst=3))
    async with opened(server) as socket:
        for _ in range(3):
            await socket.send(json.dumps({"do": "unsubscribe", "session": "a"}))
        (refused,) = await read_until(socket, ("", "error"))
        assert refused["data"]["kind"] == "too_many"
        assert "more than 0.001 requests a second; wait" in refused["data"]["message"]
        with pytest.raises(InvalidStatus) as also:
            async with opened(server):
                pass
        assert also.value.response.status_code == 429
    await server.aclose()


async def test_a_socket_is_closed_with_the_server() -> None:
    server = notepad().serve(0, say=None)
    async with opened(server) as socket:
        await server.aclose()
        await asyncio.wait_for(socket.wait_closed(), 10)
    assert server.closed
