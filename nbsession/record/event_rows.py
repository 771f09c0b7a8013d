"""Events as a store keeps them: a word each, for what they tell is kept already.

An event's content (an entry, a context, a response's block, a tool's result)
stands in other rows. So a run of events is kept as the number of the first and
one short word for each; only what stands nowhere else is kept with its data.
Deltas are not kept: a reader gets one joined delta a block.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nbsession import events
from nbsession.content import ServerTool, Text, Thinking, ToolCall, ToolResult
from nbsession.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nbsession.content import Block, Entry
    from nbsession.events import Event
    from nbsession.timeline import Tick

WHOLE: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (
        events.ExecutionStart,
        events.ExecutionEnd,
        events.KnobSet,
        events.GateChanged,
        events.Error,
        events.ToolProgress,
        events.ConfirmationRequested,
        events.BreakpointReached,
        events.PermissionDecided,
        events.QuestionAsked,
        events.QuestionAnswered,
        events.QuestionWithdrawn,
        events.MessageStop,
    )
}
"""Events that are kept with their data, by type."""


ANSWERING = (events.MessageStart, events.ContentBlockStart, events.MessageDelta)
"""Events of a response that are kept with their data while it is not complete: nothing else says what they do."""


def row_of(run: Sequence[Event], *, answering: bool = False) -> dict[str, Any]:
    """Return durable events, numbered one after another, as the data of one row.

    ``answering`` says that they are stored before the response is complete that they may be of.
    """
    words = [_data_of(event) if answering and isinstance(event, ANSWERING) else _word(event) for event in run]
    for word, event, following in zip(words, run, run[1:], strict=False):
        if isinstance(event, events.ExecutionStart) and _begins_with(following, event.text):
            del word["text"]
    return {"first": run[0].sequence, "events": words}


def _begins_with(following: Event, text: str) -> bool:
    """Say whether the text that an execution begins with is that of the entry that is committed next."""
    return isinstance(following, events.EntryCommitted) and following.entry.text == text


def _word(event: Event) -> Any:
    if isinstance(event, events.MessageStop):
        return event.type
    if isinstance(event, events.Done):  # what it used was said by the end of its execution, just before
        return f"{event.type} {event.steps}"
    if event.type in WHOLE or (isinstance(event, events.TickEnd) and _begun_by_none(event)):
        return _data_of(event)
    if isinstance(event, events.EntryCommitted):
        return f"{event.type} {event.entry.id}"
    if isinstance(event, events.TickStart):
        return f"{event.type} {event.tick}"
    if isinstance(event, (events.ContentBlockStart, events.ContentBlockStop)):
        return f"{event.type} {event.index}"
    if isinstance(event, events.ToolStart):
        return f"{event.type} {event.call.id}"
    if isinstance(event, events.ToolEnd):
        return f"{event.type} {event.result.call_id}"
    return event.type


def _data_of(event: Event) -> dict[str, Any]:
    data = event.to_dict()
    del data["sequence"]
    if "usage" in data:
        data["usage"] = {name: value for name, value in data["usage"].items() if value}
    return data


def _begun_by_none(event: events.TickEnd) -> bool:
    """Say whether a tick may have ended before its context was compiled, so that no other row tells of it."""
    return not event.should_continue and not event.usage.output_tokens


class EventReader:
    """Makes events of kept rows again, with what they refer to.

    ``entry`` finds an entry by its id, ``ticks`` are the session's ticks. Rows have
    to be given in order, from any row on at which a tick starts or none runs.
    """

    def __init__(self, ticks: Sequence[Tick], entry: Mapping[str, Entry]) -> None:
        self._ticks = ticks
        self._entries = entry
        self._tick: Tick | None = None
        self._blocks: list[Block] = []
        self._opened: dict[int, Block] = {}
        self._usage = Usage()

    def read(self, data: Mapping[str, Any]) -> Iterator[Event]:
        """Give the events of one row; a block, also one that was cut, has its joined delta after its start."""
        words = data["events"]
        for sequence, (word, following) in enumerate(
            zip(words, [*words[1:], None], strict=True), data["first"]
        ):
            if isinstance(word, dict) and word["type"] == "execution_start" and "text" not in word:
                word = {**word, "text": self._entries[following.partition(" ")[2]].text}
            for event in self._events(word):
                event.sequence = sequence
                yield event

    def _events(self, word: Any) -> Iterable[Event]:
        if isinstance(word, dict):
            event = events.event_from_dict(word)
            if isinstance(event, events.ExecutionEnd):
                self._usage = event.usage
            if isinstance(event, events.ContentBlockStart):
                return self._started(event)
            return [event]
        kind, _, about = word.partition(" ")
        if kind == "done":
            return [events.Done(self._usage, int(about or 0))]
        if kind == "tick_start":
            number = int(about)
            # One that was not even compiled is none of the ticks; the next one has its number.
            self._tick = self._ticks[number] if number < len(self._ticks) else None
            self._blocks = list(self._tick.response) if self._tick is not None else []
            self._opened = {}
            return [events.TickStart(number)]
        if kind == "entry_committed":
            return [events.EntryCommitted(self._entries[about])]
        if kind in ("content_block_start", "content_block_stop"):
            return self._block(kind, int(about))
        tick = self._tick
        if kind in WHOLE:
            return [WHOLE[kind]()]
        return [_of_tick(kind, about, tick)] if tick is not None else []

    def _block(self, kind: str, index: int) -> Iterable[Event]:
        if kind == "content_block_start":
            if not self._blocks:
                return [events.ContentBlockStart(index, "text")]
            block = self._opened[index] = self._blocks.pop(0)
            return [_block_start(index, block), *_joined(index, block)]
        return [events.ContentBlockStop(index, self._opened.pop(index, Text("")))]

    def _started(self, event: events.ContentBlockStart) -> Iterable[Event]:
        """Give the start of a block, and what came of it, if anything did before it was cut."""
        if not self._blocks or _block_start(event.index, self._blocks[0]) != event:
            return [event]
        block = self._opened[event.index] = self._blocks.pop(0)
        return [event, *_joined(event.index, block)]


def stored_events(
    rows: Iterable[Mapping[str, Any]], ticks: Sequence[Tick], entries: Mapping[str, Entry], after: int
) -> Iterator[Event]:
    """Give the events of kept rows after a sequence number; rows long before it are only skimmed."""
    skimmed: list[Mapping[str, Any]] = []
    reader = EventReader(ticks, entries)
    for data in rows:
        if data["first"] + len(data["events"]) <= after:
            if any(isinstance(word, str) and word.startswith("tick_start") for word in data["events"]):
                skimmed.clear()
            skimmed.append(data)
            continue
        for earlier in skimmed:
            for _ in reader.read(earlier):
                pass
        skimmed.clear()
        for event in reader.read(data):
            if event.sequence > after or (event.sequence == after and not event.durable):
                yield event


def _block_start(index: int, block: Block) -> Event:
    if isinstance(block, ToolCall):
        return events.ContentBlockStart(index, "tool_call", block.id, block.name)
    if isinstance(block, ServerTool):
        return events.ContentBlockStart(index, "server_tool", block.call_id, block.name)
    return events.ContentBlockStart(index, "thinking" if isinstance(block, Thinking) else "text")


def _joined(index: int, block: Block) -> Iterator[Event]:
    """Give a whole block as one delta; a tool call's input as JSON that says the same as the model's own."""
    if isinstance(block, ToolCall):
        yield events.InputJsonDelta(index, json.dumps(block.input, ensure_ascii=False))
    elif isinstance(block, (Text, Thinking, ServerTool)):
        yield events.TextDelta(index, block.text)


def _of_tick(kind: str, about: str, tick: Tick) -> Event:
    if kind == "tick_context":
        return events.TickContext(tick.number, tick.context, tick.asked, tick.source)
    if kind == "tick_end":
        return events.TickEnd(tick.number, tick.usage, tick.cost, tick.should_continue, tick.reason)
    if kind == "message_start":
        return events.MessageStart(tick.model, tick.source or "live", tick.recorded)  # type: ignore[arg-type]  # kept from one
    if kind == "message_delta":
        return events.MessageDelta(tick.stop_reason, tick.usage, tick.detail, tick.cache_diagnosis)
    run = next((run for run in tick.tool_calls if run.id == about), None)
    call = run.call if run is not None else ToolCall(about, "", {})
    if kind == "tool_start":
        return events.ToolStart(call)
    result = run.result if run is not None else None
    return events.ToolEnd(result or ToolResult(about, call.name, (), is_error=True, status="unknown"))
