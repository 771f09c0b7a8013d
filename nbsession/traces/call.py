"""What a foreign record tells of a model call, in this package's terms; readers make these, a trace is made of them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nbsession.content import Document, Image, Text, Thinking, ToolCall, ToolResult, in_a_line

if TYPE_CHECKING:
    from nbsession.content import Block, ToolSpec
    from nbsession.usage import Usage

UNKNOWN = "unknown"
"""What stands for a name that a record does not have."""

MOST = 2**63 - 1

STOPPED = {
    "stop": "end_turn",
    "success": "end_turn",
    "tool_call": "tool_use",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "model_length": "context_window",
    "content_filter": "refusal",
}
"""Why a model stopped, as others write it; what is not here stays as it is."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message of what a model was sent. ``role`` is ``"system"``, too, here."""

    role: Literal["system", "user", "assistant", "tool"]
    content: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A model call: what was sent, and what came back.

    ``asked`` and ``model`` are the model's name as it was asked for and as it answered. Times are in seconds since
    the epoch, ``None`` where they are not told, and so are ``usage`` and ``cost`` (US dollars). ``error`` is what the
    call failed with; ``interrupted`` says that the answer was cut.
    """

    messages: Sequence[Said]
    answer: tuple[Block, ...] = ()
    tools: Sequence[ToolSpec] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    asked: str = UNKNOWN
    model: str = ""
    stop_reason: str = ""
    usage: Usage | None = None
    cost: float | None = None
    started: float | None = None
    ended: float | None = None
    error: str = ""
    interrupted: bool = False


@dataclass(slots=True)
class Told:
    """All that a record tells of one conversation. ``results`` are what tools gave, by the ids of their calls."""

    id: str
    source: str
    calls: list[Call] = field(default_factory=list)
    results: dict[str, ToolResult] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Say something of how it was read, once, in a line."""
        self.notes[in_a_line(text)] = None

    def odd(self, what: str, value: Any) -> Text:
        """Keep what is not known as text, and say so."""
        self.note(f"{what} is shown as text")
        return Text(as_text(value))


def follow(told: Told, messages: Sequence[Said], *, asked: str = UNKNOWN) -> list[Call]:
    """Return the calls that a conversation was made by: every message of the model, after all that stands before it."""
    told.note("contexts are rebuilt from the conversation; which tools and settings were sent is unknown")
    return [
        Call(messages[:place], said.content, asked=asked, stop_reason=_stopped(said.content))
        for place, said in enumerate(messages)
        if said.role == "assistant"
    ]


def _stopped(answer: Sequence[Block]) -> str:
    return "tool_use" if any(isinstance(block, ToolCall) for block in answer) else ""


def stop_reason(told: Any) -> str:
    """Return why a model stopped, ``""`` where it is not told."""
    return STOPPED.get(str(told), str(told)) if told else ""


def call_of(identifier: Any, name: Any, arguments: Any) -> ToolCall:
    """Return a tool call; arguments that are no object stand under ``value``."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            pass
    given = arguments if isinstance(arguments, Mapping) else {} if arguments is None else {"value": arguments}
    return ToolCall(str(identifier or ""), str(name or UNKNOWN), dict(given))


def result_of(
    identifier: Any, name: Any, content: tuple[Block, ...], *, error: bool = False, seconds: float = 0.0
) -> ToolResult:
    """Return a tool's result; what a result cannot hold is text in it."""
    blocks = tuple(
        block if isinstance(block, (Text, Image, Document)) else Text(str(block)) for block in content
    )
    return ToolResult(
        str(identifier or ""),
        str(name or UNKNOWN),
        blocks,
        is_error=error,
        status="error" if error else "done",
        duration=seconds,
    )


def file_of(where: str, media_type: str = "", title: str = "") -> Image | Document:
    """Return a picture or document: ``where`` is a URL, one of data (``data:…``), or Base64."""
    data = b""
    if where.startswith("data:"):
        head, _, where = where.partition(",")
        media_type = media_type or head.removeprefix("data:").split(";")[0]
    url = where if "://" in where else ""
    if not url:
        try:
            data = base64.b64decode(where, validate=True)
        except (binascii.Error, ValueError):
            url = where
    if media_type.startswith("image/") or not media_type:
        return Image(media_type, data, url, title)
    return Document(media_type, data, url, title)


def thinking_of(text: Any) -> Thinking:
    """Return what a model thought."""
    return Thinking(as_text(text))


def as_text(value: Any) -> str:
    """Return a text as it is, nothing as ``""``, and any other value as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def source_of(tool: str) -> str:
    """Say of which tool a record is, as the source of what is told."""
    return in_a_line(f"foreign trace from {tool}")


def mapping(value: Any) -> Mapping[str, Any]:
    """Return what is an object, and else an empty one."""
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> Sequence[Any]:
    """Return what is a list, and else an empty one."""
    return value if isinstance(value, list) else ()


def whole(value: Any) -> int:
    """Return a whole number that fits into eight bytes, 0 for what is none."""
    try:
        return max(-MOST, min(int(value), MOST))
    except (TypeError, ValueError, OverflowError):
        return 0


def number(value: Any) -> int:
    """Return a count, 0 for what is none."""
    return max(0, whole(value))


def amount(value: Any) -> float | None:
    """Return a cost or a time, ``None`` for what is none."""
    fits = isinstance(value, (int, float)) and -MOST < value < MOST  # and is a number, which NaN is not
    return float(value) if fits else None
