"""Ticks as a store keeps them: one row as a tick begins, and one as it ends.

A row holds what differs from the tick before (as it begins) or from the usual (as
it ends). Contexts are kept as references: an entry is kept once, as its own row,
any other part once, in the texts, by its digest; but a short one as it is, for its
reference would not be shorter.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

from nbsession.context import Chunk, Part, entry_part
from nbsession.errors import ModelError
from nbsession.record.stored_ticks import ENTRY, StoredContext, joined
from nbsession.record.texts import put

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nbsession.content import Entry
    from nbsession.context import CompiledContext, FlowItem
    from nbsession.timeline import Tick

MOST_CAUSES = 50
"""Causes of one tick that are kept."""

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
    if causes := [list(cause) for cause in tick.causes if cause.kind not in ("timeline", "usage")]:
        own["causes"] = causes[:MOST_CAUSES]
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
        "cache_diagnosis": None if tick.cache_diagnosis is None else tick.cache_diagnosis.to_dict(),
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
    data["decisions"] = {run.id: list(run.decision) for run in tick.tool_calls if run.decision is not None}
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
    kept, parts, before = _unshared(context, older)
    # Trailing parts that stay where they were sent have one identity; taken in order, they are told apart.
    places: dict[Any, deque[int]] = {}
    for place, part in enumerate(before):
        places.setdefault(part.identity, deque()).append(place)
    flow: list[Any] = [[0, kept]] if kept else []
    for part in parts:
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


def _unshared(
    context: CompiledContext, older: CompiledContext | None
) -> tuple[int, Sequence[Part], Sequence[Part]]:
    """Count the leading parts that two flows have in common, and return what follows them in each."""
    theirs = older._flow if older is not None else ()
    items = _same_objects(context._flow, theirs)
    count = sum(len(item.entries) if isinstance(item, Chunk) else 1 for item in context._flow[:items])
    # A chunk that grew begins with the parts of the one before.
    parts, before = list(_parts_of(context._flow[items:])), list(_parts_of(theirs[items:]))
    same = _same_objects(parts, before)
    return count + same, parts[same:], before[same:]


def _same_objects(mine: Sequence[object], theirs: Sequence[object]) -> int:
    """Count the leading objects that are the same."""
    count = 0
    for one, other in zip(mine, theirs, strict=False):
        if one is not other:
            break
        count += 1
    return count


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
    if part.blocks and part.text == joined(part.blocks):
        del data["text"]
    text = json.dumps(data, ensure_ascii=False, sort_keys=True)
    return data if len(text) <= SHORT else put(text, texts)


def _shows(part: Part, entry: Entry) -> bool:
    made = entry_part(entry, part.path)
    return made.role == part.role and (made.blocks is part.blocks or made.blocks == part.blocks)
