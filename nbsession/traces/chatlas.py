"""What chatlas writes: its turns as JSON, and the samples of ``Chat.export_eval``, one a line.

Source: the files themselves; ``Chat.export`` writes Markdown and HTML, which tell no more than a reader sees.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbsession.content import Text
from nbsession.traces.call import (
    UNKNOWN,
    Call,
    Said,
    Told,
    amount,
    as_text,
    call_of,
    file_of,
    follow,
    listed,
    mapping,
    number,
    result_of,
    source_of,
    stop_reason,
    thinking_of,
)
from nbsession.traces.inspect_log import messages_of
from nbsession.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nbsession.content import Block, ToolResult

SOURCE = source_of("chatlas (version unknown)")


def is_turn(value: Any) -> bool:
    """Say whether a JSON value looks like a turn."""
    return "role" in mapping(value) and isinstance(mapping(value).get("contents"), list)


def turns_of(turns: Sequence[Mapping[str, Any]], name: str) -> Told:
    """Read turns, as ``turn.model_dump()`` gives them."""
    told = Told(name, SOURCE)
    told.note("which model was asked is unknown")
    said = [_said(told, turn) for turn in turns]
    answers = [turn for turn in turns if turn.get("role") == "assistant"]
    told.calls = [_measured(call, turn) for call, turn in zip(follow(told, said), answers, strict=True)]
    return told


def sample_of(sample: Mapping[str, Any], name: str) -> Told:
    """Read a sample that ``export_eval`` wrote."""
    told = Told(str(sample.get("id") or name), SOURCE)
    asked = sample.get("input")
    messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else listed(asked)
    said = list(messages_of(told, messages))
    model = next((str(model) for message in messages if (model := mapping(message).get("model"))), UNKNOWN)
    told.calls = follow(told, said, asked=model)
    if target := as_text(sample.get("target")):
        told.note("the last answer is the sample's target")
        told.calls.append(Call(said, (Text(target),), asked=model))
    return told


def _measured(call: Call, turn: Mapping[str, Any]) -> Call:
    """Add what a turn of the model tells of itself."""
    tokens = [number(count) for count in listed(turn.get("tokens"))]
    given, said, cached = tokens if len(tokens) == 3 else (0, 0, 0)
    return replace(
        call,
        stop_reason=stop_reason(turn.get("finish_reason")) or call.stop_reason,
        usage=Usage(given + cached, said, cached) if tokens else None,
        cost=amount(turn.get("cost")),
        interrupted=bool(turn.get("partial_reason")),
    )


def _said(told: Told, turn: Mapping[str, Any]) -> Said:
    role = turn.get("role")
    content = tuple(_content(told, turn))
    if role == "system":
        return Said("system", content)
    return Said("assistant" if role == "assistant" else "user", content)


def _content(told: Told, turn: Mapping[str, Any]) -> Iterator[Block]:
    for part in map(mapping, listed(turn.get("contents"))):
        kind = part.get("content_type")
        if kind == "text":
            yield Text(as_text(part.get("text")))
        elif kind == "json":
            yield Text(as_text(part.get("value")))
        elif kind == "thinking":
            yield thinking_of(part.get("thinking"))
        elif kind == "tool_request":
            yield call_of(part.get("id"), part.get("name"), part.get("arguments"))
        elif kind == "tool_result":
            yield _result(part)
        elif kind == "image_inline":
            yield file_of(as_text(part.get("data")), as_text(part.get("image_content_type")))
        elif kind == "image_remote":
            yield file_of(as_text(part.get("url")))
        else:
            yield told.odd(f"content of the type {kind!r}", dict(part))


def _result(part: Mapping[str, Any]) -> ToolResult:
    request, error = mapping(part.get("request")), part.get("error")
    said = as_text(part.get("value") if error is None else error)
    return result_of(request.get("id"), request.get("name"), (Text(said),), error=error is not None)
