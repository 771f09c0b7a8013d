"""What a server refuses: other sites, other names, other types, too much, and everything without its token."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from nbsession import SessionError
from nbsession.server import Limits, tokens_of
from nbsession.server.openapi import document
from nbsession.server.routes import ROUTES
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import pause
from tests.server.conftest import client_of, notepad, served

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "the-token-of-the-tests"
ALICE, BOB = "alices-own-token-1", "bobs-own-token-0001"
USERS = {ALICE: "alice", BOB: "bob"}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_nothing_but_health_is_answered_without_the_token(route: Any) -> None:
    path = route.path.replace("{", "").replace("}", "")
    async with client_of(notepad(), tokens=TOKEN) as client:
        for headers in (
            {},
            bearer("wrong"),
            bearer(""),
            {"authorization": f"Basic {TOKEN}"},
            bearer(TOKEN[:-1]),
        ):
            answer = await client.request(route.method, path, headers=headers)
            assert answer.status_code == (200 if route.open else 401)
        assert (await client.get("/openapi.json")).status_code == 401


async def test_a_token_in_an_address_is_none() -> None:
    async with client_of(notepad(), tokens=TOKEN) as client:
        assert (
            await client.get("/agents", params={"token": TOKEN, "access_token": TOKEN})
        ).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "evil.example:2323"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1.evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://["},
        {"origin": "http://[::1"},
        {"origin": "//127.0.0.1"},
    ],
    ids=str,
)
async def test_other_names_and_other_sites_are_refused_though_no_token_is_needed(
    headers: dict[str, str],
) -> None:
    app = notepad("one")
    async with client_of(app) as client:
        assert (await client.post("/sessions", json={"id": "s"}, headers=headers)).status_code == 403
        assert (await client.get("/health", headers=headers)).status_code == 403
    assert not app.opened


async def test_the_servers_own_pages_and_named_sites_may_ask() -> None:
    async with client_of(notepad(), origins=["https://friend.example"]) as client:
        own = {"host": "localhost:2323", "origin": "http://localhost:2323"}
        assert (await client.get("/agents", headers=own)).status_code == 200
        friend = await client.get("/agents", headers={"origin": "https://friend.example"})
        assert friend.headers["access-control-allow-origin"] == "https://friend.example"
        asked = {"origin": "https://friend.example", "access-control-request-method": "POST"}
        assert (await client.options("/sessions", headers=asked)).status_code == 200
        stranger = await client.options("/sessions", headers={**asked, "origin": "https://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers
    async with client_of(notepad()) as client:
        plain = await client.get("/agents")
        assert not [name for name in plain.headers if name.startswith("access-control")]
    with pytest.raises(SessionError, match="every site"):
        client_of(notepad(), origins=["*"])


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "application/json; charset=utf-16",
    ],
)
async def test_what_is_not_json_is_refused(kind: str) -> None:
    async with client_of(notepad()) as client:
        answer = await client.post("/sessions", content=b'{"id": "s"}', headers={"content-type": kind})
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "media_type")
        for body in (b"{", b"[1", b"\xff", b'{"id": NaN}', b"[" * 100_000):
            answer = await client.post(
                "/sessions", content=body, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 400


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f%2e%2e",
        "a%00b",
        "%00",
        "x" * 10_000,
        "a%0d%0aset-cookie:%20x",
        "%ff",
        "%25",
    ],
    ids=lambda name: name[:30],
)
@pytest.mark.parametrize(
    "path", ["/sessions/{}", "/sessions/{}/events", "/sessions/s/ticks/{}", "/sessions/s/runs/{}"]
)
async def test_an_id_is_never_a_path(name: str, path: str, tmp_path: Path) -> None:
    app = notepad(store=SqlStore(f"sqlite:///{tmp_path / 'sessions.db'}"))
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        answer = await client.get(httpx.URL(f"http://127.0.0.1{path.format(name)}"))
    assert answer.status_code in (400, 404)
    assert "set-cookie" not in answer.headers
    assert len(answer.text) < 500


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "a\0b", "", " ", "x" * 129, "a b", "-a", "é"])
async def test_an_id_that_would_be_hard_to_ask_for_is_not_given(name: str) -> None:
    async with client_of(notepad()) as client:
        assert (await client.post("/sessions", json={"id": name})).status_code == 422


@pytest.mark.parametrize("depth", [201, 900, 2_000, 100_000])
@pytest.mark.parametrize(("opens", "closes"), ["[]", ('{"a":', "}")])
async def test_a_body_that_is_nested_without_end_is_refused(depth: int, opens: str, closes: str) -> None:
    async with client_of(notepad()) as client:
        body = f'{{"metadata": {{"a": {opens * depth}1{closes * depth}}}}}'
        answer = await client.post("/sessions", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "json")
        flat = await client.post("/sessions", json={"metadata": {"a": [[1, {"b": [2]}]] * 1_000}})
        assert flat.status_code == 201


@pytest.mark.parametrize("number", ["9" * 5_000, "9" * 17, "-1", "1.5", "0x10", "²"])
async def test_a_number_in_a_header_that_is_none_is_refused(number: str) -> None:
    async with client_of(notepad()) as client:
        await client.post("/sessions", json={"id": "s"})
        events = await client.get("/sessions/s/events", headers=[(b"last-event-id", number.encode())])
        assert (events.status_code, events.json()["error"]["code"]) == (400, "last_event_id")
        sized = [(b"content-type", b"application/json"), (b"content-length", number.encode())]
        assert (await client.post("/sessions", content=b"{}", headers=sized)).status_code == 413


@pytest.mark.parametrize(
    "place",
    [
        '[NaN,"x"]',
        '[1e999,"x"]',
        '[1,"\\ud800"]',
        '[1,"\\u0000"]',
        '{"1":2,"3":4}',
        "[1]",
        "[1,2]",
        "1",
        '["a","b"]',
        f'[1{"0" * 309},"x"]',
    ],
    ids=lambda place: place[:12],
)
async def test_a_cursor_that_nobody_gave_is_refused(place: str, tmp_path: Path) -> None:
    app = notepad(store=SqlStore(f"sqlite:///{tmp_path / 'sessions.db'}"))
    async with client_of(app) as client:
        await client.post("/sessions", json={"id": "s"})
        cursor = base64.urlsafe_b64encode(place.encode()).decode()
        for forged in (cursor, cursor[:-3], place):
            answer = await client.get("/sessions", params={"cursor": forged})
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "cursor")


async def test_a_body_beyond_the_limit_is_refused_before_it_is_read() -> None:
    async with client_of(notepad(), limits=Limits(body=1000)) as client:
        answer = await client.post("/sessions", json={"metadata": {"a": "x" * 2000}})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
        read = 0

        async def endless() -> Any:
            nonlocal read
            while True:
                read += 100
                yield b"x" * 100

        answer = await client.post(
            "/sessions", content=endless(), headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413
        assert read < 5000


def test_a_body_beyond_the_limit_is_refused_while_its_sender_still_sends() -> None:
    with served(notepad(), token=False, limits=Limits(body=1000)) as (server, _):
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            head = f"POST /sessions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: 5000000000\r\n\r\n"
            raw.sendall(head.encode() + b"{")
            assert raw.recv(200).startswith(b"HTTP/1.1 413")


async def test_too_many_requests_are_told_when_to_come_back() -> None:
    async with client_of(notepad(), limits=Limits(rate=0.5, burst=3)) as client:
        answers = [await client.get("/agents") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
    assert answers[-1].json()["error"]["code"] == "too_many"


async def test_too_many_requests_at_a_time_are_refused_and_health_is_not() -> None:
    held = pause()
    async with client_of(notepad(["one", held]), limits=Limits(requests=1)) as client:
        await client.post("/sessions", json={"id": "s"})
        sent = asyncio.create_task(client.post("/sessions/s/message", json={"message": "hi"}))
        await held.reached
        assert (await client.get("/sessions/s")).status_code == 429
        assert (await client.get("/health")).status_code == 200
        held.release()
        assert (await sent).status_code == 200
        assert (await client.get("/sessions/s")).status_code == 200


def test_messages_that_wait_for_their_turn_are_bounded_also_where_who_sent_them_has_gone() -> None:
    held = pause()
    app = notepad([held], *["later"] * 3)
    with served(app, limits=Limits(line=2)) as (_, client):
        client.post("/sessions", json={"id": "s"})

        def send(request_id: str) -> int:
            """Send a message, and go away with the first of its events."""
            body = {"message": "hi", "request_id": request_id}
            with client.stream("POST", "/sessions/s/message/stream", json=body) as answer:
                return answer.status_code

        assert [send(name) for name in "abc"] == [200, 200, 200]
        assert send("c") == 200
        for path, body in (
            ("message/stream", {"message": "hi"}),
            ("message", {"message": "hi"}),
            ("runs", {"message": "hi"}),
            ("render", {}),
        ):
            refused = client.post(f"/sessions/s/{path}", json=body)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "10"), path
            said = "2 messages of this session wait for their turn already; wait 10 s"
            assert refused.json()["error"]["message"] == said
        held.release()
        known = client.post("/sessions/s/message", json={"message": "hi", "request_id": "c"})
        assert known.json()["response"] == "later"
        assert len(app.opened["s"].executions) == 3


async def test_users_see_their_own_sessions_only() -> None:
    store = MemoryStore()
    app = notepad(*["hello"] * 5, store=store)
    app.session("made-here")
    async with client_of(app, tokens=USERS) as client:
        made = await client.post("/sessions", json={"id": "s"}, headers=bearer(ALICE))
        assert made.status_code == 201
        for method, path, body in (
            ("GET", "/sessions/s", None),
            ("DELETE", "/sessions/s", None),
            ("POST", "/sessions/s/message", {"message": "hi"}),
            ("POST", "/sessions/s/fork", {}),
            ("GET", "/sessions/s/events", None),
            ("GET", "/sessions/made-here", None),
        ):
            answer = await client.request(method, path, json=body, headers=bearer(BOB))
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "session_not_found")
        assert (await client.get("/sessions", headers=bearer(BOB))).json()["sessions"] == []
        fork = (await client.post("/sessions/s/fork", json={}, headers=bearer(ALICE))).json()
        listed = (await client.get("/sessions", headers=bearer(ALICE))).json()["sessions"]
        assert {session["id"] for session in listed} == {"s", fork["id"]}
        folder = await client.post("/sessions", json={"work_dir": "/tmp"}, headers=bearer(ALICE))
        assert folder.status_code == 403
    async with client_of(notepad("again", store=store), tokens=USERS) as client:
        assert (await client.get("/sessions/s", headers=bearer(BOB))).status_code == 404
        assert (await client.get("/sessions/s", headers=bearer(ALICE))).status_code == 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alice", "line 1"),
        ("# nobody\n\n", "no users"),
        (f"a {ALICE}\nb {ALICE}", "same token"),
    ],
)
def test_a_file_of_users_that_is_wrong_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "users").write_text(text)
    with pytest.raises(SessionError, match=said):
        tokens_of(tmp_path / "users")


@pytest.mark.parametrize("token", ["", " ", "short", "15-characters-x"])
def test_a_token_that_could_be_guessed_is_refused(token: str) -> None:
    for tokens in (token, {token: "alice"}):
        with pytest.raises(SessionError, match="less than 16 characters"):
            client_of(notepad(), tokens=tokens)
    with pytest.raises(SessionError, match="less than 16 characters"):
        notepad().serve(0, token=token, background=True, say=None)


def test_a_file_of_users_is_read(tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"# ours\nalice {ALICE}\n\nbob   {BOB}\n")
    assert tokens_of(tmp_path / "users") == USERS


async def test_the_log_has_no_token_and_no_address_with_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with client_of(notepad(RuntimeError("at /etc/secret")), token=TOKEN, tokens=TOKEN) as client:
        await client.post("/sessions", json={"id": "s"})
        answer = await client.post("/sessions/s/message", json={"message": "my secret wish"})
        await client.get("/sessions/s", params={"token": TOKEN})
        await client.get("/sessions/%0aINFO%20forged")
    # The client of this test logs its own requests.
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name != "httpx")
    assert TOKEN not in logged
    assert "secret wish" not in logged
    assert "\nINFO forged" not in logged
    assert answer.json()["error"]["request_id"] in logged


def test_the_document_names_no_token() -> None:
    assert TOKEN not in str(document(ROUTES, token=True))


async def test_every_answer_forbids_what_a_browser_might_make_of_it() -> None:
    async with client_of(notepad(), tokens=TOKEN) as client:
        for answer in (
            await client.get("/health"),
            await client.get("/nowhere"),
            await client.get("/agents"),
        ):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["x-request-id"]
            assert "server" not in answer.headers
