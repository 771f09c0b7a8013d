"""The chunks of Chat Completions, read into model events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nbsession.content import Text, Thinking, new_id
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    MessageDelta,
    MessageStart,
    MessageStop,
    ModelEvent,
)
from nbsession.models.arrival import OpenBlock
from nbsession.usage import Usage, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nbsession.context import CompiledContext

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_CUT = ("max_tokens", "refusal")
_GOOD_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class _OpenBlock(OpenBlock):
    """``kind`` is ``text``, ``thinking`` or ``tool_call``; ``given`` is the id as it came."""

    __slots__ = ("given", "id", "kind", "name")

    def __init__(self, index: int, kind: str, given: str = "", name: str = "") -> None:
        super().__init__(index)
        self.kind = kind
        self.given = given
        # Other providers, and the pairing of calls with results, want plain ids that differ.
        self.id = given if _GOOD_ID.fullmatch(given) else new_id("call")
        self.name = name


class Answer:
    """One answer as it comes in; see ``Arrival``.

    ``model`` is the adapter's name, ``context`` what is answered: a server that
    reports no usage has it estimated from these. ``complete`` turns true when the
    server has said why it stopped. What is not known is passed over.
    """

    def __init__(self, model: str, context: CompiledContext, prefix: str = "openai") -> None:
        self.complete = False
        self.started = False
        self._model = model
        self._context = context
        self._prefix = prefix
        self._writing: _OpenBlock | None = None
        self._calls: dict[int, _OpenBlock] = {}
        self._waiting: list[_OpenBlock] = []
        self._count = 0
        self._written = 0
        self._reason = ""
        self._refusal: list[str] = []
        self._usage: Usage | None = None

    def take(self, chunk: Mapping[str, Any]) -> Iterator[ModelEvent]:
        """Take the next chunk, as JSON data, and give its events.

        Raises ``ModelError`` of kind ``"stream"`` for a tool input that is not a
        JSON object.
        """
        if not self.started:
            self.started = True
            identifier = chunk.get("model")
            yield MessageStart(f"{self._prefix}:{identifier}" if identifier else self._model, "live")
        if usage := chunk.get("usage"):
            self._usage = usage_of(usage)
        if self.complete:
            return  # some servers say twice why they stopped
        for choice in chunk.get("choices") or ():
            if choice.get("index"):
                continue
            if delta := choice.get("delta"):
                yield from self._delta(delta)
            if reason := choice.get("finish_reason"):
                yield from self._finish(reason)

    def end(self) -> Iterable[ModelEvent]:
        """Give what stands at the end of a complete answer; usage comes after the stop reason."""
        usage = self._usage or Usage(self._context.tokens, self._written, estimated=True)
        return (MessageDelta(self._reason, usage, "".join(self._refusal)), MessageStop())

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[ModelEvent]:
        # The field of open-weight reasoning models has two spellings, by server.
        thinking = delta.get("reasoning_content") or delta.get("reasoning")
        if thinking and isinstance(thinking, str):
            yield from self._write("thinking", thinking)
        if text := delta.get("content"):
            yield from self._write("text", text)
        if refusal := delta.get("refusal"):
            self._refusal.append(refusal)
        for call in delta.get("tool_calls") or ():
            yield from self._call(call)

    def _write(self, kind: str, text: str) -> Iterator[ModelEvent]:
        block = self._writing
        if block is None or block.kind != kind:
            yield from self._close_writing()
            block = self._writing = self._open(kind)
            yield ContentBlockStart(block.index, "text" if kind == "text" else "thinking")
        yield from block.text_deltas(text)

    def _call(self, call: Mapping[str, Any]) -> Iterator[ModelEvent]:
        function = call.get("function") or {}
        place, given, name = call.get("index") or 0, call.get("id") or "", function.get("name") or ""
        block = self._calls.get(place)
        if block is None or (given and name and given != block.given):
            # Some servers give every call the place 0.
            yield from self._close_writing()
            block = self._calls[place] = self._open("tool_call", given, name)
            self._waiting.append(block)
            yield ContentBlockStart(block.index, "tool_call", id=block.id, name=block.name)
        if piece := function.get("arguments"):
            yield from block.input_deltas(piece)

    def _open(self, kind: str, given: str = "", name: str = "") -> _OpenBlock:
        block = _OpenBlock(self._count, kind, given, name)
        self._count += 1
        return block

    def _close_writing(self) -> Iterator[ModelEvent]:
        block, self._writing = self._writing, None
        if block is not None:
            yield from block.rest()
            text = block.text
            self._written += tokens.estimate(text)
            # No server signs its thinking here, so it is shown and not sent again.
            yield ContentBlockStop(block.index, Text(text) if block.kind == "text" else Thinking(text))

    def _finish(self, reason: str) -> Iterator[ModelEvent]:
        """Close what is open; of an answer that was cut, the last call may be half a one."""
        yield from self._close_writing()
        self._reason = _REASONS.get(reason, reason)
        if self._refusal:
            self._reason = "refusal"
        calls, self._waiting = self._waiting, []
        if self._reason in _CUT:
            calls = calls[:-1]
        elif self._reason in ("end_turn", "tool_use"):
            # Servers say "stop" behind a call that was asked for by name, too.
            self._reason = "tool_use" if calls else "end_turn"
        for block in calls:
            self._written += tokens.estimate(block.text)
            yield ContentBlockStop(block.index, block.call(block.id, block.name, self._model))
        self.complete = True


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Read the API's figures, whose ``prompt_tokens`` is all input and whose details are shares."""
    prompt = usage.get("prompt_tokens_details") or {}
    completion = usage.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=usage.get("prompt_tokens") or 0,
        output_tokens=usage.get("completion_tokens") or 0,
        cache_read_tokens=prompt.get("cached_tokens") or 0,
        cache_write_tokens=prompt.get("cache_write_tokens") or 0,
        thinking_tokens=completion.get("reasoning_tokens") or 0,
    )
