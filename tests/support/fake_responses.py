"""A server on the loopback that speaks the Responses API and knows how it fails.

    with FakeResponses() as server:
        server.will(text("Hello."), tool_call("add_note", {"note": "x"}), status(429))
        model = OpenAIModel("gpt-test", api="responses", base_url=server.url + "/v1")

Every event is checked by the SDK's own types. Replies are made, broken and served as those of
``fake_messages`` are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.support.fake_chat import FakeChat, status
from tests.support.fake_messages import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.support.fake_messages import SSE

__all__ = ["status"]

MODEL = "gpt-test-1"
USAGE = {
    "input_tokens": 36,
    "output_tokens": 17,
    "total_tokens": 53,
    "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 5},
    "output_tokens_details": {"reasoning_tokens": 3},
}


@dataclass(frozen=True)
class Item:
    """One item of an answer: as it begins, the events in it (without their place), and as it ends.

    ``done=None`` leaves it open: the answer was cut in it.
    """

    added: SSE
    events: Sequence[SSE] = ()
    done: SSE | None = field(default_factory=dict)


def said(words: str, *, id: str = "msg_1", annotations: Sequence[SSE] = (), phase: str | None = None) -> Item:
    """Make a message of one text."""
    return said_of([words[at : at + 8] for at in range(0, len(words), 8)], id, annotations, phase)


def said_of(
    pieces: Iterable[str], id: str = "msg_1", annotations: Sequence[SSE] = (), phase: str | None = None
) -> Item:
    """Make a message of one text, in the given deltas."""
    pieces = list(pieces)
    words = "".join(pieces)
    part = {"type": "output_text", "text": words, "annotations": list(annotations)}
    base = {"type": "message", "id": id, "role": "assistant", "phase": phase}
    inside: SSE = {"item_id": id, "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": []}
    events: list[SSE] = [
        {"type": "response.content_part.added", **inside, "part": empty},
        *[
            {"type": "response.output_text.delta", **inside, "delta": piece, "logprobs": []}
            for piece in pieces
        ],
        *[
            {
                "type": "response.output_text.annotation.added",
                **inside,
                "annotation": note,
                "annotation_index": at,
            }
            for at, note in enumerate(annotations)
        ],
        {"type": "response.output_text.done", **inside, "text": words, "logprobs": []},
        {"type": "response.content_part.done", **inside, "part": part},
    ]
    return Item(
        {**base, "status": "in_progress", "content": []},
        events,
        {**base, "status": "completed", "content": [part]},
    )


def refused(words: str, id: str = "msg_1") -> Item:
    """Make a message that refuses."""
    base = {"type": "message", "id": id, "role": "assistant"}
    inside = {"item_id": id, "content_index": 0}
    events = [
        {"type": "response.refusal.delta", **inside, "delta": words[:5]},
        {"type": "response.refusal.delta", **inside, "delta": words[5:]},
        {"type": "response.refusal.done", **inside, "refusal": words},
    ]
    done = {**base, "status": "completed", "content": [{"type": "refusal", "refusal": words}]}
    return Item({**base, "status": "in_progress", "content": []}, events, done)


def reasoned(
    *summary: str, encrypted: str | None = "c2VhbGVk", id: str = "rs_1", status: str | None = None
) -> Item:
    """Make reasoning with the paragraphs of its summary."""
    base: SSE = {"type": "reasoning", "id": id, "summary": []}
    parts = [{"type": "summary_text", "text": words} for words in summary]
    events: list[SSE] = []
    for number, part in enumerate(parts):
        inside = {"item_id": id, "summary_index": number}
        empty = {"type": "summary_text", "text": ""}
        words = part["text"]
        events += [
            {"type": "response.reasoning_summary_part.added", **inside, "part": empty},
            *[
                {"type": "response.reasoning_summary_text.delta", **inside, "delta": words[at : at + 8]}
                for at in range(0, len(words), 8)
            ],
            {"type": "response.reasoning_summary_text.done", **inside, "text": words},
            {"type": "response.reasoning_summary_part.done", **inside, "part": part},
        ]
    done = {**base, "summary": parts, "encrypted_content": encrypted, "status": status}
    return Item({**base, "encrypted_content": "aGFsZg"}, events, done)


def calling(
    name: str, arguments: str, call_id: str = "call_1", *, status: str | None = "completed", size: int = 5
) -> Item:
    """Make a call of a function; with ``status=None`` the answer ends within it."""
    item_id = f"fc_{call_id}"
    base = {"type": "function_call", "id": item_id, "call_id": call_id, "name": name}
    events: list[SSE] = [
        {
            "type": "response.function_call_arguments.delta",
            "item_id": item_id,
            "delta": arguments[at : at + size],
        }
        for at in range(0, len(arguments), size)
    ]
    added = {**base, "arguments": "", "status": "in_progress"}
    if status is None:
        return Item(added, events, None)
    events.append(
        {
            "type": "response.function_call_arguments.done",
            "item_id": item_id,
            "name": name,
            "arguments": arguments,
        }
    )
    return Item(added, events, {**base, "arguments": arguments, "status": status})


def searched(
    *queries: str, sources: Sequence[str] = (), id: str = "ws_1", kind: str = "search", **action: Any
) -> Item:
    """Make a search of the web by the service."""
    given = {"query": queries[0], "queries": list(queries)} if queries else {}
    found = {"sources": [{"type": "url", "url": url} for url in sources]} if sources else {}
    base = {"type": "web_search_call", "id": id, "action": {"type": kind, **given, **action}}
    done = {**base, "status": "completed", "action": {"type": kind, **given, **found, **action}}
    events = [
        {"type": f"response.web_search_call.{state}", "item_id": id}
        for state in ("in_progress", "searching", "completed")
    ]
    return Item({**base, "status": "in_progress"}, events, done)


def ran(code: str, *outputs: SSE, id: str = "ci_1") -> Item:
    """Make a run of code at the service."""
    base = {"type": "code_interpreter_call", "id": id, "container_id": "cntr_1"}
    events = [
        {"type": "response.code_interpreter_call.in_progress", "item_id": id},
        {"type": "response.code_interpreter_call_code.delta", "item_id": id, "delta": code},
        {"type": "response.code_interpreter_call_code.done", "item_id": id, "code": code},
        {"type": "response.code_interpreter_call.completed", "item_id": id},
    ]
    return Item(
        {**base, "status": "in_progress", "code": "", "outputs": None},
        events,
        {**base, "status": "completed", "code": code, "outputs": list(outputs)},
    )


def item(**done: Any) -> Item:
    """Make an item of any other type, which comes at once."""
    return Item(done, (), done)


def answer(
    *items: Item,
    incomplete: str | None = None,
    usage: Mapping[str, Any] | None = USAGE,
    model: str = MODEL,
    error: Mapping[str, Any] | None = None,
    searches: int | None = None,
) -> Reply:
    """Make a whole answer of items; ``incomplete`` says why it was cut, ``error`` that it failed."""
    asked = response(model, "in_progress")
    events: list[SSE] = [
        {"type": "response.created", "response": asked},
        {"type": "response.in_progress", "response": asked},
    ]
    output = []
    for place, part in enumerate(items):
        events.append({"type": "response.output_item.added", "output_index": place, "item": part.added})
        events += [{"output_index": place, **event} for event in part.events]
        if part.done is not None:
            output.append(part.done)
            events.append({"type": "response.output_item.done", "output_index": place, "item": part.done})
    state: Literal["failed", "incomplete", "completed"] = (
        "failed" if error else "incomplete" if incomplete else "completed"
    )
    last = {
        **response(model, state),
        "output": output,
        "usage": usage,
        "error": error,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
    }
    if searches is not None:
        images = {"input_tokens": 0, "input_tokens_details": {"image_tokens": 0, "text_tokens": 0}}
        last["tool_usage"] = {
            "web_search": {"num_requests": searches},
            "image_gen": {**images, "output_tokens": 0, "total_tokens": 0},
        }
    events.append({"type": f"response.{state}", "response": last})
    return Reply(tuple(checked({**event, "sequence_number": at}) for at, event in enumerate(events)))


def response(model: str, state: str) -> SSE:
    """Make a response as it is told of."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": state,
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
    }


def checked(event: SSE) -> SSE:
    """Return an event that the SDK's types take; raise ``ValidationError`` for another."""
    _types().validate_python(event)
    return event


@cache
def _types() -> TypeAdapter[Any]:
    return TypeAdapter(ResponseStreamEvent)


def text(words: str) -> Reply:
    """Answer with text."""
    return answer(said(words))


def tool_call(name: str, input: Mapping[str, Any], call_id: str = "call_1") -> Reply:
    """Answer with a tool call."""
    return answer(calling(name, json.dumps(input), call_id))


def failing(reply: Reply, after: int, code: str | None, words: str) -> Reply:
    """Let an ``error`` event follow some of a reply's events."""
    error = checked(
        {"type": "error", "code": code, "message": words, "param": None, "sequence_number": after}
    )
    return Reply((*reply.events[:after], error))


class FakeResponses(FakeChat):
    """The server."""

    greeting = text("Hello from the fake server.")

    def frame(self, event: SSE) -> bytes:
        if "raw" in event:
            return bytes(event["raw"], "utf-8")
        return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
