"""A server that runs, on loopback: streams as they come, readers that go and come back, and where its loop is."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from nbsession import App, SessionError, Timeline, component, tool
from nbsession.events import Done, TextDelta
from nbsession.protocol import FrameReader
from nbsession.server import Limits
from nbsession.server.stream import of_session
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call, pause
from tests.server.conftest import client_of, events_of, notepad, served
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from nbsession.server.gateway import Gateway


def test_deltas_come_while_the_model_speaks() -> None:
    held = pause()
    with served(notepad(["one ", held, "two"])) as (_, client):
        client.post("/sessions", json={"id": "s"})
        said = ""
        with client.stream("POST", "/sessions/s/message/stream", json={"message": "hi"}) as answer:
            for _, event in events_of(answer):
                if isinstance(event, TextDelta):
                    said += event.text
                    if said == "one ":
                        held.release()
        assert said == "one two"


def test_a_reader_that_was_cut_off_goes_on_without_gap_and_without_duplicate() -> None:
    held = pause()
    app = notepad([call("add_note", note="a")], ["one ", held, "two"])
    with served(app) as (_, client):
        client.post("/sessions", json={"id": "s"})
        first: list[int] = []
        with client.stream("POST", "/sessions/s/message/stream", json={"message": "hi"}) as answer:
            for frame, event in events_of(answer):
                first += [frame.id] if frame.id is not None else []
                if isinstance(event, TextDelta):
                    break  # in the middle of a block, whose start was had
        assert not app.opened["s"].executions[-1].done
        text = ""
        headers = {"last-event-id": str(first[-1])}
        with client.stream("GET", "/sessions/s/events", headers=headers) as answer:
            held.release()
            second: list[int] = []
            for frame, event in events_of(answer):
                second += [frame.id] if frame.id is not None else []
                text += event.text if isinstance(event, TextDelta) else ""
                if isinstance(event, Done):
                    break
    assert first + second == list(range(first[0], second[-1] + 1))
    assert text == "one two"


@pytest.mark.parametrize("steps", range(4))
async def test_a_server_that_is_closed_while_it_begins_ends_and_leaves_nothing_on_its_loop(
    steps: int,
) -> None:
    server = notepad().serve(0, say=None)
    listening = server._listening.fileno()
    for _ in range(steps):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await server.aclose()
    assert server.closed
    assert not asyncio.get_running_loop().remove_reader(listening)


def test_an_execution_goes_on_without_its_reader_unless_it_was_asked_to_stop() -> None:
    held = [pause(), pause()]
    app = notepad(["one ", held[0], "two"], ["three ", held[1], "four"])
    with served(app) as (_, client):
        client.post("/sessions", json={"id": "s"})
        ended = []
        for params, hold in (({}, held[0]), ({"detach": "false"}, held[1])):
            with client.stream(
                "POST", "/sessions/s/message/stream", json={"message": "hi"}, params=params
            ) as answer:
                for _, event in events_of(answer):
                    if isinstance(event, TextDelta):
                        break
            execution = app.opened["s"].executions[-1]
            if not params:
                hold.release()
            ended.append(execution.outcome.result(10).stop_reason)
    assert ended == ["end_turn", "aborted"]


def test_a_blocking_message_is_stopped_with_its_reader_where_that_was_asked_for() -> None:
    held = pause()
    app = notepad(["one ", held, "two"])
    with served(app) as (_, client):
        client.post("/sessions", json={"id": "s"})
        with pytest.raises(httpx.ReadTimeout):
            client.post(
                "/sessions/s/message", params={"detach": "false"}, json={"message": "hi"}, timeout=0.5
            )
        assert app.opened["s"].executions[-1].outcome.result(10).stop_reason == "aborted"


def test_many_streams_at_once_are_each_whole() -> None:
    app = App(Notepad, model=ScriptedModel(*["word " * 20] * 30), store=MemoryStore())
    with served(app) as (_, client):

        def one(number: int) -> str:
            client.post("/sessions", json={"id": f"s{number}"}).raise_for_status()
            with client.stream(
                "POST", f"/sessions/s{number}/message/stream", json={"message": "hi"}
            ) as answer:
                return "".join(event.text for _, event in events_of(answer) if isinstance(event, TextDelta))

        with ThreadPoolExecutor(30) as pool:
            assert set(pool.map(one, range(30))) == {"word " * 20}


def test_a_closed_server_stops_what_runs_and_the_next_one_goes_on_from_what_was_stored() -> None:
    held, store = pause(), MemoryStore()
    app = notepad(["so far ", held, "never"], store=store)
    server = app.serve(0, background=True, say=None, token=False)
    assert server._uvicorn is not None
    server._uvicorn._grace = 0.1
    said: list[Any] = []
    with httpx.Client(base_url=server.url, timeout=20) as client:
        client.post("/sessions", json={"id": "s"})
        asking = threading.Thread(
            target=lambda: said.append(client.post("/sessions/s/message", json={"message": "hi"}).json())
        )
        asking.start()
        assert held.reached.wait(10)
        server.close()
        asking.join(10)
    assert (said[0]["stop_reason"], said[0]["response"]) == ("aborted", "so far ")
    assert store.holder("s") == ""
    with served(notepad("and on", store=store)) as (_, again):
        assert again.post("/sessions/s/message", json={"message": "go on"}).json()["response"] == "and on"
        assert [entry["sequence"] for entry in again.get("/sessions/s/events/history").json()["events"]]


def test_streams_end_when_the_server_closes() -> None:
    app = notepad("one")
    with served(app) as (server, client):
        client.post("/sessions", json={"id": "s"})
        with client.stream("GET", "/sessions/s/events") as answer:
            closing = threading.Thread(target=server.close)
            closing.start()
            assert [event for _, event in events_of(answer)] == []
            closing.join(10)
    assert server.closed


async def test_in_a_running_loop_the_server_is_a_task_on_it_beside_the_sessions() -> None:
    app = notepad("from here", "from afar")
    session = app.session("s")
    assert (await session.send("hi")).text == "from here"
    server = app.serve(0, say=None)
    assert app.home.loop is asyncio.get_running_loop()
    headers = {"authorization": f"Bearer {server.token}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
        answer = await client.post("/sessions/s/message", json={"message": "hi"})
    assert answer.json()["response"] == "from afar"
    assert len(session.timeline) == 4  # the very same session
    await server.aclose()
    assert session.status == "idle"  # it was not the server's to close


def test_functions_of_the_program_are_reached_from_afar_and_blocking_runs_share_the_loop() -> None:
    told: list[str] = []

    @tool
    def tell(what: str) -> str:
        """Tell."""
        told.append(what)
        return "told"

    @component
    def Root() -> Any:
        return [tell, Timeline()]

    app = App(Root, model=ScriptedModel([call("tell", what="a")], "done", "again"))
    with served(app) as (_, client):
        client.post("/sessions", json={"id": "s"})
        client.post("/sessions/s/message", json={"message": "hi"})
        assert app.session("s").run("and from here").text == "again"
    assert told == ["a"]


def test_a_port_that_is_taken_is_told_at_once_with_what_to_do() -> None:
    with served(notepad()) as (server, _):
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(SessionError, match="choose another port="):
            notepad().serve(port, background=True, say=None)


def test_without_a_token_only_this_machine_is_served() -> None:
    with pytest.raises(SessionError, match="for this machine only"):
        notepad().serve(0, host="0.0.0.0", token=False, background=True, say=None)


def test_a_reader_that_takes_nothing_is_cut_off_and_holds_nobody_up() -> None:
    app = App(Notepad, model=ScriptedModel("x" * 30_000_000, "short"), store=MemoryStore())
    with served(app, limits=Limits(stalled=0.5)) as (server, client):
        client.post("/sessions", json={"id": "s"})
        client.post("/sessions/s/message", json={"message": "hi"}, timeout=60).raise_for_status()
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            head = f"GET /sessions/s/events HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {server.token}\r\n\r\n"
            raw.sendall(head.encode())
            assert raw.recv(100).startswith(b"HTTP/1.1 200")
            while not server.gateway.streams:
                pass
            assert client.post("/sessions/s/message", json={"message": "hi"}).json()["response"] == "short"
            deadline = time.monotonic() + 20
            while server.gateway.streams:
                assert time.monotonic() < deadline
        assert server.gateway.followed == set()


async def test_a_reader_that_fell_behind_what_is_kept_is_told_to_read_anew() -> None:
    app = App(Notepad, model=ScriptedModel("one"))
    session = app.session("s")
    await session.send("hi")
    async with client_of(app) as client:
        gateway = app_gateway(client)
        async with aclosing(of_session(gateway, "", session, None)) as frames:
            first = await anext(frames)
            assert (first.event, first.id) == ("execution_start", 1)
            for n in range(12_000):
                session.knobs["tone"] = "terse" if n % 2 else "friendly"
            rest = [frame.event async for frame in frames]
        assert rest[-1] == "resync_required"
        for after in (5, session.sequence + 1):
            answer = await client.get("/sessions/s/events", params={"after": after})
            (frame,) = FrameReader().feed(answer.content)
            assert frame.event == "resync_required"
        page = await client.get("/sessions/s/events/history", params={"after": 5})
        assert (page.status_code, page.json()["error"]["code"]) == (410, "resync_required")


def app_gateway(client: httpx.AsyncClient) -> Gateway:
    """Return the gateway behind a client in this process."""
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    gateway: Gateway = transport.app.state.service.gateway  # type: ignore[attr-defined]  # it is a Starlette
    gateway.bind()
    return gateway


def test_no_answer_waits_for_an_acknowledgement_of_its_first_packet() -> None:
    with served(notepad()) as (server, client):
        client.get("/health")
        listening = server._listening
        assert listening.proto == socket.IPPROTO_TCP  # by which asyncio knows where to set TCP_NODELAY
