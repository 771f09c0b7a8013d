"""A server on the loopback that speaks the Message Batches protocol; what it sends is written by the SDK's own types.

    with FakeBatches() as server:
        model = AnthropicModel("claude-test-1", base_url=server.url, api_key="sk-test")

Each batch ends after ``looks`` looks at it, and not before ``release`` where ``held``; its results come in another order than its requests.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from anthropic.types import Message, TextBlock, Usage
from anthropic.types.messages import (
    MessageBatch,
    MessageBatchCanceledResult,
    MessageBatchErroredResult,
    MessageBatchExpiredResult,
    MessageBatchIndividualResponse,
    MessageBatchRequestCounts,
    MessageBatchSucceededResult,
)
from anthropic.types.shared import ErrorResponse, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

PATH = "/v1/messages/batches"


def said(request: Mapping[str, Any]) -> str:
    """Return the last text of a request's messages."""
    return str(request["messages"][-1]["content"][-1]["text"])


class Batch:
    """One that was made, and how often it was looked at."""

    def __init__(self, id: str, requests: list[dict[str, Any]]) -> None:
        self.id = id
        self.requests = requests
        self.looks = 0
        self.canceled = False
        self.created = datetime.now(UTC)


class FakeBatches:
    """The server. ``batches`` are those that were made, ``asked`` the paths of all requests.

    ``answer`` makes the text of an answer of a request's params; ``fate`` says how the request of an id ends that is sent
    for the nth time: ``"succeeded"``, ``"errored"``, ``"expired"``, ``"canceled"``, or ``"lost"``. ``refusals`` are statuses of the next
    requests, with their kind and words. A ``mute`` server makes a batch and does not say so; ``torn`` are results to come that break off in a line.
    """

    def __init__(self, *, looks: int = 0, held: bool = False, mute: bool = False) -> None:
        self.batches: list[Batch] = []
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.refusals: list[tuple[int, str, str]] = []
        self.answer: Callable[[Mapping[str, Any]], str] = lambda request: f"You asked: {said(request)}"
        self.fate: Callable[[Mapping[str, Any], int], str] = lambda *_: "succeeded"
        self.looks = looks
        self.mute = mute
        self.torn = 0
        self.looked = threading.Event()
        self.made = threading.Event()
        self.page = 2
        self._released = threading.Event()
        self._stopping = threading.Event()
        self._sent: Counter[str] = Counter()
        self._nth: dict[tuple[str, str], int] = {}
        if not held:
            self._released.set()
        self._server = _Server(("127.0.0.1", 0), self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def sent(self) -> int:
        """How many requests came in all batches."""
        return sum(len(batch.requests) for batch in self.batches)

    def release(self) -> None:
        """Let batches end."""
        self._released.set()

    def create(self, requests: list[dict[str, Any]]) -> Batch:
        """Make a batch, also one that somebody else has sent."""
        batch = Batch(f"msgbatch_{len(self.batches) + 1}", requests)
        for each in requests:
            self._sent[each["custom_id"]] += 1
            self._nth[batch.id, each["custom_id"]] = self._sent[each["custom_id"]]
        self.batches.append(batch)
        self.made.set()
        return batch

    def find(self, id: str) -> Batch | None:
        return next((batch for batch in self.batches if batch.id == id), None)

    def look(self, batch: Batch) -> MessageBatch:
        """Look at a batch."""
        batch.looks += 1
        self.looked.set()
        return self.told(batch)

    def told(self, batch: Batch) -> MessageBatch:
        """Say how a batch stands."""
        ended = self._released.is_set() and batch.looks > self.looks
        counts: dict[str, Any] = dict.fromkeys(
            ("processing", "succeeded", "errored", "expired", "canceled"), 0
        )
        for each in batch.requests:
            fate = self._fate(batch, each) if ended else "processing"
            counts["expired" if fate == "lost" else fate] += 1
        return MessageBatch(
            id=batch.id,
            type="message_batch",
            created_at=batch.created,
            expires_at=batch.created + timedelta(days=1),
            ended_at=datetime.now(UTC) if ended else None,
            processing_status="ended" if ended else "canceling" if batch.canceled else "in_progress",
            request_counts=MessageBatchRequestCounts(**counts),
            results_url=f"{self.url}{PATH}/{batch.id}/results" if ended else None,
        )

    def results(self, batch: Batch) -> bytes:
        """Write the results, the last request's first."""
        lines = []
        for each in reversed(batch.requests):
            if (fate := self._fate(batch, each)) != "lost":
                result = self._result(fate, each["params"])
                line = MessageBatchIndividualResponse(custom_id=each["custom_id"], result=result)
                lines.append(line.model_dump_json() + "\n")
        data = "".join(lines).encode()
        self.torn, torn = max(0, self.torn - 1), self.torn
        return data[: len(data) - 40] if torn else data

    def _fate(self, batch: Batch, each: Mapping[str, Any]) -> str:
        return (
            "canceled"
            if batch.canceled
            else self.fate(each["params"], self._nth[batch.id, each["custom_id"]])
        )

    def _result(self, fate: str, request: Mapping[str, Any]) -> Any:
        if fate == "errored":
            error = InvalidRequestError(type="invalid_request_error", message="max_tokens: too many")
            return MessageBatchErroredResult(type="errored", error=ErrorResponse(type="error", error=error))
        if fate == "expired":
            return MessageBatchExpiredResult(type="expired")
        if fate == "canceled":
            return MessageBatchCanceledResult(type="canceled")
        message = Message(
            id="msg_1",
            type="message",
            role="assistant",
            model=request["model"],
            content=[TextBlock(type="text", text=self.answer(request))],
            stop_reason="end_turn",
            usage=Usage(input_tokens=100, output_tokens=20, service_tier="batch"),
        )
        return MessageBatchSucceededResult(type="succeeded", message=message)

    @property
    def stopping(self) -> threading.Event:
        return self._stopping

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], owner: FakeBatches) -> None:
        super().__init__(address, _Handler)
        self.owner = owner


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        owner, (path, query) = self.server.owner, self._came()
        if self._refused():
            return
        if path == PATH:
            self._list(query)
        elif (batch := owner.find(path.removeprefix(PATH + "/").removesuffix("/results"))) is None:
            self._fail(404, "not_found_error", "no such batch")
        elif path.endswith("/results"):
            self._send(200, owner.results(batch), "application/binary")
        else:
            self._send(200, owner.look(batch).model_dump_json().encode())

    def do_POST(self) -> None:
        owner, (path, _) = self.server.owner, self._came()
        body = json.loads(self.rfile.read(int(self.headers["content-length"])) or "{}")
        if self._refused():
            return
        if path == PATH:
            batch = owner.create(body["requests"])
            if owner.mute:
                owner.stopping.wait()
                self.close_connection = True
                return
        else:
            found = owner.find(path.removeprefix(PATH + "/").removesuffix("/cancel"))
            assert found is not None
            batch, found.canceled = found, True
        self._send(200, owner.told(batch).model_dump_json().encode())

    def _came(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        self.server.owner.asked.append(f"{self.command} {parts.path}")
        self.server.owner.headers.append({name.lower(): value for name, value in self.headers.items()})
        return parts.path, parse_qs(parts.query)

    def _list(self, query: Mapping[str, list[str]]) -> None:
        """Give the newest first, a page at a time."""
        newest = list(reversed(self.server.owner.batches))
        after = [n for n, batch in enumerate(newest) if batch.id == query.get("after_id", [""])[0]]
        begin = after[0] + 1 if after else 0
        page = newest[begin : begin + self.server.owner.page]
        data = [json.loads(self.server.owner.told(batch).model_dump_json()) for batch in page]
        ids = {"first_id": page[0].id if page else None, "last_id": page[-1].id if page else None}
        more = begin + len(page) < len(newest)
        self._send(200, json.dumps({"data": data, "has_more": more, **ids}).encode())

    def _refused(self) -> bool:
        if not self.server.owner.refusals:
            return False
        self._fail(*self.server.owner.refusals.pop(0))
        return True

    def _fail(self, status: int, kind: str, words: str) -> None:
        body = {"type": "error", "error": {"type": kind, "message": words}}
        self._send(status, json.dumps(body).encode())

    def _send(self, status: int, data: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
