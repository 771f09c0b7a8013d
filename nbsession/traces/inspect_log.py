"""Inspect's logs: ``.eval``, a zip of JSON, and ``.json``; one conversation a sample and epoch.

Source: https://inspect.aisi.org.uk/eval-logs.html and the logs themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nbsession.content import Text, ToolSpec
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
from nbsession.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbsession.content import Block

ATTACHMENT = "attachment://"

_NOT_SENT = ("attempt_timeout", "batch", "cache", "max_connections", "max_retries", "timeout")
"""Settings of Inspect's own."""

_ROLES = ("system", "user", "assistant", "tool")


def sample_of(sample: Mapping[str, Any], header: Mapping[str, Any]) -> Told:
    """Read one sample; ``header`` is the log without its samples."""
    epoch = number(sample.get("epoch"))
    name = str(sample.get("id", UNKNOWN))
    version = mapping(mapping(header.get("eval")).get("packages")).get("inspect_ai", "(version unknown)")
    told = Told(f"{name}/{epoch}" if epoch > 1 else name, source_of(f"inspect {version}"))
    attachments = mapping(sample.get("attachments"))
    pooled = listed(mapping(sample.get("events_data")).get("messages"))
    pool = list(messages_of(told, _attached(pooled, attachments)))
    for event in listed(sample.get("events")):
        kind = mapping(event).get("event")
        if kind == "model":
            told.calls.append(_call(told, _attached(event, attachments), pool))
        elif kind == "tool":
            _result(told, _attached(event, attachments))
    if not told.calls:
        messages = list(messages_of(told, _attached(listed(sample.get("messages")), attachments)))
        model = str(mapping(header.get("eval")).get("model", UNKNOWN))
        told.calls = follow(told, messages, asked=model)
    for scorer, score in mapping(sample.get("scores")).items():
        told.note(f"scored by {scorer}: {as_text(mapping(score).get('value'))}")
    if error := mapping(sample.get("error")):
        told.note(f"the sample failed: {as_text(error.get('message'))}")
    return told


def messages_of(told: Told, messages: Sequence[Any]) -> Iterator[Said]:
    """Read messages as Inspect writes them."""
    for message in map(mapping, messages):
        role = message.get("role")
        content = tuple(_content(told, message.get("content")))
        if role == "tool":
            error = mapping(message.get("error"))
            said = content or ((Text(as_text(error.get("message"))),) if error else ())
            content = (
                result_of(message.get("tool_call_id"), message.get("function"), said, error=bool(error)),
            )
        calls = tuple(
            call_of(call.get("id"), call.get("function"), call.get("arguments"))
            for call in map(mapping, listed(message.get("tool_calls")))
        )
        if role not in _ROLES:
            told.note(f"a message of the role {role!r} is shown as the user's")
        yield Said(role if role in _ROLES else "user", (*content, *calls))


def _call(told: Told, event: Mapping[str, Any], pool: Sequence[Said]) -> Call:
    output = mapping(event.get("output"))
    choices = listed(output.get("choices"))
    first = mapping(choices[0]) if choices else {}
    if len(choices) > 1:
        told.note(f"of {len(choices)} answers to one call, the first is shown")
    (said,) = messages_of(told, [first.get("message") or {"role": "assistant"}])
    usage = mapping(output.get("usage"))
    started = _seconds(event.get("timestamp"))
    return Call(
        _input(told, event, pool),
        said.content,
        [_tool(tool) for tool in map(mapping, listed(event.get("tools")))],
        {
            name: value
            for name, value in mapping(event.get("config")).items()
            if value is not None and name not in _NOT_SENT
        },
        str(event.get("model", UNKNOWN)),
        str(output.get("model") or ""),
        stop_reason(first.get("stop_reason")),
        _usage(usage) if usage else None,
        started=started,
        ended=_seconds(event.get("completed")) or started,
        error=as_text(event.get("error")),
        interrupted=bool(event.get("pending")),
    )


def _usage(usage: Mapping[str, Any]) -> Usage:
    """Inspect counts what came from the cache, and went there, beside the input."""
    read, written = (number(usage.get(f"input_tokens_cache_{way}")) for way in ("read", "write"))
    return Usage(
        number(usage.get("input_tokens")) + read + written,
        number(usage.get("output_tokens")),
        read,
        written,
        number(usage.get("reasoning_tokens")),
    )


def _result(told: Told, event: Mapping[str, Any]) -> None:
    error = mapping(event.get("error"))
    content = tuple(_content(told, event.get("result")))
    identifier = str(event.get("id", ""))
    told.results[identifier] = result_of(
        identifier,
        event.get("function"),
        (Text(as_text(error.get("message"))),) if error else content,
        error=bool(error),
        seconds=amount(event.get("working_time")) or 0.0,
    )


def _tool(tool: Mapping[str, Any]) -> ToolSpec:
    return ToolSpec(
        str(tool.get("name", UNKNOWN)), as_text(tool.get("description")), mapping(tool.get("parameters"))
    )


def _content(told: Told, content: Any) -> Iterator[Block]:
    if not isinstance(content, list):
        if text := as_text(content):
            yield Text(text)
        return
    for part in content:
        kind = mapping(part).get("type")
        if kind == "text":
            yield Text(as_text(part.get("text")))
        elif kind == "reasoning":
            yield thinking_of(part.get("summary") if part.get("redacted") else part.get("reasoning"))
        elif kind == "image":
            yield file_of(as_text(part.get("image")))
        elif kind == "document":
            yield file_of(
                as_text(part.get("document")), as_text(part.get("mime_type")), as_text(part.get("filename"))
            )
        else:
            yield told.odd(f"content of the type {kind!r}", part)


def _input(told: Told, event: Mapping[str, Any], pool: Sequence[Said]) -> list[Said]:
    """Return what a model was asked with: it stands in the event, or by its places in the sample's pool of messages."""
    refs = [ref for ref in listed(event.get("input_refs")) if isinstance(ref, list) and len(ref) == 2]
    if event.get("input") or not refs:
        return list(messages_of(told, listed(event.get("input"))))
    return [said for start, end in refs for said in pool[number(start) : number(end)]]


def _attached(value: Any, attachments: Mapping[str, Any]) -> Any:
    """Put in what a log keeps apart because it is long."""
    if isinstance(value, str):
        return attachments.get(value.removeprefix(ATTACHMENT), value) if ATTACHMENT in value else value
    if isinstance(value, list):
        return [_attached(item, attachments) for item in value]
    if isinstance(value, Mapping):
        return {name: _attached(item, attachments) for name, item in value.items()}
    return value


def _seconds(time: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(time)).timestamp()
    except (ValueError, OverflowError):
        return None
