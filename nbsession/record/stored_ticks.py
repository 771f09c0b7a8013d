"""Ticks as they come back from a store: each from its row, its context when it is first looked at."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from nbsession.content import ToolResult, ToolSpec, block_from_dict
from nbsession.context import CompiledContext, Part, Withheld, entry_part
from nbsession.errors import ModelError, NbsessionError, SessionError, StoreError
from nbsession.record.texts import digest_of
from nbsession.timeline import Cause, Tick, ToolRun
from nbsession.tools import Decision
from nbsession.usage import CacheDiagnosis, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.content import Block, Entry
    from nbsession.stores.base import SessionStore
    from nbsession.timeline import Record

SHARED = ("execution", "system", "tools", "specs", "settings", "withheld")
"""What a row leaves out where it is the same as in the tick before."""

ENTRY = "entry:"
"""What a reference to an entry begins with; its id follows, and where it is not the timeline's own, "@" and the path."""


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
                return part_of(reference)
            if reference.startswith(ENTRY):
                name, _, path = reference.removeprefix(ENTRY).partition("@")
                entry = record.get(name)
                if entry is None:
                    raise StoreError(f"the entry {reference} of a stored context is missing")
                return entry_part(entry, path or "timeline")
            return part_of(json.loads(texts[reference]))

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
        causes=tuple(Cause(*item) for item in data.get("causes", ())),
    )
    if diagnosis := data.get("cache_diagnosis"):
        tick.cache_diagnosis = CacheDiagnosis.from_dict(diagnosis)
    tell_answer(tick, record)
    decisions = data.get("decisions", {})
    for run in tick.tool_calls:
        run.decision = Decision(*decisions[run.id]) if run.id in decisions else None
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


def part_of(data: dict[str, Any]) -> Part:
    """Read a part as a row or a text keeps it."""
    data = dict(data)
    if "text" not in data:
        data["text"] = joined([block_from_dict(item) for item in data["blocks"]])
    if isinstance(data.get("body"), list):
        start, end = data["body"]
        data["body"] = data["text"][start:end]
    return Part.from_dict(data)


def joined(blocks: Sequence[Block]) -> str:
    """Return the text of blocks, as a part has it."""
    return "\n\n".join([str(block) for block in blocks])
