"""Clients that stall, flood or break off: they are cut off, and nobody else notices."""

from __future__ import annotations

import json
import logging
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from nbsession.server import Limits
from nbsession.testing import ScriptedModel
from tests.server.conftest import notepad, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbsession.server import Server

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


@contextmanager
def connected(server: Server, head: str = "", body: bytes = b"") -> Iterator[socket.socket]:
    """Connect to a server and send the head of a request, as far as it is given."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        said = f"{head}\r\nHost: {host}:{port}\r\nAuthorization: Bearer {server.token}\r\n" if head else ""
        raw.sendall(said.encode() + body)
        yield raw


@contextmanager
def socket_of(server: Server) -> Iterator[socket.socket]:
    """Open a WebSocket by hand."""
    head = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: nbsession, bearer.{server.token}\r\n\r\n"
    )
    with connected(server, "GET /ws HTTP/1.1", head.encode()) as raw:
        read = b""
        while b"\r\n\r\n" not in read:
            read += raw.recv(1)
        assert read.startswith(b"HTTP/1.1 101")
        yield raw


def frame(kind: int, data: bytes) -> bytes:
    """Return a whole frame with a mask of zeros."""
    length = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0xFE]) + struct.pack(">H", len(data))
    return bytes([0x80 | kind]) + length + b"\0\0\0\0" + data


def ends(raw: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    read = b""
    try:
        while new := raw.recv(65536):
            read += new
    except ConnectionError:
        pass
    return read


def send_all(raw: socket.socket, data: bytes, times: int) -> None:
    for _ in range(times):
        raw.sendall(data)


@pytest.mark.parametrize("sent", ["", "GET /health HTTP/1.1", "POST /sessions HTTP/1.1"])
def test_who_does_not_send_the_head_of_a_request_is_cut_off(sent: str) -> None:
    with served(notepad(), limits=Limits(stalled=0.2)) as (server, client):
        with connected(server, sent) as raw:
            assert ends(raw) == b""
        with connected(
            server, "GET /health HTTP/1.1", b"\r\nGET /he"
        ) as raw:  # the second one on its connection
            assert ends(raw).count(b"HTTP/1.1 200") == 1
        assert client.get("/health").status_code == 200


def test_who_stops_in_the_middle_of_a_body_is_told_so() -> None:
    with served(notepad(), limits=Limits(stalled=0.2)) as (server, _):
        head = b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        with connected(server, "POST /sessions HTTP/1.1", head) as raw:
            answer = ends(raw)
    assert answer.startswith(b"HTTP/1.1 408")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "slow"


def test_who_takes_nothing_of_an_answer_is_cut_off() -> None:
    app = notepad()
    app.model = ScriptedModel("x" * 30_000_000)
    with served(app, limits=Limits(stalled=0.2)) as (server, client):
        client.headers["connection"] = "close"
        client.post("/sessions", json={"id": "s"})
        client.post("/sessions/s/message", json={"message": "hi"}, timeout=60).raise_for_status()
        assert server._uvicorn is not None
        connections = server._uvicorn.server_state.connections
        with connected(server, "GET /sessions/s/ticks/0 HTTP/1.1", b"\r\n") as raw:
            while not connections:
                pass
            while connections:
                pass
            assert 0 < len(ends(raw)) < 30_000_000
        assert client.get("/health").status_code == 200


def test_a_flood_of_pings_whose_answers_nobody_reads_ends_the_socket() -> None:
    with served(notepad()) as (server, client), socket_of(server) as raw:
        flood = frame(PING, b"p" * 125) * 1000
        with pytest.raises(ConnectionError):
            send_all(raw, flood, 1000)
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(BINARY, b"\0\1"), 1003),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (bytes([0x80 | TEXT, 0x80 | 127]) + struct.pack(">Q", 2**40), 1009),
        (bytes([0x80 | 0x0B, 0x80]) + b"\0\0\0\0", 1002),
        (frame(TEXT, b"x")[:1] + b"\x01x", 1002),
    ],
    ids=["binary", "no characters", "a terabyte", "no such kind", "without a mask"],
)
def test_a_frame_that_is_none_of_ours_ends_the_socket_with_why(
    sent: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    with served(notepad()) as (server, client):
        with socket_of(server) as raw:
            raw.sendall(sent)
            closed = raw.recv(4)
        assert closed[0] & 0x0F == CLOSE
        assert struct.unpack(">H", closed[2:4])[0] == code
        assert client.get("/health").status_code == 200


def test_what_is_said_on_a_socket_forges_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with served(notepad()) as (server, _), socket_of(server) as raw:
        raw.sendall(frame(TEXT, json.dumps({"do": "subscribe", "session": "a\nINFO forged"}).encode()))
        assert b"session_not_found" in raw.recv(1000)
        raw.sendall(frame(TEXT, b"[" * 5000))
        assert b"invalid" in raw.recv(1000)
        logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "\nINFO forged" not in logged
    assert server.token is not None
    assert server.token not in logged  # neither in its header nor as a page's socket says it


def test_a_body_that_breaks_off_is_no_failure_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nbsession.server")

    def lines() -> list[Any]:
        return [record for record in caplog.records if "/sessions" in record.getMessage()]

    with served(notepad()) as (server, _):
        head = b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        with connected(server, "POST /sessions HTTP/1.1", head):
            pass
        while not lines():
            pass
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
