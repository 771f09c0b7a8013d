"""A session's events as spans: an execution, its model calls and its tools."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry import context as current
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    Error,
    ExecutionEnd,
    ExecutionStart,
    MessageDelta,
    MessageStart,
    MessageStop,
    QuestionAsked,
    TickContext,
    TickEnd,
    TickStart,
    ToolEnd,
    ToolStart,
)
from nbsession.traces import conventions as names

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from nbsession.content import Block
    from nbsession.events import Event
    from nbsession.usage import Usage

SOURCE = "nbsession.source"
TICK = "nbsession.tick"
CONTEXT_HASH = "nbsession.context.hash"
STOP_REASON = "nbsession.stop_reason"


@dataclass(slots=True)
class Call:
    """A model call whose span is open; ``cut`` is when it ended without an answer's end (ns since the epoch)."""

    span: Span
    began: float = field(default_factory=time.perf_counter)
    blocks: list[Block] = field(default_factory=list)
    finished: str = "error"
    cut: int | None = None


class Spans:
    """The open spans of one session; it hears the session's events where they happen.

    A span is made current by the event that begins it, in the context of the task that tells of it: the
    execution's own, or that of a tool that runs beside others. Neither is anybody else's.
    """

    def __init__(self, tracer: Tracer, session: str, agent: str, content: bool) -> None:
        self._tracer = tracer
        self._about = {names.CONVERSATION: names.plain(session), names.AGENT: agent}
        self._name = f"invoke_agent {agent}"
        self._content = content
        self._execution: Span | None = None
        self._inside: Context | None = None
        self._call: Call | None = None
        self._tools: dict[str, Span] = {}
        self._described: dict[str, str] = {}
        self._heard: dict[type[Event], Callable[[Any], None]] = {
            ExecutionStart: self._begin,
            TickStart: lambda _: self._end_cut_call(None),
            TickContext: self._ask,
            MessageStart: self._answered_by,
            ContentBlockStart: self._first_block,
            ContentBlockStop: self._said,
            MessageDelta: self._finish,
            MessageStop: lambda _: self._end_call(),
            TickEnd: self._cut_call,
            ToolStart: self._run_tool,
            ToolEnd: self._end_tool,
            QuestionAsked: self._paused,
            Error: self._fail,
            ExecutionEnd: self._end,
        }

    def hear(self, event: Event) -> None:
        """Begin, fill or end the span that an event is about."""
        heard = self._heard.get(type(event))
        if heard is not None and (self._execution is not None or isinstance(event, ExecutionStart)):
            heard(event)

    # The execution

    def _begin(self, event: ExecutionStart) -> None:
        self._execution = self._tracer.start_span(
            self._name, attributes={names.OPERATION: "invoke_agent", **self._about}
        )
        self._inside = set_span_in_context(self._execution)
        current.attach(self._inside)

    def _fail(self, event: Error) -> None:
        assert self._execution is not None
        self._end_cut_call(event.kind, event.message)
        self._failed(self._execution, event.kind, event.message)

    def _end(self, event: ExecutionEnd) -> None:
        assert self._execution is not None
        self._end_cut_call(None)
        for span in self._tools.values():
            span.end()
        self._tools.clear()
        span, self._execution = self._execution, None
        span.set_attributes({STOP_REASON: event.stop_reason, **names.usage_attributes(event.usage)})
        span.end()

    # A model call

    def _ask(self, event: TickContext) -> None:
        assert self._execution is not None
        provider, model = map(names.plain, names.provider_and_model(event.model))
        asked = {names.PROVIDER: provider, names.REQUEST_MODEL: model}
        self._execution.set_attributes(asked)
        self._described = {tool.name: tool.description for tool in event.context.tools}
        attributes = {
            names.OPERATION: "chat",
            **asked,
            **self._about,
            names.STREAM: True,
            **names.settings_attributes(event.context.settings),
            SOURCE: event.source,
            TICK: event.tick,
            CONTEXT_HASH: event.context.hash,
        }
        if self._content:
            attributes |= names.context_attributes(event.context)
        kind = SpanKind.CLIENT if event.source == "live" else SpanKind.INTERNAL
        span = self._tracer.start_span(
            f"chat {model}", context=self._inside, kind=kind, attributes=attributes
        )
        self._call = Call(span)
        current.attach(set_span_in_context(span))

    def _answered_by(self, event: MessageStart) -> None:
        if self._call is not None:
            _, model = names.provider_and_model(event.model)
            self._call.span.set_attributes({names.RESPONSE_MODEL: names.plain(model), SOURCE: event.source})

    def _first_block(self, event: ContentBlockStart) -> None:
        if self._call is not None and event.index == 0:
            self._call.span.set_attribute(names.FIRST_CHUNK, time.perf_counter() - self._call.began)

    def _said(self, event: ContentBlockStop) -> None:
        if self._call is not None and self._content:
            self._call.blocks.append(event.content)

    def _finish(self, event: MessageDelta) -> None:
        if self._call is not None:
            self._call.finished = names.FINISHED.get(event.stop_reason, event.stop_reason)
            self._used(self._call.span, event.usage)

    @staticmethod
    def _used(span: Span, usage: Usage) -> None:
        span.set_attributes(names.usage_attributes(usage))

    def _cut_call(self, event: TickEnd) -> None:
        """Note when a call ended that brought no end of an answer; what it failed with is told later."""
        if self._call is not None:
            self._call.cut, self._call.finished = time.time_ns(), "error"
            self._leave()

    def _end_cut_call(self, kind: str | None, message: str = "") -> None:
        if self._call is not None:
            if kind is not None:
                self._failed(self._call.span, kind, message)
            self._end_call()

    def _end_call(self) -> None:
        if self._call is None:
            return
        call, self._call = self._call, None
        call.span.set_attribute(names.FINISH_REASONS, [call.finished])
        if self._content and call.blocks:
            call.span.set_attribute(names.OUTPUT_MESSAGES, names.output_message(call.blocks, call.finished))
        call.span.end(call.cut)
        self._leave()

    # A tool

    def _run_tool(self, event: ToolStart) -> None:
        call = event.call
        attributes = {
            names.OPERATION: "execute_tool",
            names.TOOL_NAME: names.plain(call.name),
            names.TOOL_TYPE: "function",
            names.TOOL_CALL: call.id,
            **self._about,
        }
        if description := self._described.get(call.name):
            attributes[names.TOOL_DESCRIPTION] = names.plain(description)
        if self._content:
            attributes[names.TOOL_ARGUMENTS] = names.as_json(dict(call.input))
        name = f"execute_tool {names.plain(call.name)}"
        span = self._tracer.start_span(name, context=self._inside, attributes=attributes)
        self._tools[call.id] = span
        current.attach(set_span_in_context(span))

    def _end_tool(self, event: ToolEnd) -> None:
        span = self._tools.pop(event.result.call_id, None)
        if span is None:
            return  # it did not run: a call that was refused, or answered by somebody
        result = event.result
        if self._content:
            span.set_attribute(names.TOOL_RESULT, names.plain(result.text))
        if result.is_error:
            # An accident's result begins with the class of what was raised; a deliberate failure has no traceback.
            kind = result.text.partition(":")[0] if event.traceback else result.status
            self._failed(span, kind, result.text)
        span.end()
        self._leave()

    def _paused(self, event: QuestionAsked) -> None:
        span = self._tools.pop(event.question.call.id, None)
        if span is not None:
            span.end()
            self._leave()

    # All of them

    def _leave(self) -> None:
        """Make the execution's span the current one again; by no token, which is of no use in another task."""
        if self._inside is not None:
            current.attach(self._inside)

    def _failed(self, span: Span, kind: str, message: str) -> None:
        span.set_attribute(names.ERROR_TYPE, names.plain(kind))
        span.set_status(StatusCode.ERROR, names.plain(message) if self._content else None)
