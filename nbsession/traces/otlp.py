"""OpenTelemetry's spans and log records as OTLP JSON, read by the conventions for generative AI.

One conversation a ``gen_ai.conversation.id``, or else a trace. Contents stand in attributes of spans or of an event
(now), or in an event a message (until 1.36 of the conventions), which may be a span's or a log record.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding and ``conventions.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbsession.content import ServerTool, Text, ToolSpec
from nbsession.traces import conventions as names
from nbsession.traces.call import (
    UNKNOWN,
    Call,
    Said,
    Told,
    as_text,
    call_of,
    file_of,
    listed,
    mapping,
    number,
    result_of,
    source_of,
    stop_reason,
    thinking_of,
    whole,
)
from nbsession.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nbsession.content import Block

MODEL_CALLS = ("chat", "generate_content", "text_completion")
TOOL_CALLS = "execute_tool"
DETAILS = "gen_ai.client.inference.operation.details"
ANSWER = "gen_ai.choice"
MESSAGES = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}
CONTENTS = (
    names.INPUT_MESSAGES,
    names.OUTPUT_MESSAGES,
    names.SYSTEM_INSTRUCTIONS,
    names.TOOL_DEFINITIONS,
)
FAILED = 2
"""The code of a span's status that says that it failed."""


@dataclass(slots=True)
class Span:
    """A span of a file, and what its events say: their names and bodies or attributes, in order."""

    trace: str
    id: str
    scope: str
    attributes: dict[str, Any]
    began: int
    ended: int
    failure: str = ""
    events: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    @property
    def conversation(self) -> str:
        """What it belongs to."""
        return str(self.attributes.get(names.CONVERSATION) or self.trace)

    @property
    def operation(self) -> str:
        """What it is of: a model call, a tool's, or something else."""
        return str(self.attributes.get(names.OPERATION, ""))


def is_export(document: Any) -> bool:
    """Say whether a JSON value looks like an export of spans or log records."""
    return any(name in mapping(document) for name in ("resourceSpans", "resourceLogs"))


def read(documents: Iterable[Mapping[str, Any]]) -> list[Told]:
    """Read exports; conversations come in the order in which they began."""
    spans, logs = _collected(documents)
    for of, name, body in logs:
        if of in spans:
            spans[of].events.append((name, body))
    found: dict[str, Told] = {}
    for span in sorted(spans.values(), key=lambda span: span.began):
        if span.operation not in (*MODEL_CALLS, TOOL_CALLS):
            continue
        told = found.setdefault(span.conversation, Told(span.conversation, source_of(span.scope)))
        if span.operation == TOOL_CALLS:
            _result(told, span)
        else:
            told.calls.append(_call(told, span))
    return [told for told in found.values() if told.calls]


def _collected(
    documents: Iterable[Mapping[str, Any]],
) -> tuple[dict[str, Span], list[tuple[str, str, Mapping[str, Any]]]]:
    """Return the spans by their ids, and log records: the span of each, its name and what it says."""
    spans: dict[str, Span] = {}
    logs: list[tuple[str, str, Mapping[str, Any]]] = []
    for document in documents:
        for scope, span in _leaves(document, "Spans", "spans"):
            read = _span(span, scope)
            spans[read.id] = read
        for _, record in _leaves(document, "Logs", "logRecords"):
            attributes = _pairs(record.get("attributes"))
            name = str(record.get("eventName") or attributes.get("event.name", ""))
            body = _value(record.get("body"))
            logs.append((str(record.get("spanId", "")), name, {**attributes, **mapping(body)}))
    return spans, logs


def _leaves(document: Mapping[str, Any], kind: str, items: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for resource in map(mapping, listed(document.get(f"resource{kind}"))):
        for scoped in map(mapping, listed(resource.get(f"scope{kind}"))):
            scope = mapping(scoped.get("scope"))
            name = f"{scope.get('name', UNKNOWN)} {scope.get('version') or '(version unknown)'}"
            yield from ((name, mapping(item)) for item in listed(scoped.get(items)))


def _span(span: Mapping[str, Any], scope: str) -> Span:
    attributes = _pairs(span.get("attributes"))
    status = mapping(span.get("status"))
    kind = str(attributes.get(names.ERROR_TYPE, ""))
    failed = bool(kind) or status.get("code") in (FAILED, "STATUS_CODE_ERROR")
    return Span(
        str(span.get("traceId", UNKNOWN)),
        str(span.get("spanId", "")),
        scope,
        attributes,
        number(span.get("startTimeUnixNano")),
        number(span.get("endTimeUnixNano")),
        (as_text(status.get("message")) or kind or "it failed") if failed else "",
        [
            (str(event.get("name", "")), _pairs(event.get("attributes")))
            for event in map(mapping, listed(span.get("events")))
        ],
    )


def _pairs(pairs: Any) -> dict[str, Any]:
    return {str(pair.get("key", "")): _value(pair.get("value")) for pair in map(mapping, listed(pairs))}


def _value(value: Any) -> Any:
    """Return a value of OTLP as plain JSON."""
    for kind, given in mapping(value).items():
        if kind == "intValue":
            return whole(given)
        if kind == "arrayValue":
            return [_value(item) for item in listed(mapping(given).get("values"))]
        if kind == "kvlistValue":
            return _pairs(mapping(given).get("values"))
        return given
    return None


# A model call


def _call(told: Told, span: Span) -> Call:
    attributes = span.attributes
    contents = {name: attributes[name] for name in CONTENTS if name in attributes}
    for name, details in span.events:
        if name == DETAILS:
            contents |= {name: details[name] for name in CONTENTS if name in details}
    messages = [*_instructions(told, contents.get(names.SYSTEM_INSTRUCTIONS))]
    messages += _messages(told, contents.get(names.INPUT_MESSAGES))
    answers = _messages(told, contents.get(names.OUTPUT_MESSAGES))
    if not contents:
        messages, answers = _from_events(told, span.events)
    if not messages:
        told.note("what was said was not recorded in all of it; of such a call only figures are known")
    if names.TOOL_DEFINITIONS not in contents:
        told.note("which tools were sent is unknown where their definitions were not recorded")
    finished = listed(attributes.get(names.FINISH_REASONS))
    reason = stop_reason(finished[0] if finished else "")
    provider = attributes.get(names.PROVIDER, attributes.get(names.OLD_PROVIDER, ""))
    return Call(
        messages,
        answers[0].content if answers else (),
        [_tool(tool) for tool in map(mapping, listed(_parsed(contents.get(names.TOOL_DEFINITIONS))))],
        {name: attributes[key] for name, key in names.SETTINGS.items() if key in attributes},
        _named(provider, attributes.get(names.REQUEST_MODEL)),
        _named(provider, attributes.get(names.RESPONSE_MODEL, ""))
        if names.RESPONSE_MODEL in attributes
        else "",
        "" if reason == "error" else reason,
        _usage(attributes) if names.INPUT_TOKENS in attributes else None,
        started=span.began / 1e9 if span.began else None,
        ended=span.ended / 1e9 if span.ended else None,
        error=span.failure,
        interrupted=reason == "error" and not span.failure,
    )


def _named(provider: Any, model: Any) -> str:
    name = as_text(model) or UNKNOWN
    return f"{provider}:{name}" if provider and provider != name else name


def _usage(attributes: Mapping[str, Any]) -> Usage:
    written = attributes.get(names.CACHE_WRITE, attributes.get(names.OLD_CACHE_WRITE))
    counts = (names.INPUT_TOKENS, names.OUTPUT_TOKENS, names.CACHE_READ)
    given, said, read = (number(attributes.get(name)) for name in counts)
    thought = number(attributes.get(names.REASONING_TOKENS))
    estimated = attributes.get(names.ESTIMATED) is True
    return Usage(given, said, read, number(written), thought, estimated=estimated)


def _tool(tool: Mapping[str, Any]) -> ToolSpec:
    name = str(tool.get("name") or tool.get("type", UNKNOWN))
    if tool.get("type", "function") != "function":
        return ToolSpec(name, "", {}, {key: value for key, value in tool.items() if key != "name"})
    return ToolSpec(name, as_text(tool.get("description")), mapping(tool.get("parameters")))


def _instructions(told: Told, value: Any) -> Iterator[Said]:
    for part in listed(_parsed(value)):
        yield Said("system", tuple(_parts(told, [part])))


def _messages(told: Told, value: Any) -> list[Said]:
    parsed = _parsed(value)
    if value is not None and not isinstance(parsed, list):
        return [Said("user", (told.odd("a record of messages that is no list", value),))]
    return [
        _said(told, str(message.get("role")), tuple(_parts(told, listed(message.get("parts")))))
        for message in map(mapping, listed(parsed))
    ]


def _said(told: Told, role: str, content: tuple[Block, ...]) -> Said:
    if role in ("system", "assistant", "tool", "user"):
        return Said(role, content)  # type: ignore[arg-type]  # the four that there are
    told.note(f"a message of the role {role!r} is shown as the user's")
    return Said("user", content)


def _parsed(value: Any) -> Any:
    """Return what stands in an attribute as JSON, be it structured or text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _parts(told: Told, parts: Sequence[Any]) -> Iterator[Block]:
    for part in map(mapping, parts):
        kind = part.get("type")
        if kind == "text":
            yield Text(as_text(part.get("content")))
        elif kind == "reasoning":
            yield thinking_of(part.get("content"))
        elif kind == "tool_call":
            yield call_of(part.get("id"), part.get("name"), part.get("arguments"))
        elif kind == "tool_call_response":
            said = as_text(part.get("response", part.get("result")))
            failed = part.get("is_error") is True
            yield result_of(part.get("id"), part.get("name"), (Text(said),), error=failed)
        elif kind in ("blob", "uri"):
            yield file_of(as_text(part.get("content", part.get("uri"))), as_text(part.get("mime_type")))
        elif kind in ("server_tool_call", "server_tool_call_response"):
            raw = mapping(part.get(str(kind)))
            name, ended = str(part.get("name", UNKNOWN)), kind == "server_tool_call_response"
            yield ServerTool(str(part.get("id", "")), name, as_text(dict(raw)), raw, ended)
        else:
            yield told.odd(f"a part of the type {kind!r}", dict(part))


# An event a message


def _from_events(
    told: Told, events: Iterable[tuple[str, Mapping[str, Any]]]
) -> tuple[list[Said], list[Said]]:
    messages, answers = [], []
    for name, body in events:
        if name in MESSAGES:
            if (content := tuple(_event(told, body, MESSAGES[name]))) or "content" in body:
                messages.append(_said(told, MESSAGES[name], content))
        elif name == ANSWER:
            answers.append(Said("assistant", tuple(_event(told, _message(body), "assistant"))))
    return messages, answers


def _message(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the message of an answer, which stands in it or, in a span's event, is text."""
    message = mapping(_parsed(body.get("message")))
    return message or body


def _event(told: Told, body: Mapping[str, Any], role: str) -> Iterator[Block]:
    content = body.get("content")
    if role == "tool":
        if content is not None:
            yield result_of(body.get("id"), body.get("name"), (Text(as_text(content)),))
        return
    if isinstance(content, str):
        yield Text(content)
    elif content is not None:
        yield told.odd("content that is no text", content)
    for call in map(mapping, listed(_parsed(body.get("tool_calls")))):
        function = mapping(call.get("function"))
        yield call_of(call.get("id"), function.get("name"), function.get("arguments"))


# A tool


def _result(told: Told, span: Span) -> None:
    attributes = span.attributes
    identifier = str(attributes.get(names.TOOL_CALL, ""))
    seconds = max(0, span.ended - span.began) / 1e9
    given = attributes.get(names.TOOL_RESULT)
    content = (Text(as_text(given)),) if given is not None else ()
    result = result_of(
        identifier, attributes.get(names.TOOL_NAME), content, error=bool(span.failure), seconds=seconds
    )
    told.results[identifier] = result if content or span.failure else replace(result, content=())
