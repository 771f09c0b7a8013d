"""Ticks as a store keeps them: one row as a tick begins, one as it ends, and back.

A row holds what differs from the tick before (as it begins) or from the usual (as
it ends). Contexts are kept as references: an entry is kept once, as its own row,
any other part once, in the texts, by its digest; but a short one as it is, for its
reference would not be shorter.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbsession.content import Text, Thinking, ToolResult, ToolSpec, block_from_dict
from nbsession.context import Chunk, CompiledContext, Part, Withheld, entry_part
from nbsession.errors import ModelError, NbsessionError, SessionError, StoreError
from nbsession.record.texts import digest_of, put
from nbsession.timeline import Tick, ToolRun
from nbsession.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nbsession.content import Block, Entry
    from nbsession.context import FlowItem
    from nbsession.stores.base import SessionStore
    from nbsession.timeline import Record

SHARED = ("execution", "system", "tools", "specs", "settings", "withheld")
"""What a row leaves out where it is the same as in the tick before."""

ENTRY = "entry:"
"""What a reference to an entry begins with; its id follows, and where it is not the timeline's own, "@" and the path."""


SHORT = 400
"""Characters of a part's JSON up to which it stands in the row."""


def beginning(
    tick: Tick,
    before: Tick | None,
    known: Mapping[str, Any],
    entries: Mapping[str, Entry],
    texts: dict[str, str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a tick's row as it begins, and what the next tick may leave out.

    ``before`` is the tick before and ``known`` what it gave here; ``entries`` are the
    session's, by their ids. The texts of new parts are added to ``texts``.
    """
    context = tick.context
    older = before.context if before is not None and known else None
    shared = _shareable(tick, entries, texts)
    own: dict[str, Any] = {
        # Never left out: the row of the tick before goes on with what its answer said of these.
        "model": tick.model,
        "source": tick.source,
        "started": tick.started,
        "head_before": tick.head_before,
        "state_before": tick.state_before,
        "hash": context.hash,
        "tokens": context.tokens,
        "flow": _new_flow(context, older, entries, texts),
    }
    new = {name: value for name, value in shared.items() if name not in known or known[name] != value}
    return {**new, **own}, shared


def left_out(tick: Tick, entries: Mapping[str, Entry]) -> Mapping[str, Any]:
    """Return what the row of the next tick may leave out, of a tick whose own row may be another process's."""
    if isinstance(tick.context, StoredContext):
        return tick.context.row
    return _shareable(tick, entries, {})


def _shareable(tick: Tick, entries: Mapping[str, Entry], texts: dict[str, str]) -> dict[str, Any]:
    context = tick.context
    specs = json.dumps([spec.to_dict() for spec in context.tools], ensure_ascii=False)
    return {
        "execution": tick.execution,
        "system": [_reference(part, entries, texts) for part in context.system],
        "tools": [_reference(part, entries, texts) for part in context._tools],
        "specs": put(specs, texts),
        "settings": dict(context.settings),
        "withheld": [list(item) for item in context.withheld],
    }


def answer(tick: Tick) -> dict[str, Any]:
    """Return a tick's row as its answer is complete: what the entry with the answer does not say."""
    usage = {name: value for name, value in tick.usage.to_dict().items() if value}
    data: dict[str, Any] = {
        "model": tick.model,
        "asked": tick.asked if tick.asked != tick.model else "",
        "source": tick.source,
        "recorded": tick.recorded,
        "stop_reason": tick.stop_reason,
        "detail": tick.detail,
        "usage": usage,
        "first_token": tick.first_token,
    }
    return {**{name: value for name, value in data.items() if value}, "cost": tick.cost}


def ending(tick: Tick) -> dict[str, Any]:
    """Return a tick's row as it ends: what is not as usual."""
    data: dict[str, Any] = {
        "interrupted": tick.interrupted,
        "should_continue": tick.should_continue,
        "reason": tick.reason,
        "error": str(tick.error) if tick.error is not None else "",
    }
    if isinstance(tick.error, ModelError):
        data["failed"] = {"kind": tick.error.kind, "retryable": tick.error.retryable}
    if tick.error is not None:
        data["response"] = [block.to_dict() for block in tick.response]
    return {
        **answer(tick),
        **{name: value for name, value in data.items() if value},
        "ended": tick.ended,
        "head_after": tick.head_after,
        "state_after": tick.state_after,
    }


def _new_flow(
    context: CompiledContext,
    older: CompiledContext | None,
    entries: Mapping[str, Entry],
    texts: dict[str, str],
) -> list[Any]:
    """Return references to the parts of a flow, in order; ``[start, end]`` stands for those of the older flow."""
    if isinstance(older, StoredContext):
        return _new_references(
            [_reference(part, entries, texts) for part in _parts_of(context._flow)], older.references
        )
    shared, kept = _shared(context, older)
    before = list(_parts_of(older._flow[shared:])) if older is not None else []
    # Trailing parts that stay where they were sent have one identity; taken in order, they are told apart.
    places: dict[Any, deque[int]] = {}
    for place, part in enumerate(before):
        places.setdefault(part.identity, deque()).append(place)
    flow: list[Any] = [[0, kept]] if kept else []
    for part in _parts_of(context._flow[shared:]):
        candidates = places.get(part.identity) or deque()
        while candidates and not _same(part, before[candidates[0]]):
            candidates.popleft()
        if not candidates:
            flow.append(_reference(part, entries, texts))
            continue
        _point(flow, kept + candidates.popleft())
    return flow


def _new_references(references: Sequence[Any], older: Sequence[Any]) -> list[Any]:
    """Do as ``_new_flow`` does where the older flow was kept by another process: by references, parts unread."""
    places: dict[str, deque[int]] = {}
    for place, reference in enumerate(older):
        places.setdefault(str(reference), deque()).append(place)
    flow: list[Any] = []
    for reference in references:
        candidates = places.get(str(reference))
        if not candidates:
            flow.append(reference)
            continue
        _point(flow, candidates.popleft())
    return flow


def _point(flow: list[Any], place: int) -> None:
    """Let a flow go on with the part at a place of the older one."""
    if flow and isinstance(flow[-1], list) and flow[-1][1] == place:
        flow[-1][1] += 1
    else:
        flow.append([place, place + 1])


def _shared(context: CompiledContext, older: CompiledContext | None) -> tuple[int, int]:
    """Count the leading items that two flows have in common, and their parts."""
    items = parts = 0
    for mine, theirs in zip(context._flow, older._flow if older is not None else (), strict=False):
        if mine is not theirs:
            break
        items += 1
        parts += len(mine.entries) if isinstance(mine, Chunk) else 1
    return items, parts


def _parts_of(flow: Iterable[FlowItem]) -> Iterator[Part]:
    for item in flow:
        if isinstance(item, Chunk):
            yield from item.parts
        else:
            yield item


def _same(new: Part, old: Part) -> bool:
    if new is old:
        return True
    if new.identity != old.identity or new.text != old.text:
        return False
    # Blocks of an entry that was rendered again are the same tuple: a quicker answer than their data.
    return (new.blocks is old.blocks or new.blocks == old.blocks) and new.to_dict() == old.to_dict()


def _reference(part: Part, entries: Mapping[str, Entry], texts: dict[str, str]) -> str | dict[str, Any]:
    """Say where a part is found again, or what it is, if it is short.

    One that shows an entry as it is stands in that entry's row.
    """
    entry = entries.get(part.key) if part.kind == "message" and not part.title else None
    if entry is not None and _shows(part, entry):
        return f"{ENTRY}{entry.id}" + ("" if part.path == "timeline" else f"@{part.path}")
    data = part.to_dict()
    if "body" in data and (start := part.text.find(part.body)) >= 0:
        # Where the body stands in the text: a section's heading is short, and its body long.
        data["body"] = [start, start + len(part.body)]
    if part.blocks and part.text == _joined(part.blocks):
        del data["text"]
    text = json.dumps(data, ensure_ascii=False, sort_keys=True)
    return data if len(text) <= SHORT else put(text, texts)


def _shows(part: Part, entry: Entry) -> bool:
    made = entry_part(entry, part.path)
    return made.role == part.role and (made.blocks is part.blocks or made.blocks == part.blocks)


def _joined(blocks: Sequence[Block]) -> str:
    return "\n\n".join([str(block) for block in blocks])


def _part(data: dict[str, Any]) -> Part:
    data = dict(data)
    if "text" not in data:
        data["text"] = _joined([block_from_dict(item) for item in data["blocks"]])
    if isinstance(data.get("body"), list):
        start, end = data["body"]
        data["body"] = data["text"][start:end]
    return Part.from_dict(data)


def growth(kept: Sequence[Block], content: Sequence[Block]) -> dict[str, Any]:
    """Return the row that makes ``content``, a response so far, of what was kept of it before."""
    same = 0
    while same < min(len(kept), len(content)) and kept[same] == content[same]:
        same += 1
    rest = list(content[same:])
    data: dict[str, Any] = {"keep": same}
    if same < len(kept) and rest:
        old, new = kept[same], rest[0]
        if _continues(old, new):
            data["more"] = str(new)[len(str(old)) :]
            rest = rest[1:]
    data["then"] = [block.to_dict() for block in rest]
    return data


def _continues(old: Block, new: Block) -> bool:
    """Say whether a block is the same text or thinking with more at its end."""
    return (
        isinstance(old, Text | Thinking)
        and isinstance(new, Text | Thinking)
        and new.text.startswith(old.text)
        and replace(old, text=new.text) == new
    )


def grown(kept: Sequence[Block], data: Mapping[str, Any]) -> tuple[Block, ...]:
    """Return a response so far, from what was kept before and a row of its growth."""
    blocks = list(kept[: data["keep"]])
    if "more" in data:
        blocks.append(replace(kept[data["keep"]], text=str(kept[data["keep"]]) + data["more"]))
    return (*blocks, *[block_from_dict(item) for item in data["then"]])


def restore_ticks(rows: Mapping[int, dict[str, Any]], record: Record, store: SessionStore) -> list[Tick]:
    """Bring a session's ticks back; their contexts are read when they are first asked for."""
    ticks: list[Tick] = []
    before: dict[str, Any] = {}
    for number in sorted(rows):
        if number != len(ticks):
            raise StoreError(f"tick {len(ticks)} is missing among the stored ticks {sorted(rows)[:20]}")
        data = rows[number]
        data.update({name: before[name] for name in SHARED if name not in data})
        before = data
        tick = _tick(number, data, record)
        tick.context = StoredContext(rows, number, record, store)
        ticks.append(tick)
    return ticks


def _flow_of(rows: Mapping[int, Mapping[str, Any]], number: int) -> list[str | dict[str, Any]]:
    """Collect a tick's references, going back as far as the ticks before hold them."""
    found: dict[int, str | dict[str, Any]] = {}
    # Runs of this tick's flow that stand in the tick at hand: from where there to where here, and how many.
    wanted = [(0, 0, sys.maxsize)]
    while wanted:
        earlier: list[tuple[int, int, int]] = []
        there = 0
        for item in rows[number]["flow"]:
            first, last = item if isinstance(item, list) else (0, 1)
            for start, here, count in wanted:
                low, high = max(start, there), min(start + count, there + last - first)
                if low >= high:
                    continue
                if isinstance(item, list):
                    earlier.append((first + low - there, here + low - start, high - low))
                else:
                    found[here + low - start] = item
            there += last - first
        wanted = earlier
        number -= 1
    return [found[place] for place in range(len(found))]


class StoredContext(CompiledContext):
    """A compiled context that a store keeps; its texts are read when they are first looked at."""

    def __init__(
        self, rows: Mapping[int, Mapping[str, Any]], number: int, record: Record, store: SessionStore
    ) -> None:
        data = rows[number]
        self._rows = rows
        self._number = number
        self._record = record
        self._store = store
        self.settings = data["settings"]
        self.withheld = tuple(Withheld(*item) for item in data["withheld"])
        self.pending, self.model = (), data["model"]
        self.tokens = data["tokens"]
        self.__dict__["hash"] = data["hash"]

    @property
    def row(self) -> Mapping[str, Any]:
        """The tick's row, with what it shares with the tick before."""
        return self._rows[self._number]

    @property
    def references(self) -> list[str | dict[str, Any]]:
        """References to the parts of its flow."""
        return _flow_of(self._rows, self._number)

    def __getattr__(self, name: str) -> Any:
        if name not in ("_system", "_tools", "_flow", "tools"):
            raise AttributeError(name)
        data, record, flow = self.row, self._record, self.references
        wanted = [*data["system"], *data["tools"], data["specs"], *flow]
        texts = self._store.texts(
            {ref for ref in wanted if isinstance(ref, str) and not ref.startswith(ENTRY)}
        )
        for digest, text in texts.items():
            if not digest_of(text).startswith(digest):
                raise StoreError(
                    f"text {digest} of tick {self._number} is not what was kept under that digest; "
                    "restore the store from a copy"
                )

        def part(reference: str | dict[str, Any]) -> Part:
            if not isinstance(reference, str):
                return _part(reference)
            if reference.startswith(ENTRY):
                name, _, path = reference.removeprefix(ENTRY).partition("@")
                entry = record.get(name)
                if entry is None:
                    raise StoreError(f"the entry {reference} of a stored context is missing")
                return entry_part(entry, path or "timeline")
            return _part(json.loads(texts[reference]))

        self._system = [part(reference) for reference in data["system"]]
        self._tools = [part(reference) for reference in data["tools"]]
        self._flow = [part(reference) for reference in flow]
        self.tools = tuple(ToolSpec.from_dict(item) for item in json.loads(texts[data["specs"]]))
        return self.__dict__[name]

    def recomputed_hash(self) -> str:
        """Work the hash out anew from what is stored."""
        return CompiledContext(
            self._system, self._flow, self._tools, specs=self.tools, settings=self.settings
        ).hash


def as_sent(tick: Tick, sent: str | None) -> bool:
    """Say whether what is stored of a tick's context has the hash that is stored, and the one it was sent with."""
    context = tick.context
    if not isinstance(context, StoredContext) or context.hash != (sent or context.hash):
        return False
    try:
        return context.recomputed_hash() == context.hash
    except (StoreError, ValueError, LookupError, TypeError):
        return False  # what was changed cannot even be read


def _tick(number: int, data: Mapping[str, Any], record: Record) -> Tick:
    tick = Tick(
        number,
        data["execution"],
        asked=data.get("asked") or data["model"],
        model=data["model"],
        source=data["source"],
        started=data["started"],
        head_before=data["head_before"],
        state_before=data["state_before"],
        head_after=data.get("head_after", data["head_before"]),
        state_after=data.get("state_after", data["state_before"]),
        stop_reason=data.get("stop_reason", ""),
        detail=data.get("detail", ""),
        usage=Usage.from_dict(data.get("usage", {})),
        cost=data.get("cost"),
        first_token=data.get("first_token"),
        ended=data.get("ended"),
        interrupted=data.get("interrupted", "ended" not in data),
        recorded=data.get("recorded", ""),
        should_continue=data.get("should_continue", False),
        reason=data.get("reason", ""),
        error=_error(data),
    )
    tell_answer(tick, record)
    if not tick.response and data.get("response"):
        tick.response = tuple(block_from_dict(item) for item in data["response"])
    return tick


def _error(data: Mapping[str, Any]) -> NbsessionError | None:
    """Return the error that ended a tick, as it can be told from what is kept: whether to send again is what counts."""
    if not data.get("error"):
        return None
    failed = data.get("failed")
    return ModelError(data["error"], **failed) if failed else SessionError(data["error"])


def tell_answer(tick: Tick, record: Record) -> None:
    """Give a tick its response and its tools' results, as they stand in the entries up to where it ended."""
    head = record.get(tick.head_after or "")
    answers: list[Entry] = []
    while head is not None and head.id != tick.head_before:
        answers.append(head)
        head = record.get(head.parent or "")
    for entry in reversed(answers):
        if entry.role == "assistant":
            tick.response = entry.content
            tick.tool_calls = [ToolRun(call) for call in entry.tool_calls]
        elif entry.role == "tool":
            results = {block.call_id: block for block in entry.content if isinstance(block, ToolResult)}
            for run in tick.tool_calls:
                run.result = results.get(run.id)
