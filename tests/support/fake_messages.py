"""A server on the loopback that speaks the Messages API and knows how it fails.

    with FakeMessages() as server:
        server.will(text("Hello."), tool_use("add_note", {"note": "x"}), status(529))
        model = AnthropicModel("claude-test", base_url=server.url)

Each request takes the next reply; without one it is answered with a greeting.
``python -m tests.support.fake_messages 100`` serves answers of 100 deltas from a process of its own.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Self

MODEL = "claude-test-1"
USAGE = {
    "input_tokens": 11,
    "cache_read_input_tokens": 20,
    "cache_creation_input_tokens": 5,
    "output_tokens": 1,
}

SSE = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """One answer: events of a stream, or a status with a body.

    ``end`` says how the stream ends after its events: ``"whole"`` as it should,
    ``"cut"`` without the last chunk, ``"reset"`` with a TCP reset, ``"stall"`` not
    at all. ``pause`` are seconds between two events. ``cut`` makes chunks of the bytes
    of all events; without it each event is one.
    """

    events: tuple[SSE, ...] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    end: Literal["whole", "cut", "reset", "stall"] = "whole"
    pause: float = 0.0
    cut: Callable[[bytes], Iterable[bytes]] | None = None


@dataclass(frozen=True)
class Request:
    """What came in. Header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


def message(*blocks: Sequence[SSE], stop_reason: str = "end_turn", **delta: Any) -> Reply:
    """Make a whole answer of blocks."""
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": []}
    events: list[SSE] = [
        {"type": "message_start", "message": {**start, "stop_reason": None, "usage": USAGE}},
        {"type": "ping"},
    ]
    for index, block in enumerate(blocks):
        events += [{**event, "index": index} for event in block]
    details = {"thinking_tokens": 3}
    events += [
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason, "stop_sequence": None, **delta},
            "usage": {"output_tokens": 17, "output_tokens_details": details},
        },
        {"type": "message_stop"},
    ]
    return Reply(tuple(events))


def text_block(text: str, size: int = 8) -> list[SSE]:
    return text_block_of([text[at : at + size] for at in range(0, len(text), size)])


def text_block_of(pieces: Iterable[str]) -> list[SSE]:
    return _block({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces])


def thinking_block(text: str, signature: str = "c2lnbmVk", size: int = 8) -> list[SSE]:
    deltas: list[SSE] = [
        {"type": "thinking_delta", "thinking": text[at : at + size]} for at in range(0, len(text), size)
    ]
    if signature:
        deltas.append({"type": "signature_delta", "signature": signature})
    return _block({"type": "thinking", "thinking": "", "signature": ""}, deltas)


def tool_block(name: str, input_json: str, id: str = "toolu_1", size: int = 5) -> list[SSE]:
    deltas = [
        {"type": "input_json_delta", "partial_json": input_json[at : at + size]}
        for at in range(0, len(input_json), size)
    ]
    empty = {"type": "input_json_delta", "partial_json": ""}
    return _block({"type": "tool_use", "id": id, "name": name, "input": {}}, [empty, *deltas])


def text(words: str) -> Reply:
    """Answer with text."""
    return message(text_block(words))


def tool_use(name: str, input: Mapping[str, Any], id: str = "toolu_1") -> Reply:
    """Answer with a tool call."""
    return message(tool_block(name, json.dumps(input), id), stop_reason="tool_use")


def status(code: int, kind: str = "api_error", words: str = "no luck", **headers: str) -> Reply:
    """Refuse with an HTTP status."""
    body = {"type": "error", "error": {"type": kind, "message": words}}
    return Reply(
        status=code, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def broken(reply: Reply, after: int, end: Literal["whole", "cut", "reset", "stall"]) -> Reply:
    """Break a reply off after some of its events."""
    return replace(reply, events=reply.events[:after], end=end)


def failing(reply: Reply, after: int, kind: str, words: str) -> Reply:
    """Let an ``error`` event follow some of a reply's events."""
    error = {"type": "error", "error": {"type": kind, "message": words}}
    return replace(reply, events=(*reply.events[:after], error))


def _block(start: SSE, deltas: Sequence[SSE]) -> list[SSE]:
    return [
        {"type": "content_block_start", "content_block": start},
        *[{"type": "content_block_delta", "delta": delta} for delta in deltas],
        {"type": "content_block_stop"},
    ]


class FakeMessages:
    """The server. ``requests`` are those that came in; ``asked`` is set when there is one, ``disconnected``
    when a client hangs up early.

    Servers of other protocols greet, and frame their events, in another way. ``pages``
    are JSON documents by path, or functions that make one of a request's body. ``diagnostics`` says
    what becomes of the field of that name: it is passed over, answered, or refused.
    """

    greeting = text("Hello from the fake server.")
    diagnostics: Literal["ignored", "answered", "refused"] = "ignored"

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.asked = threading.Event()
        self.disconnected = threading.Event()
        self.stopping = threading.Event()
        self.replies: deque[Reply] = deque()
        self.answered: dict[str, dict[str, Any]] = {}
        self.pages: dict[str, Any] = {}
        self._server = _Server(("127.0.0.1", 0), self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def will(self, *replies: Reply) -> None:
        """Answer the next requests with these."""
        self.replies.extend(replies)

    def diagnosed(self, reply: Reply, body: dict[str, Any]) -> Reply:
        """Let a reply say why the cache missed, as the service does to a request that asks."""
        if self.diagnostics == "ignored" or "diagnostics" not in body or not reply.events:
            return reply
        if self.diagnostics == "refused":
            return status(400, "invalid_request_error", "diagnostics: Extra inputs are not permitted")
        before = body["diagnostics"]["previous_message_id"]
        found = None if before is None else _diagnosis(self.answered.get(before), body)
        answer = f"msg_{len(self.requests)}"
        self.answered[answer] = body
        first = reply.events[0]
        start = {**first, "message": {**first["message"], "id": answer, "diagnostics": found}}
        return replace(reply, events=(start, *reply.events[1:]))

    def frame(self, event: SSE) -> bytes:
        """Write an event as it goes over the wire."""
        if "raw" in event:
            return bytes(event["raw"], "utf-8")
        return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()


def _diagnosis(before: dict[str, Any] | None, body: dict[str, Any]) -> dict[str, Any] | None:
    """Say what changed first between two requests; ``None`` where the later one only has more messages."""
    if before is None:
        return {"cache_miss_reason": {"type": "previous_message_not_found"}}
    for name in ("model", "system", "tools", "messages"):
        old, new = (_unmarked(request.get(name)) for request in (before, body))
        if old != (new[: len(old)] if name == "messages" else new):
            return {"cache_miss_reason": {"type": f"{name}_changed", "cache_missed_input_tokens": 1200}}
    return None


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unmarked(item) for name, item in value.items() if name != "cache_control"}
    return [_unmarked(item) for item in value] if isinstance(value, list) else value


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def __init__(self, address: tuple[str, int], owner: FakeMessages) -> None:
        super().__init__(address, _Handler)
        self.owner = owner

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error here."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.owner.connections += 1

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.owner.requests.append(Request(self.path, headers, {}))
        page = self.server.owner.pages.get(self.path)
        self._send_body(status(404) if page is None else Reply(body=page))

    def do_POST(self) -> None:
        owner = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        owner.requests.append(Request(self.path, headers, body))
        owner.asked.set()
        if self.path in owner.pages:
            self._send_body(Reply(body=owner.pages[self.path](body)))
            return
        reply = owner.replies.popleft() if owner.replies else owner.greeting
        reply = owner.diagnosed(reply, body)
        if reply.body is not None:
            self._send_body(reply)
        else:
            self._send_stream(reply)

    def _send_body(self, reply: Reply) -> None:
        data = json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"content-type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _send_stream(self, reply: Reply) -> None:
        self.send_response(200)
        for name, value in {"content-type": "text/event-stream", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        frames: Iterable[bytes] = map(self.server.owner.frame, reply.events)
        if reply.cut is not None:
            frames = reply.cut(b"".join(frames))
        try:
            for data in frames:
                if reply.pause:
                    time.sleep(reply.pause)
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        except OSError:
            self.server.owner.disconnected.set()
            raise
        self._end(reply.end)

    def _end(self, end: str) -> None:
        if end == "whole":
            self.wfile.write(b"0\r\n\r\n")
            return
        if end == "stall":
            self._wait_for_hang_up()
        elif end == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # Only the last close of a socket resets it, and these files hold it open.
            self.wfile.close()
            self.rfile.close()
            self.connection.close()
            raise ConnectionResetError
        self.close_connection = True

    def _wait_for_hang_up(self) -> None:
        while not self.server.owner.stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.02)
            if readable and not self._more():
                self.server.owner.disconnected.set()
                return

    def _more(self) -> bytes:
        """Peek at what comes next: nothing of a client that hung up, or reset since it had not read all."""
        try:
            return bytes(self.connection.recv(1, socket.MSG_PEEK))
        except ConnectionResetError:
            return b""


def serve(server: FakeMessages, reply: Reply) -> None:
    """Give the same reply until standard input ends; print the URL."""
    with server:
        # Written once, so that the server is not what takes the time.
        written = tuple({"raw": server.frame(event).decode()} for event in reply.events)
        server.replies = _Endless(replace(reply, events=written))
        print(server.url, flush=True)  # noqa: T201  # whoever started it reads it
        sys.stdin.read()


class _Endless(deque[Reply]):
    """The same reply again and again."""

    def __init__(self, reply: Reply) -> None:
        super().__init__([reply])

    def popleft(self) -> Reply:
        return self[0]


if __name__ == "__main__":
    serve(FakeMessages(), message(text_block("Twelve chars" * int(sys.argv[1]), 12)))
