"""How two compiled contexts differ, part by part, and how much of the front they share."""

from __future__ import annotations

import bisect
import difflib
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from nbsession.context.chunk import FlowItem, flatten
from nbsession.context.part import place_of
from nbsession.context.trade import Trade, trade_of
from nbsession.context.withheld import BUDGET, Withheld

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nbsession.context.part import Part


class Change(NamedTuple):
    """A part that stands in both contexts with another content."""

    old: Part
    new: Part


class ContextDiff:
    """What changed from one context to another; falsy when nothing did.

    ``added`` and ``removed`` are parts, ``changed`` pairs of parts (``old``,
    ``new``), ``moved`` parts that only stand elsewhere. ``tokens`` is the signed
    change of the estimate. ``prefix_tokens_kept`` estimates how many tokens at
    the front of the request (tools, system, messages) are the same, and so may
    still be read from the provider's cache; ``prefix_broken_by`` is the part that
    ends them (new, changed, moved, or one that is gone), ``None`` where all of the
    older request stands at the front of the newer. ``settings`` are the changed
    model settings as ``name: (old, new)``. ``left`` is what a ``Fit`` has no room for any more, ``returned``
    what it has room for again (of a timeline, of which more went or came, the difference in ``tokens``);
    ``trade`` weighs that against the prefix that is broken, ``None`` where there is neither.
    """

    __slots__ = (
        "added",
        "changed",
        "left",
        "moved",
        "prefix_broken_by",
        "prefix_tokens_kept",
        "removed",
        "returned",
        "settings",
        "tokens",
        "trade",
    )

    def __init__(
        self,
        *,
        added: Sequence[Part] = (),
        removed: Sequence[Part] = (),
        changed: Sequence[Change] = (),
        moved: Sequence[Part] = (),
        settings: Mapping[str, tuple[Any, Any]] | None = None,
        tokens: int = 0,
        prefix_tokens_kept: int = 0,
        prefix_broken_by: Part | None = None,
        left: Sequence[Withheld] = (),
        returned: Sequence[Withheld] = (),
        trade: Trade | None = None,
    ) -> None:
        self.added = tuple(added)
        self.removed = tuple(removed)
        self.changed = tuple(changed)
        self.moved = tuple(moved)
        self.settings = dict(settings or {})
        self.tokens = tokens
        self.prefix_tokens_kept = prefix_tokens_kept
        self.prefix_broken_by = prefix_broken_by
        self.left = tuple(left)
        self.returned = tuple(returned)
        self.trade = trade

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.moved or self.settings)

    def __repr__(self) -> str:
        return (
            f"<ContextDiff +{len(self.added)} −{len(self.removed)} ~{len(self.changed)} "
            f"moved {len(self.moved)}, {self.tokens:+d} tokens>"
        )

    def is_left(self, part: Part) -> bool:
        """Say whether a removed part is one that there is no room for any more."""
        return any(item.path in (place_of(part), part.path) for item in self.left)

    def __str__(self) -> str:
        lines: list[str] = []
        for part in self.removed:
            why = ", left for want of room" if self.is_left(part) else ""
            lines.append(f"− {_label(part)} (≈{part.tokens} tokens){why}")
            lines.extend(f"-{line}" for line in part.text.splitlines())
        for part in self.added:
            lines.append(f"+ {_label(part)} (≈{part.tokens} tokens)")
            lines.extend(f"+{line}" for line in part.text.splitlines())
        for old, new in self.changed:
            lines.append(f"~ {_label(new)} ({new.tokens - old.tokens:+d} tokens)")
            changes = difflib.unified_diff(old.text.splitlines(), new.text.splitlines(), n=1, lineterm="")
            lines.extend(line for n, line in enumerate(changes) if n > 1 and not line.startswith("@@"))
        lines.extend(f"↕ {_label(part)} moved" for part in self.moved)
        lines.extend(f"~ {name}: {old!r} → {new!r}" for name, (old, new) in self.settings.items())
        if lines:
            end = f", up to {_label(self.prefix_broken_by)}" if self.prefix_broken_by is not None else ""
            lines.append(
                f"≈{self.tokens:+d} tokens; ≈{self.prefix_tokens_kept} tokens of the prefix are kept{end}"
            )
            if self.trade is not None:
                lines.append(str(self.trade))
        return "\n".join(lines)


class Comparable(Protocol):
    """A compiled context, as the comparison sees it."""

    _system: Sequence[Part]
    _flow: Sequence[FlowItem]
    _tools: Sequence[Part]
    settings: Mapping[str, Any]
    tokens: int
    model: str

    @property
    def withheld(self) -> tuple[Withheld, ...]:
        """What was rendered and is not sent."""

    @property
    def hash(self) -> str:
        """What says that the same is sent."""


def diff_contexts(older: Comparable, newer: Comparable) -> ContextDiff:
    """Compare two contexts; see ``CompiledContext.diff``.

    What the two share as the same object is skipped without being looked at.
    """
    if older is newer:
        return ContextDiff(prefix_tokens_kept=newer.tokens)
    before, after = _numbered(_unshared(older, newer)), _numbered(_unshared(newer, older))
    common = [identity for identity in after if identity in before]
    crossed = set(itertools.islice(before, len(older._system))) ^ set(
        itertools.islice(after, len(newer._system))
    )
    moved = crossed.union(_moved([identity for identity in before if identity in after], common))
    kept, broken_by = _prefix_kept(older, newer)
    added, removed = _one_sided(before, after)
    left, returned = _gone_for_room(older, newer), _gone_for_room(newer, older)
    broken = older.tokens - kept if broken_by is not None else 0
    diff = ContextDiff(
        added=added,
        removed=removed,
        changed=[
            Change(before[identity], after[identity])
            for identity in common
            if not _same(before[identity], after[identity])
        ],
        moved=[after[identity] for identity in common if identity in moved],
        settings={
            name: (older.settings.get(name), newer.settings.get(name))
            for name in {**older.settings, **newer.settings}
            if older.settings.get(name) != newer.settings.get(name)
        },
        tokens=newer.tokens - older.tokens,
        prefix_tokens_kept=kept,
        prefix_broken_by=broken_by,
        left=left,
        returned=returned,
        trade=trade_of(left, returned, broken, newer.model),
    )
    if diff and not diff.tokens and not diff.settings and older.hash == newer.hash:
        # The same is sent from other places.
        return ContextDiff(prefix_tokens_kept=newer.tokens)
    return diff


def _gone_for_room(older: Comparable, newer: Comparable) -> list[Withheld]:
    """Return what a budget leaves out of the newer context and did not leave out of the older one."""
    known = {(item.path, item.priority): item.tokens for item in older.withheld if item.reason == BUDGET}
    return [
        item._replace(tokens=more)
        for item in newer.withheld
        if item.reason == BUDGET and (more := item.tokens - known.get((item.path, item.priority), 0)) > 0
    ]


Identity: TypeAlias = tuple[str, str, str, int]
"""A part's identity, and how many of that identity stand before it."""


def _numbered(parts: Iterable[Part]) -> dict[Identity, Part]:
    """Key parts by identity; trailing context that was sent again stands more than once."""
    numbered: dict[Identity, Part] = {}
    for part in parts:
        identity = (*part.identity, 0)
        while identity in numbered:
            identity = (*part.identity, identity[3] + 1)
        numbered[identity] = part
    return numbered


def _unshared(context: Comparable, other: Comparable) -> Iterator[Part]:
    """Give the parts, without the leading flow items that both contexts share."""
    yield from context._system
    yield from context._tools
    yield from flatten(context._flow[_shared_items(context._flow, other._flow) :])


def _shared_items(flow: Sequence[FlowItem], other: Sequence[FlowItem]) -> int:
    shared = 0
    for mine, theirs in zip(flow, other, strict=False):
        if mine is not theirs:
            break
        shared += 1
    return shared


def _one_sided(before: dict[Identity, Part], after: dict[Identity, Part]) -> tuple[list[Part], list[Part]]:
    """Return what only the newer context has, and what only the older one has.

    A message that was said again is neither: another entry of the same words in the same
    place, counted from the front or from the end, as where a question is asked anew.
    """
    added = {place: part for place, (name, part) in enumerate(after.items()) if name not in before}
    removed = {place: part for place, (name, part) in enumerate(before.items()) if name not in after}
    for place, old in list(removed.items()):
        for there in (place, place + len(after) - len(before)):
            new = added.get(there)
            if new is not None and old.kind == "message" and old.path == new.path and _same(old, new):
                del added[there], removed[place]
                break
    return list(added.values()), list(removed.values())


def _same(old: Part, new: Part) -> bool:
    return old is new or (
        old.text == new.text and old.role == new.role and old.kind == new.kind and old.digest == new.digest
    )


def _moved(old_order: list[Identity], common: list[Identity]) -> list[Identity]:
    """Return what stands outside the longest run that kept its order."""
    rank = {identity: n for n, identity in enumerate(old_order)}
    ranks = [rank[identity] for identity in common]
    if all(a < b for a, b in itertools.pairwise(ranks)):
        return []
    kept = _longest_increasing(ranks)
    return [identity for n, identity in enumerate(common) if n not in kept]


def _longest_increasing(values: list[int]) -> set[int]:
    """Return the positions of a longest increasing subsequence (patience sorting)."""
    tails: list[int] = []
    tail_positions: list[int] = []
    previous: list[int] = []
    for position, value in enumerate(values):
        slot = bisect.bisect_left(tails, value)
        previous.append(tail_positions[slot - 1] if slot else -1)
        if slot == len(tails):
            tails.append(value)
            tail_positions.append(position)
        else:
            tails[slot] = value
            tail_positions[slot] = position
    kept: set[int] = set()
    position = tail_positions[-1] if tail_positions else -1
    while position >= 0:
        kept.add(position)
        position = previous[position]
    return kept


def _prefix_kept(older: Comparable, newer: Comparable) -> tuple[int, Part | None]:
    """Estimate the tokens of the common front of two requests, and say which part ends it.

    The order is that of a request: tools, system, messages.
    """
    kept = 0
    for mine, theirs in ((newer._tools, older._tools), (newer._system, older._system)):
        for new, old in itertools.zip_longest(mine, theirs):
            if new is None or old is None or not (new is old or new.digest == old.digest):
                return kept, new if new is not None else old
            kept += new.tokens
    shared = _shared_items(newer._flow, older._flow)
    kept += sum(item.tokens for item in newer._flow[:shared])
    rest = itertools.zip_longest(flatten(newer._flow[shared:]), flatten(older._flow[shared:]))
    for new, old in rest:
        if old is None:
            break
        if new is None or not (new is old or new.digest == old.digest):
            return kept, new if new is not None else old
        kept += new.tokens
    return kept, None


def _label(part: Part) -> str:
    name = part.title or part.role or part.kind
    return f"{name} · {part.path}"
