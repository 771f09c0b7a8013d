"""A server on the loopback that speaks Chat Completions and knows how it fails.

    with FakeChat() as server:
        server.will(text("Hello."), tool_call("add_note", {"note": "x"}), status(429))
        model = OpenAIModel("gpt-test", base_url=server.url + "/v1")

Replies are made, broken and served as those of ``fake_messages`` are.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from tests.support.fake_messages import FakeMessages, Reply, serve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.fake_messages import SSE

MODEL = "gpt-test-1"
USAGE = {
    "prompt_tokens": 36,
    "completion_tokens": 17,
    "total_tokens": 53,
    "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
DONE: SSE = {"done": True}


def answer(
    *deltas: SSE, finish: str | None = "stop", usage: Mapping[str, Any] | None = USAGE, model: str = MODEL
) -> Reply:
    """Make a whole answer of deltas."""
    chunks = [chunk({"role": "assistant", "content": ""}, model=model), *(chunk(delta) for delta in deltas)]
    if finish is not None:
        chunks.append(chunk({}, finish=finish))
    if usage is not None:
        chunks.append({**chunk({}), "choices": [], "usage": usage})
    return Reply((*chunks, DONE))


def chunk(delta: SSE, *, finish: str | None = None, index: int = 0, model: str = MODEL) -> SSE:
    """Make one chunk."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {
        "id": "chatcmpl_1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [choice],
    }


def pieces(words: str, field: str = "content", size: int = 8) -> list[SSE]:
    """Cut text into deltas."""
    return [{field: words[at : at + size]} for at in range(0, len(words), size)]


def calling(name: str, arguments: str, id: str = "call_1", index: int = 0, size: int = 5) -> list[SSE]:
    """Make the deltas of a tool call."""
    start = {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}
    more = [
        {"index": index, "function": {"arguments": arguments[at : at + size]}}
        for at in range(0, len(arguments), size)
    ]
    return [{"tool_calls": [delta]} for delta in (start, *more)]


def text(words: str) -> Reply:
    """Answer with text."""
    return answer(*pieces(words))


def tool_call(name: str, input: Mapping[str, Any], id: str = "call_1") -> Reply:
    """Answer with a tool call."""
    return answer(*calling(name, json.dumps(input), id), finish="tool_calls")


def status(code: int, reason: str | None = None, words: str = "no luck", **headers: str) -> Reply:
    """Refuse with an HTTP status."""
    return Reply(
        status=code,
        body={"error": {"message": words, "type": "error", "param": None, "code": reason}},
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def failing(reply: Reply, after: int, reason: str | None, words: str) -> Reply:
    """Let an error follow some of a reply's chunks."""
    error = {"error": {"message": words, "type": "error", "code": reason}}
    return Reply((*reply.events[:after], error))


class FakeChat(FakeMessages):
    """The server."""

    greeting = text("Hello from the fake server.")

    def frame(self, event: SSE) -> bytes:
        if "raw" in event:
            return bytes(event["raw"], "utf-8")
        data = "[DONE]" if event is DONE else json.dumps(event)
        return f"data: {data}\n\n".encode()

    def bodies(self) -> Sequence[SSE]:
        """The bodies of the requests that came in."""
        return [request.body for request in self.requests]


if __name__ == "__main__":
    serve(FakeChat(), answer(*pieces("Twelve chars" * int(sys.argv[1]), size=12)))
