"""The events of the Responses API, read into model events."""

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
    TextDelta,
)
from nbsession.models.arrival import OpenBlock
from nbsession.models.failure import Reported
from nbsession.models.openai.responses.server_tools import step_name, step_of
from nbsession.usage import Usage, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nbsession.context import CompiledContext

_INCOMPLETE = {"max_output_tokens": "max_tokens", "content_filter": "refusal"}
_GOOD_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_THINKING = {
    "response.reasoning_summary_text.delta": "summary_index",
    "response.reasoning_text.delta": "content_index",
}
_PARAGRAPH = "\n\n"


class _OpenBlock(OpenBlock):
    """``kind`` is ``text``, ``thinking``, ``tool_call`` or ``server_tool``; ``part`` is the part of it that is coming in."""

    __slots__ = ("id", "kind", "part")

    def __init__(self, index: int, kind: str) -> None:
        super().__init__(index)
        self.kind = kind
        self.id = ""
        self.part: Any = None


class Answer:
    """One answer as it comes in; see ``Arrival``.

    ``model`` is the adapter's name, ``context`` what is answered: a server that reports no
    usage has it estimated from these. It begins with the first thing that is said, not with
    the service's word that it was asked: what fails before may be tried again. Types of
    events that are not known are passed over; types of items are steps of the provider's own.
    """

    def __init__(self, model: str, context: CompiledContext, prefix: str = "openai") -> None:
        self.complete = False
        self.started = False
        self._adapter = model
        self._context = context
        self._prefix = prefix
        self._model = model
        self._count = 0
        self._items: dict[int, _OpenBlock] = {}
        self._texts: dict[tuple[int, int], _OpenBlock] = {}
        self._refusals: dict[tuple[int, int], str] = {}
        self._calls = 0
        self._searches = 0
        self._written = 0
        self._reason = ""
        self._detail = ""
        self._usage = Usage()

    def take(self, event: Mapping[str, Any]) -> Iterable[ModelEvent]:
        """Take the next event, as JSON data, and give what it amounts to.

        Raises ``ModelError`` of kind ``"stream"`` for a tool input that is not a JSON
        object, and ``Reported`` where the service says that it failed.
        """
        kind = event.get("type")
        if kind == "response.output_text.delta":
            return self._text((event["output_index"], event["content_index"]), event["delta"])
        if kind in _THINKING:
            return self._think(event["output_index"], (kind, event[_THINKING[kind]]), event["delta"])
        if kind == "response.function_call_arguments.delta":
            return self._argue(event["output_index"], event["delta"])
        if kind == "response.output_item.added":
            return self._begin(event["output_index"], event["item"])
        if kind == "response.output_item.done":
            return self._end(event["output_index"], event["item"])
        if kind == "response.refusal.delta":
            place = (event["output_index"], event["content_index"])
            self._refusals[place] = self._refusals.get(place, "") + event["delta"]
        elif kind == "response.created":
            self._meet(event["response"])
        elif kind in ("response.completed", "response.incomplete"):
            return self._finish(event["response"])
        elif kind == "response.failed":
            raise Reported(event["response"].get("error"))
        elif kind == "error":
            raise Reported({name: value for name, value in event.items() if name != "type"})
        return ()

    def end(self) -> Iterable[ModelEvent]:
        """Give what stands at the end of a complete answer."""
        return (MessageDelta(self._reason, self._usage, self._detail), MessageStop())

    def _meet(self, response: Mapping[str, Any]) -> None:
        if identifier := response.get("model"):
            self._model = f"{self._prefix}:{identifier}"

    def _start(self) -> Iterator[ModelEvent]:
        if not self.started:
            self.started = True
            yield MessageStart(self._model, "live")

    def _open(self, kind: str) -> _OpenBlock:
        block = _OpenBlock(self._count, kind)
        self._count += 1
        return block

    def _text(self, place: tuple[int, int], piece: str) -> Iterator[ModelEvent]:
        block = self._texts.get(place)
        if block is None:
            yield from self._start()
            block = self._texts[place] = self._open("text")
            yield ContentBlockStart(block.index, "text")
        yield from block.text_deltas(piece)

    def _think(self, place: int, part: Any, piece: str) -> Iterator[ModelEvent]:
        block = self._items.get(place)
        if block is None:
            yield from self._begin(place, {"type": "reasoning"})
            block = self._items[place]
        if block.part not in (None, part):
            yield from block.text_deltas(_PARAGRAPH)
        block.part = part
        yield from block.text_deltas(piece)

    def _argue(self, place: int, piece: str) -> Iterable[ModelEvent]:
        block = self._items.get(place)
        return () if block is None else block.input_deltas(piece)

    def _begin(self, place: int, item: Mapping[str, Any]) -> Iterator[ModelEvent]:
        yield from self._start()
        kind = item["type"]
        if kind == "message":
            return  # its texts begin one by one
        if kind == "reasoning":
            block = self._items[place] = self._open("thinking")
            yield ContentBlockStart(block.index, "thinking")
        elif kind == "function_call":
            block = self._items[place] = self._open("tool_call")
            given = item.get("call_id") or ""
            # Other providers, and the pairing of calls with results, want plain ids.
            block.id = given if _GOOD_ID.fullmatch(given) else new_id("call")
            yield ContentBlockStart(block.index, "tool_call", id=block.id, name=item["name"])
        else:
            block = self._items[place] = self._open("server_tool")
            yield ContentBlockStart(block.index, "server_tool", id=item.get("id") or "", name=step_name(item))

    def _end(self, place: int, item: Mapping[str, Any]) -> Iterator[ModelEvent]:
        """Take a finished item, whose fields are whole; of a server that sends no deltas they are all there is."""
        kind = item["type"]
        if kind == "message":
            yield from self._end_message(place, item)
            return
        if place not in self._items:
            yield from self._begin(place, item)
        block = self._items.pop(place)
        if kind == "reasoning":
            yield from self._end_reasoning(block, item)
        elif kind == "function_call":
            if item.get("status") == "incomplete":
                return  # half a call is not to be run
            if not block.text:
                yield from block.input_deltas(item.get("arguments") or "")
            self._calls += 1
            self._written += tokens.estimate(block.text)
            yield ContentBlockStop(block.index, block.call(block.id, item["name"], self._adapter))
        else:
            step = step_of(item)
            self._searches += kind == "web_search_call" and (item.get("action") or {}).get("type") == "search"
            if step.text:
                yield TextDelta(block.index, step.text, 0)
            yield ContentBlockStop(block.index, step)

    def _end_message(self, place: int, item: Mapping[str, Any]) -> Iterator[ModelEvent]:
        for number, part in enumerate(item.get("content") or ()):
            spot = (place, number)
            if part["type"] == "refusal":
                self._refusals[spot] = part["refusal"]
            elif part["type"] == "output_text" and (part["text"] or spot in self._texts):
                if spot not in self._texts:
                    yield from self._text(spot, part["text"])
                block = self._texts.pop(spot)
                yield from self._end_text(block, part.get("annotations") or (), item.get("phase") or "")

    def _end_text(
        self, block: _OpenBlock, citations: Iterable[Mapping[str, Any]] = (), phase: str = ""
    ) -> Iterator[ModelEvent]:
        yield from block.rest()
        text = block.text
        self._written += tokens.estimate(text)
        yield ContentBlockStop(block.index, Text(text, tuple(citations), phase))

    def _end_reasoning(self, block: _OpenBlock, item: Mapping[str, Any]) -> Iterator[ModelEvent]:
        if block.part is None:
            parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
            yield from block.text_deltas(_PARAGRAPH.join(part["text"] for part in parts))
        yield from block.rest()
        # Nothing is kept at the service: what came without its content, or half of it, it would not know again.
        whole = item.get("encrypted_content") and item.get("status") != "incomplete"
        raw = {name: value for name, value in item.items() if value is not None} if whole else {}
        yield ContentBlockStop(block.index, Thinking(block.text, raw))

    def _finish(self, response: Mapping[str, Any]) -> Iterator[ModelEvent]:
        """Close what is open, but for calls: what they are to be run with is not all there."""
        self._meet(response)
        yield from self._start()
        for block in sorted([*self._texts.values(), *self._items.values()], key=lambda block: block.index):
            if block.kind == "text":
                yield from self._end_text(block)
            elif block.kind == "thinking":
                yield from block.rest()
                yield ContentBlockStop(block.index, Thinking(block.text))
        reason = (response.get("incomplete_details") or {}).get("reason") or ""
        refusal = "".join(self._refusals.values())
        if refusal or _INCOMPLETE.get(reason) == "refusal":
            self._reason, self._detail = "refusal", refusal or reason
        elif reason or response.get("status") == "incomplete":
            self._reason = _INCOMPLETE.get(reason, reason or "max_tokens")
        else:
            self._reason = "tool_use" if self._calls else "end_turn"
        estimate = Usage(self._context.tokens, self._written, estimated=True)
        self._usage = usage_of(response, self._searches) if response.get("usage") else estimate
        self.complete = True


def usage_of(response: Mapping[str, Any], searches: int = 0) -> Usage:
    """Read a response's figures, whose details are shares; ``searches`` were seen, where it does not count them."""
    usage = response.get("usage") or {}
    read = usage.get("input_tokens_details") or {}
    written = usage.get("output_tokens_details") or {}
    counted = (response.get("tool_usage") or {}).get("web_search") or {}
    return Usage(
        input_tokens=usage.get("input_tokens") or 0,
        output_tokens=usage.get("output_tokens") or 0,
        cache_read_tokens=read.get("cached_tokens") or 0,
        cache_write_tokens=read.get("cache_write_tokens") or 0,
        cache_write_long_tokens=(read.get("cache_write_tokens_details") or {}).get("ttl_12h_tokens") or 0,
        thinking_tokens=written.get("reasoning_tokens") or 0,
        web_searches=counted.get("num_requests", searches),
    )
