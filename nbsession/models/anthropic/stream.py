"""The raw stream of the Messages API, read into model events.

Blocks are put together here and not by the SDK's stream helpers, which parse
a tool's partial input anew at every delta and take a truncated one for whole.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nbsession.content import Block, Text, Thinking
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    MessageDelta,
    MessageStart,
    MessageStop,
    ModelEvent,
    TextDelta,
)
from nbsession.models.anthropic.context_editing import FIELD as CONTEXT_EDITING
from nbsession.models.anthropic.context_editing import cleared
from nbsession.models.anthropic.server_tools import is_server_step, step_of
from nbsession.models.arrival import OpenBlock
from nbsession.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbsession.models.anthropic.diagnosis import Question
    from nbsession.usage import CacheDiagnosis

_CUT = ("max_tokens", "context_window", "refusal")
_USAGE_FIELDS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class _OpenBlock(OpenBlock):
    """``raw`` is the provider's own form of the block as it began."""

    __slots__ = ("citations", "raw", "signature")

    def __init__(self, index: int, raw: dict[str, Any]) -> None:
        super().__init__(index)
        self.raw = raw
        self.signature: list[str] = []
        self.citations: list[dict[str, Any]] = list(raw.get("citations") or ())


class Answer:
    """One answer as it comes in; see ``Arrival``.

    ``model`` is the adapter's name, for messages and where the provider does not
    say which model answers. Event and block types that are not known are passed
    over, and what a careless server leaves open is closed at the end. ``question`` is what
    was asked of the cache beside the request.
    """

    def __init__(self, model: str, prefix: str = "anthropic", question: Question | None = None) -> None:
        self.complete = False
        self.started = False
        self._model = model
        self._prefix = prefix
        self._question = question
        self._diagnosis: CacheDiagnosis | None = None
        self._blocks = 0
        self._open: dict[int, _OpenBlock] = {}
        self._held: _OpenBlock | None = None
        self._usage: dict[str, int] = {}
        self._reason = ""
        self._detail = ""

    def take(self, event: Any) -> Iterable[ModelEvent]:
        """Take the next raw event and return what it amounts to.

        Raises ``ModelError`` of kind ``"stream"`` for a tool input that is not a
        JSON object.
        """
        kind = event.type
        if kind == "content_block_delta":
            return self._delta(event.index, event.delta)
        if kind == "content_block_start":
            return self._start_block(event.index, event.content_block)
        if kind == "content_block_stop":
            return self._stop_block(event.index)
        if kind == "message_start":
            return self._start(event.message)
        if kind == "message_delta":
            return self._message_delta(event)
        if kind == "message_stop":
            return self._stop()
        return ()

    def end(self) -> Iterable[ModelEvent]:
        """Give what stands at the end of a complete answer."""
        return (
            MessageDelta(self._reason, usage_of(self._usage), self._detail, self._diagnosis),
            MessageStop(),
        )

    def _start(self, message: Any) -> Iterable[ModelEvent]:
        if self.started:
            return
        self.started = True
        self._count(getattr(message, "usage", None))
        identifier = getattr(message, "model", "")
        name = f"{self._prefix}:{identifier}" if identifier else self._model
        if self._question is not None and message is not None:
            self._diagnosis = self._question.told(message.to_dict(warnings=False))
        yield MessageStart(name, "live", usage=usage_of(self._usage) if self._usage else None)

    def _start_block(self, place: int, content_block: Any) -> Iterable[ModelEvent]:
        yield from self._start(None)
        yield from self._release()
        yield from self._stop_block(place)
        kind = content_block.type
        if kind not in ("text", "thinking", "redacted_thinking", "tool_use") and not is_server_step(kind):
            return
        raw = content_block.to_dict(warnings=False)
        block = self._open[place] = _OpenBlock(self._blocks, raw)
        self._blocks += 1
        if is_server_step(kind):
            step = step_of(raw)
            yield ContentBlockStart(block.index, "server_tool", id=step.call_id, name=step.name)
        elif kind == "tool_use":
            yield ContentBlockStart(block.index, "tool_call", id=raw["id"], name=raw["name"])
            if raw.get("input"):  # some servers send the whole input at once
                yield from block.input_deltas(json.dumps(raw["input"], ensure_ascii=False))
        else:
            yield ContentBlockStart(block.index, "text" if kind == "text" else "thinking")
            yield from block.text_deltas(raw.get(kind) or "")  # "text" and "thinking" name their field too

    def _delta(self, place: int, delta: Any) -> Iterable[ModelEvent]:
        block = self._open.get(place)
        if block is None:
            return ()
        kind = delta.type
        if kind == "text_delta":
            return block.text_deltas(delta.text)
        if kind == "input_json_delta" and block.raw["type"] == "server_tool_use":
            block.keep(delta.partial_json)
        elif kind == "input_json_delta":
            return block.input_deltas(delta.partial_json)
        elif kind == "thinking_delta":
            return block.text_deltas(delta.thinking)
        elif kind == "citations_delta":
            block.citations.append(delta.citation.to_dict(warnings=False))
        elif kind == "signature_delta":
            block.signature.append(delta.signature)
        return ()

    def _stop_block(self, place: int) -> Iterable[ModelEvent]:
        block = self._open.pop(place, None)
        if block is None:
            return
        if block.raw["type"] == "tool_use":
            # Whether its input is whole is said only by the stop reason, which comes next.
            self._held = block
        elif is_server_step(block.raw["type"]):
            yield from self._server_step(block)
        else:
            yield from block.rest()
            yield ContentBlockStop(block.index, _finished(block))

    def _server_step(self, block: _OpenBlock) -> Iterable[ModelEvent]:
        """Give a step of the provider's own tool at once: its input is streamed, but nobody waits for it."""
        raw = block.raw
        if raw["type"] == "server_tool_use" and block.text:
            raw = {**raw, "input": dict(block.call(raw["id"], raw["name"], self._model).input)}
        step = step_of(raw)
        if step.text:
            yield TextDelta(block.index, step.text, 0)
        yield ContentBlockStop(block.index, step)

    def _release(self) -> Iterable[ModelEvent]:
        """Give the end of the tool call that was held back, now that it is known to be whole."""
        block, self._held = self._held, None
        if block is not None:
            yield ContentBlockStop(block.index, block.call(block.raw["id"], block.raw["name"], self._model))

    def _message_delta(self, event: Any) -> Iterable[ModelEvent]:
        yield from self._start(None)
        self._count(getattr(event, "usage", None))
        reason = event.delta.stop_reason
        if not reason:
            return
        self._reason = "context_window" if reason == "model_context_window_exceeded" else str(reason)
        self._detail = _detail(event.delta)
        if self._reason in _CUT:
            self._held = None
        yield from self._release()
        yield from self._told_cleared(event)

    def _told_cleared(self, event: Any) -> Iterable[ModelEvent]:
        step = cleared(event.to_dict(warnings=False).get(CONTEXT_EDITING))
        if step is not None:
            index, self._blocks = self._blocks, self._blocks + 1
            yield ContentBlockStart(index, "server_tool", id=step.call_id, name=step.name)
            yield TextDelta(index, step.text, 0)
            yield ContentBlockStop(index, step)

    def _stop(self) -> Iterable[ModelEvent]:
        """Close what is open; an answer that has not said why it ends is not complete."""
        for place in list(self._open):
            yield from self._stop_block(place)
            if self._reason in _CUT:
                self._held = None
            yield from self._release()
        self.complete = bool(self._reason)

    def _count(self, usage: Any) -> None:
        """Take the figures that are given; they are sums so far, so the later one holds."""
        for name in _USAGE_FIELDS:
            if (value := getattr(usage, name, None)) is not None:
                self._usage[name] = value
        details = getattr(usage, "output_tokens_details", None)
        if (value := getattr(details, "thinking_tokens", None)) is not None:
            self._usage["thinking_tokens"] = value
        if (
            value := getattr(getattr(usage, "cache_creation", None), "ephemeral_1h_input_tokens", None)
        ) is not None:
            self._usage["cache_write_long"] = value
        if (
            value := getattr(getattr(usage, "server_tool_use", None), "web_search_requests", None)
        ) is not None:
            self._usage["web_searches"] = value


def usage_of(figures: Mapping[str, int]) -> Usage:
    """Normalise the API's figures, whose ``input_tokens`` is the uncached remainder only."""
    read = figures.get("cache_read_input_tokens", 0)
    written = figures.get("cache_creation_input_tokens", 0)
    return Usage(
        input_tokens=figures.get("input_tokens", 0) + read + written,
        output_tokens=figures.get("output_tokens", 0),
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_long_tokens=figures.get("cache_write_long", 0),
        thinking_tokens=figures.get("thinking_tokens", 0),
        web_searches=figures.get("web_searches", 0),
    )


def _finished(block: _OpenBlock) -> Block:
    text = block.text
    if block.raw["type"] == "text":
        return Text(text, tuple(block.citations))
    if block.raw["type"] == "redacted_thinking":
        return Thinking("", block.raw)
    signature = (block.raw.get("signature") or "") + "".join(block.signature)
    if not signature:
        return Thinking(text)  # cut short, or of a server that signs nothing: not to be sent back
    return Thinking(text, {**block.raw, "thinking": text, "signature": signature})


def _detail(delta: Any) -> str:
    details = getattr(delta, "stop_details", None)
    for value in (
        getattr(details, "explanation", None),
        getattr(details, "category", None),
        getattr(delta, "stop_sequence", None),
    ):
        if value:
            return str(value)
    return ""
