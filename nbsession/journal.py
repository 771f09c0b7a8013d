"""A session's way to its store and back: rows out, a session's past in."""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbsession.content import Block, Entry, ToolResult, ToolSpec, block_from_dict
from nbsession.context import CompiledContext, Part, Withheld, entry_part
from nbsession.errors import StoreError
from nbsession.event_rows import row_of
from nbsession.lease import Lease
from nbsession.policies import entries_of
from nbsession.state import GONE
from nbsession.stores.base import Row
from nbsession.tick import Tick, ToolRun
from nbsession.timeline import Chunk, Record
from nbsession.tokens import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.events import Event
    from nbsession.stores.base import SessionStore


@dataclass(slots=True)
class Rows:
    """Rows and texts that wait to be stored together."""

    rows: list[Row] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Let a row wait."""
        self.rows.append(row)

    def extend(self, later: Rows) -> None:
        """Let more rows and texts wait behind these."""
        self.rows += later.rows
        self.texts.update(later.texts)

    def seal(self) -> None:
        """Make the events that wait a row."""
        if self.events:
            self.add(Row("events", str(self.events[0].sequence), row_of(self.events)))
            self.events = []

    def __bool__(self) -> bool:
        return bool(self.rows)


class Journal:
    """The rows of one session, appended in order by one writer thread.

    What could not be stored waits, and goes in front of what is stored next, so that a
    store that recovers has everything. The session's lease is taken before the first
    write. Without a store nothing is kept, and nothing
    costs anything.
    """

    def __init__(self, store: SessionStore | None, session: str, *, revision: int = 0) -> None:
        self.store = store
        self.session = session
        self.revision = revision
        self._lease = Lease(store, session) if store is not None else None
        self._backlog = Rows()
        self._writer: concurrent.futures.ThreadPoolExecutor | None = None

    @property
    def behind(self) -> bool:
        """Whether something could not be stored so far."""
        return bool(self._backlog)

    @property
    def keeps(self) -> bool:
        """Whether there is a store."""
        return self.store is not None

    async def append(self, waiting: Rows) -> None:
        """Store rows and texts in one transaction; returns when they are durable."""
        if self.store is None:
            return
        if not self.store.blocking:
            self._write(waiting)
            return
        if self._writer is None:
            self._writer = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="nbsession-store")
        future = self._writer.submit(self._write, waiting)
        try:
            await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            await asyncio.wait({asyncio.wrap_future(future)})
            with suppress(StoreError):  # what was not stored waits in the backlog
                future.result()
            raise

    def append_now(self, waiting: Rows) -> None:
        """Store rows and wait, from a program without a running loop."""
        if self.store is None:
            return
        if self._writer is not None:
            self._writer.submit(self._write, waiting).result()
        else:
            self._write(waiting)

    def _write(self, waiting: Rows) -> None:
        assert self.store is not None
        assert self._lease is not None
        backlog = self._backlog
        backlog.extend(waiting)
        token = self._lease.hold()
        self.revision = self.store.append(
            self.session, backlog.rows, backlog.texts, revision=self.revision, token=token
        )
        self._backlog = Rows()

    def close(self) -> None:
        """Let the writer thread finish, and another process hold the session."""
        if self._writer is not None:
            self._writer.shutdown(wait=True)
            self._writer = None
        if self._lease is not None:
            self._lease.release()


def context_record(tick: Tick, before: Tick | None, texts: dict[str, str]) -> dict[str, Any]:
    """Return a tick's row as it begins: its context as references, most of them to the tick before.

    ``keep`` is how many leading parts of the flow are those of tick ``base``. An
    entry is kept once, as its own row, any other part once by its digest, in
    ``texts``.
    """
    context = tick.context
    older = before.context if before is not None else None
    keep, rest = _kept_flow(context, older)
    return {
        "execution": tick.execution,
        "model": tick.model,
        "source": tick.source,
        "started": tick.started,
        "head_before": tick.head_before,
        "state_before": tick.state_before,
        "hash": context.hash,
        "tokens": context.tokens,
        "system": [_reference(part, texts) for part in context.system],
        "tools": [_reference(part, texts) for part in context._tools],
        "specs": _put(json.dumps([spec.to_dict() for spec in context.tools], ensure_ascii=False), texts),
        "settings": dict(context.settings),
        "withheld": [list(item) for item in context.withheld],
        "base": before.number if before is not None and keep else None,
        "keep": keep,
        "flow": [_reference(part, texts) for part in rest],
    }


def _kept_flow(context: CompiledContext, older: CompiledContext | None) -> tuple[int, Sequence[Part]]:
    """Count the leading parts that two flows share, by identity of entries; return the parts after them."""
    if older is None:
        return 0, context.flow
    kept = 0
    for mine, theirs in zip(context._flow, older._flow, strict=False):
        if mine is theirs:
            kept += len(mine.entries) if isinstance(mine, Chunk) else 1
            continue
        if isinstance(mine, Chunk) and isinstance(theirs, Chunk):
            for one, other in zip(mine.entries, theirs.entries, strict=False):
                if one is not other:
                    break
                kept += 1
        break
    return kept, context.flow[kept:]


def _reference(part: Part, texts: dict[str, str]) -> str:
    if part.kind == "message" and part.path == "timeline" and part.key and not part.title:
        return "entry:" + part.key
    return _put(json.dumps(part.to_dict(), ensure_ascii=False, sort_keys=True), texts)


def _put(text: str, texts: dict[str, str]) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    texts[digest] = text
    return digest


@dataclass(slots=True)
class Past:
    """What a store knows of a session."""

    revision: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    entries: list[Entry] = field(default_factory=list)
    head: str | None = None
    changes: list[tuple[str, Any]] = field(default_factory=list)
    ticks: dict[int, dict[str, Any]] = field(default_factory=dict)
    executions: dict[str, dict[str, Any]] = field(default_factory=dict)
    partials: dict[int, tuple[Block, ...]] = field(default_factory=dict)
    tool_calls: dict[str, ToolResult | None] = field(default_factory=dict)
    policies: dict[str, tuple[Entry, ...]] = field(default_factory=dict)
    sequence: int = 0


def read_past(rows: Sequence[Row]) -> Past:
    """Fold a session's rows, in the order they were kept."""
    past = Past(revision=len(rows))
    for row in rows:
        if row.kind == "entry":
            past.entries.append(Entry.from_dict(row.data))
            past.head = row.key
        elif row.kind == "head":
            past.head = row.data["head"]
        elif row.kind == "state":
            past.changes += [(c[0], c[1]) if len(c) > 1 else (c[0], GONE) for c in row.data["changes"]]
        elif row.kind == "tick":
            past.ticks.setdefault(int(row.key), {}).update(row.data)
        elif row.kind == "execution":
            past.executions.setdefault(row.key, {}).update(row.data)
        elif row.kind == "partial":
            past.partials[int(row.key)] = tuple(block_from_dict(item) for item in row.data["response"])
        elif row.kind == "events":
            past.sequence = row.data["first"] + len(row.data["events"]) - 1
        elif row.kind == "policy":
            past.policies[row.key] = entries_of(row.data)
        elif row.kind == "event":
            result = row.data.get("result")
            read = block_from_dict(result) if result is not None else None
            past.tool_calls[row.key.partition("/")[2]] = read if isinstance(read, ToolResult) else None
        elif row.kind == "session":
            past.metadata = row.data.get("metadata", past.metadata)
            past.parent = row.data.get("parent", past.parent)
    return past


def restore_ticks(past: Past, record: Record, store: SessionStore) -> list[Tick]:
    """Bring a session's ticks back; their contexts are read when they are first asked for."""
    ticks: list[Tick] = []
    for number in sorted(past.ticks):
        if number != len(ticks):
            raise StoreError(f"tick {len(ticks)} is missing among the stored ticks {sorted(past.ticks)[:20]}")
        ticks.append(_tick(number, past.ticks[number], record))
    flows: list[list[str]] = []
    for tick, number in zip(ticks, sorted(past.ticks), strict=True):
        data = past.ticks[number]
        base = flows[data["base"]][: data["keep"]] if data.get("base") is not None else []
        flows.append([*base, *data["flow"]])
        tick.context = StoredContext(data, flows[-1], record, store)
    return ticks


class StoredContext(CompiledContext):
    """A compiled context that a store keeps; its texts are read when they are first looked at."""

    def __init__(
        self, data: Mapping[str, Any], flow: Sequence[str], record: Record, store: SessionStore
    ) -> None:
        self._data = data
        self._references = flow
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
        data, record = self._data, self._record
        wanted = [*data["system"], *data["tools"], data["specs"], *self._references]
        texts = self._store.texts({ref for ref in wanted if not ref.startswith("entry:")})

        def part(reference: str) -> Part:
            if reference.startswith("entry:"):
                entry = record.get(reference.removeprefix("entry:"))
                if entry is None:
                    raise StoreError(f"the entry {reference} of a stored context is missing")
                return entry_part(entry, "timeline")
            return Part.from_dict(json.loads(texts[reference]))

        self._system = [part(reference) for reference in data["system"]]
        self._tools = [part(reference) for reference in data["tools"]]
        self._flow = [part(reference) for reference in self._references]
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
