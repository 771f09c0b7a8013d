"""The chunks of Chat Completions, read into model events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from nbsession import tokens
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
from nbsession.tokens import Usage

if TYPE_CHECKING:
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

    def take(self, chunk: Any) -> Iterator[ModelEvent]:
        """Take the next chunk, in which the SDK sets every field that is missing to ``None``; give its events.

        Raises ``ModelError`` of kind ``"stream"`` for a tool input that is not a
        JSON object.
        """
        if not self.started:
            self.started = True
            yield MessageStart(f"{self._prefix}:{chunk.model}" if chunk.model else self._model, "live")
        if chunk.usage is not None:
            self._usage = usage_of(chunk.usage)
        for choice in chunk.choices or ():
            if choice.index:
                continue
            if choice.delta is not None:
                yield from self._delta(choice.delta)
            if choice.finish_reason:
                yield from self._finish(choice.finish_reason)

    def end(self) -> Iterable[ModelEvent]:
        """Give what stands at the end of a complete answer; usage comes after the stop reason."""
        usage = self._usage or Usage(self._context.tokens, self._written, estimated=True)
        return (MessageDelta(self._reason, usage, "".join(self._refusal)), MessageStop())

    def _delta(self, delta: Any) -> Iterator[ModelEvent]:
        # The field of open-weight reasoning models has two spellings, by server.
        more = delta.model_extra
        if more and (thinking := more.get("reasoning_content") or more.get("reasoning")):
            yield from self._write("thinking", thinking)
        if text := delta.content:
            yield from self._write("text", text)
        if refusal := delta.refusal:
            self._refusal.append(refusal)
        for call in delta.tool_calls or ():
            yield from self._call(call)

    def _write(self, kind: str, text: str) -> Iterator[ModelEvent]:
        block = self._writing
        if block is None or block.kind != kind:
            yield from self._close_writing()
            block = self._writing = self._open(kind)
            yield ContentBlockStart(block.index, "text" if kind == "text" else "thinking")
        yield from block.text_deltas(text)

    def _call(self, call: Any) -> Iterator[ModelEvent]:
        function = call.function
        place, given, name = call.index or 0, call.id or "", (function and function.name) or ""
        block = self._calls.get(place)
        if block is None or (given and name and given != block.given):
            # Some servers give every call the place 0.
            yield from self._close_writing()
            block = self._calls[place] = self._open("tool_call", given, name)
            self._waiting.append(block)
            yield ContentBlockStart(block.index, "tool_call", id=block.id, name=block.name)
        if piece := function and function.arguments:
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


def usage_of(usage: Any) -> Usage:
    """Read the API's figures, whose ``prompt_tokens`` is all input and whose details are shares."""
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cache_read_tokens=(prompt and prompt.cached_tokens) or 0,
        # The field is younger than the others.
        cache_write_tokens=getattr(prompt, "cache_write_tokens", None) or 0,
        thinking_tokens=(completion and completion.reasoning_tokens) or 0,
    )
