"""Ticks as a store keeps them: one row as a tick begins, one as it ends, and back.

A row holds what differs from the tick before (as it begins) or from the usual (as
it ends). Contexts are kept as references: an entry is kept once, as its own row,
any other part once, in the texts, by its digest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbsession.content import Text, Thinking, ToolResult, ToolSpec, block_from_dict
from nbsession.context import CompiledContext, Part, Withheld, entry_part
from nbsession.errors import StoreError
from nbsession.tick import Tick, ToolRun
from nbsession.timeline import Chunk
from nbsession.tokens import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nbsession.content import Block, Entry
    from nbsession.context import FlowItem
    from nbsession.stores.base import SessionStore
    from nbsession.timeline import Record

SHARED = ("execution", "model", "source", "system", "tools", "specs", "settings", "withheld")
"""What a row leaves out where it is the same as in the tick before."""


def beginning(
    tick: Tick, before: Tick | None, known: Mapping[str, Any], texts: dict[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a tick's row as it begins, and what the next tick may leave out.

    ``before`` is the tick before and ``known`` what it gave here. ``keep`` in the
    row is how many leading parts of the flow are that tick's. The texts of new
    parts are added to ``texts``.
    """
    context = tick.context
    keep, rest = _kept_flow(context, before.context if before is not None and known else None)
    specs = json.dumps([spec.to_dict() for spec in context.tools], ensure_ascii=False)
    shared: dict[str, Any] = {
        "execution": tick.execution,
        "model": tick.model,
        "source": tick.source,
        "system": [_reference(part, texts) for part in context.system],
        "tools": [_reference(part, texts) for part in context._tools],
        "specs": _put(specs, texts),
        "settings": dict(context.settings),
        "withheld": [list(item) for item in context.withheld],
    }
    own: dict[str, Any] = {
        "started": tick.started,
        "head_before": tick.head_before,
        "state_before": tick.state_before,
        "hash": context.hash,
        "tokens": context.tokens,
        "keep": keep,
        "flow": [_reference(part, texts) for part in rest],
    }
    new = {name: value for name, value in shared.items() if name not in known or known[name] != value}
    return {**new, **own}, shared


def ending(tick: Tick) -> dict[str, Any]:
    """Return a tick's row as it ends: what is not as usual."""
    usage = {name: value for name, value in tick.usage.to_dict().items() if value}
    data: dict[str, Any] = {
        "model": tick.model,
        "source": tick.source,
        "recorded": tick.recorded,
        "stop_reason": tick.stop_reason,
        "detail": tick.detail,
        "usage": usage,
        "first_token": tick.first_token,
        "interrupted": tick.interrupted,
        "should_continue": tick.should_continue,
        "reason": tick.reason,
        "error": str(tick.error) if tick.error is not None else "",
    }
    if tick.error is not None:
        data["response"] = [block.to_dict() for block in tick.response]
    return {
        **{name: value for name, value in data.items() if value},
        "cost": tick.cost,
        "ended": tick.ended,
        "head_after": tick.head_after,
        "state_after": tick.state_after,
    }


def _kept_flow(context: CompiledContext, older: CompiledContext | None) -> tuple[int, Sequence[Part]]:
    """Count the leading parts that two flows share; return the parts after them."""
    if older is None:
        return 0, context.flow
    shared = kept = 0
    for mine, theirs in zip(context._flow, older._flow, strict=False):
        if mine is not theirs:
            break
        shared += 1
        kept += len(mine.entries) if isinstance(mine, Chunk) else 1
    rest = list(_parts_of(context._flow[shared:]))
    same = 0
    for new, old in zip(rest, _parts_of(older._flow[shared:]), strict=False):
        if not (new is old or _identified(new) == _identified(old)):
            break
        same += 1
    return kept + same, rest[same:]


def _parts_of(flow: Iterable[FlowItem]) -> Iterator[Part]:
    for item in flow:
        if isinstance(item, Chunk):
            yield from item.parts
        else:
            yield item


def _entry_of(part: Part) -> str:
    """Return the id of the entry that a part shows as it is, else nothing."""
    return part.key if part.kind == "message" and part.path == "timeline" and not part.title else ""


def _identified(part: Part) -> str | dict[str, Any]:
    return _entry_of(part) or part.to_dict()


def _reference(part: Part, texts: dict[str, str]) -> str:
    if entry := _entry_of(part):
        return "entry:" + entry
    data = part.to_dict()
    if "body" in data and (start := part.text.find(part.body)) >= 0:
        # Where the body stands in the text: a section's heading is short, and its body long.
        data["body"] = [start, start + len(part.body)]
    return _put(json.dumps(data, ensure_ascii=False, sort_keys=True), texts)


def _part(text: str) -> Part:
    data = json.loads(text)
    if isinstance(data.get("body"), list):
        start, end = data["body"]
        data["body"] = data["text"][start:end]
    return Part.from_dict(data)


def _put(text: str, texts: dict[str, str]) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    texts[digest] = text
    return digest


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
        for name in SHARED:
            if name not in data:
                data[name] = before[name]
        before = data
        tick = _tick(number, data, record)
        tick.context = StoredContext(rows, number, record, store)
        ticks.append(tick)
    return ticks


def _flow_of(rows: Mapping[int, Mapping[str, Any]], number: int) -> list[str]:
    """Collect a tick's references, going back as far as the ticks before hold them."""
    runs: list[list[str]] = []
    wanted: int | None = None
    while wanted != 0:
        data = rows[number]
        keep, own = data["keep"], data["flow"]
        if wanted is None or wanted > keep:
            runs.append(own if wanted is None else own[: wanted - keep])
            wanted = keep
        number -= 1
    return [reference for run in reversed(runs) for reference in run]


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
        self.pending = ()
        self.tokens = data["tokens"]
        self.__dict__["hash"] = data["hash"]

    def __getattr__(self, name: str) -> Any:
        if name not in ("_system", "_tools", "_flow", "tools"):
            raise AttributeError(name)
        data, record = self._rows[self._number], self._record
        flow = _flow_of(self._rows, self._number)
        wanted = [*data["system"], *data["tools"], data["specs"], *flow]
        texts = self._store.texts({ref for ref in wanted if not ref.startswith("entry:")})

        def part(reference: str) -> Part:
            if reference.startswith("entry:"):
                entry = record.get(reference.removeprefix("entry:"))
                if entry is None:
                    raise StoreError(f"the entry {reference} of a stored context is missing")
                return entry_part(entry, "timeline")
            return _part(texts[reference])

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


def _tick(number: int, data: Mapping[str, Any], record: Record) -> Tick:
    head = record.get(data.get("head_after") or "")
    tick = Tick(
        number,
        data["execution"],
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
    )
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
    if not tick.response and data.get("response"):
        tick.response = tuple(block_from_dict(item) for item in data["response"])
    return tick
