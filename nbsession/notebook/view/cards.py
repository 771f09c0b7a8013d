"""What a reader sees of a compiled context: groups of rows, with the difference marked.

Rows say what stands where, at what estimated cost, and how it differs from an
older context. A text that this notebook already shows is not written again:
the row says where it stands, and runs of earlier messages become one row.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbsession.content import Image
from nbsession.context import BUDGET
from nbsession.notebook.view.difference import Line, compare
from nbsession.notebook.view.sources import NO_SOURCES
from nbsession.notebook.view.strip import Strip, strip_of
from nbsession.notebook.view.tree import MARKS, Branch, authored, changes_in, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nbsession.content import Block
    from nbsession.context import CompiledContext, ContextDiff, Part, Withheld
    from nbsession.notebook.view.ledger import Ledger
    from nbsession.notebook.view.sources import Sources

SHORT = 90
"""Characters of a single line up to which a text stands in its row, with nothing to unfold."""

SNIPPET = 60
"""Characters of a longer text that stand in its row while it is folded."""

EMBEDDED = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
MOST_IMAGE_BYTES = 300_000

VERBS = {"added": "entered", "removed": "left", "changed": "changed", "moved": "moved"}
WORDS = {"system": "System", "section": "Sections", "text": "Text", "tool": "Tools", "message": "Messages"}
AFTER = "After the conversation"
NO_ROOM = "left for want of room"
OF_TIMELINES = ("policy", "filtered", "compacted", "rewritten")


@dataclass(frozen=True, slots=True)
class Row:
    """One part. ``text`` is ``None`` where it isn't written: ``note`` then says why.

    ``change`` is ``"added"``, ``"removed"``, ``"changed"``, ``"moved"`` or ``""``;
    ``lines`` is the difference of a changed part, ``images`` are data URIs; ``why`` says what made it another;
    ``edited`` that its text was put there by an edit; ``source`` where its component is written.
    """

    key: str
    title: str
    path: str
    tokens: int
    change: str = ""
    text: str | None = None
    note: str = ""
    lines: tuple[Line, ...] = ()
    images: tuple[str, ...] = ()
    delta: int = 0
    snippet: str = ""
    why: str = ""
    edited: bool = False
    source: str = ""

    @property
    def mark(self) -> str:
        """The change as one character, for those who see no colours."""
        return MARKS[self.change]

    @property
    def inline(self) -> bool:
        """Whether the text is short enough to stand in the row."""
        text = self.text or ""
        return not self.lines and not self.images and _fits_a_row(text)


def _fits_a_row(text: str) -> bool:
    return len(text) <= SHORT and "\n" not in text


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one kind that stand together, with the estimated tokens of all of them."""

    title: str
    tokens: int
    rows: tuple[Row, ...]

    @property
    def elsewhere(self) -> str:
        """What to say of a single row that is shown elsewhere, which needs no line of its own; else ``""``."""
        only = self.rows[0] if len(self.rows) == 1 else None
        if only is None or only.text is not None or only.change or only.edited:
            return ""
        return f"{only.title}, {only.note}"


NO_TREE = Branch("", "", "", 0)


@dataclass(frozen=True, slots=True)
class Card:
    """A compiled context as it is shown.

    ``kept`` tokens at the front are as they were before; ``broken_by`` names the
    part that ends them; ``trade`` says what a budget left out, against that; ``inserted``
    which expressions the new messages were made with. ``tree`` is the same by components, ``brief``
    says that the one before is shown, so that what stayed is only named.
    """

    key: str
    tokens: int
    groups: tuple[Group, ...]
    summary: str = ""
    kept: int = 0
    broken_by: str = ""
    trade: str = ""
    settings: tuple[str, ...] = ()
    withheld: tuple[Row, ...] = ()
    pending: tuple[str, ...] = ()
    strip: Strip = field(default_factory=lambda: Strip(()))
    inserted: tuple[str, ...] = ()
    tree: Branch = NO_TREE
    brief: bool = False


def card(
    context: CompiledContext,
    older: CompiledContext | None = None,
    *,
    key: str = "c",
    ledger: Ledger | None = None,
    tick: int = 0,
    cell: str = "",
    why: Callable[[Part], str] | None = None,
    recent: int | None = None,
    sources: Sources = NO_SOURCES,
) -> Card:
    """Lay out ``context``, with what changed since ``older``, ``why``, and where its ``sources`` are.

    With a ``ledger``, texts that it knows are left out, and those written here
    are noted in it under ``tick`` and ``cell``. With ``recent``, messages before the last
    so many become one row where they stand as they stood, and there is no tree: for who passes many by.
    """
    rows = _Rows(context, older, key, ledger, tick, cell, why, recent, sources)
    return Card(
        key=key,
        tokens=context.tokens,
        groups=tuple(rows.groups()),
        summary=summary(rows.diff) if rows.diff is not None else "",
        kept=rows.diff.prefix_tokens_kept if rows.diff is not None else 0,
        broken_by=broken_by(rows.diff) if rows.diff is not None else "",
        trade=str(rows.diff.trade or "") if rows.diff is not None else "",
        settings=tuple(_settings(context, rows.diff)),
        withheld=tuple(_withheld(f"{key}.w{n}", item) for n, item in enumerate(context.withheld)),
        pending=context.pending,
        strip=strip_of(context, rows.diff),
        inserted=tuple(_inserted(part) for part in context.flow if part.inserted and rows.is_new(part)),
        tree=tree_of(context, rows.diff, key, sources) if recent is None else NO_TREE,
        brief=rows.diff is not None and ledger is not None,
    )


def summary(diff: ContextDiff) -> str:
    """Say in a few words what changed: ``"+1 added · ~1 changed"``."""
    if not diff:
        return "nothing changed"
    counts = (
        ("added", diff.added),
        ("changed", diff.changed),
        ("removed", diff.removed),
        ("moved", diff.moved),
    )
    words = [f"{MARKS[word]}{len(parts)} {word}" for word, parts in counts if parts]
    if diff.settings:
        words.append(f"~{len(diff.settings)} setting{'s' if len(diff.settings) > 1 else ''}")
    return " · ".join(words)


def broken_by(diff: ContextDiff) -> str:
    """Name the part that ends the prefix that two contexts share, ``""`` where none does."""
    end = diff.prefix_broken_by
    return f"{end.title or end.role or end.kind} · {authored(end.path)}" if end is not None else ""


def row(part: Part, *, key: str = "p") -> Row:
    """Lay out one part by itself."""
    return Row(
        key=key,
        title=_title(part),
        path=_path(part),
        tokens=part.tokens,
        text=part.readable,
        note=_inserted(part),
        images=embedded(part.blocks),
        snippet=_snippet(part),
        edited=part.edited,
    )


def _inserted(part: Part) -> str:
    return f"made with {_beginning(part.inserted)}" if part.inserted else ""


def changes(diff: ContextDiff, *, key: str = "d") -> tuple[Row, ...]:
    """Lay out only what differs: changed parts with their lines, then what was added, removed and moved."""
    rows = [_changed(f"{key}.{n}", old, new) for n, (old, new) in enumerate(diff.changed)]
    for change, parts in (("added", diff.added), ("removed", diff.removed), ("moved", diff.moved)):
        for n, part in enumerate(parts):
            made = replace(row(part, key=f"{key}.{change}{n}"), change=change)
            if change == "removed" and diff.is_left(part):
                made = replace(made, note=NO_ROOM)
            rows.append(replace(made, text=None, images=()) if change == "moved" else made)
    return tuple(rows)


def _withheld(key: str, item: Withheld) -> Row:
    # Entries are counted; their ids, which follow, tell a reader nothing.
    of_timeline = item.reason in OF_TIMELINES or (item.reason == BUDGET and item.path == "timeline")
    text = item.text.partition(",")[0] if of_timeline else item.text
    along = item._replace(behind=authored(item.behind)).along
    note = item.reason if item.priority is None else f"{item.reason}, priority {item.priority:g}{along}"
    return Row(key, authored(item.path), "", item.tokens, text=text, note=note, snippet=_beginning(text))


def _changed(key: str, old: Part, new: Part) -> Row:
    lines = compare(old.readable, new.readable)
    return replace(row(new, key=key), change="changed", lines=lines, delta=new.tokens - old.tokens)


class _Rows:
    """Makes the rows of one context."""

    def __init__(
        self,
        context: CompiledContext,
        older: CompiledContext | None,
        key: str,
        ledger: Ledger | None,
        tick: int,
        cell: str,
        why: Callable[[Part], str] | None,
        recent: int | None,
        sources: Sources,
    ) -> None:
        self.context = context
        self.diff = context.diff(older) if older is not None else None
        self.key = key
        self.ledger = ledger
        self.tick = tick
        self.cell = cell
        self.why = why
        self.recent = recent
        self.sources = sources
        self.count = 0
        diff = self.diff
        self.changes = changes_in(diff)
        self.changed = {change.new.identity: change.old for change in diff.changed} if diff else {}

    def groups(self) -> Iterator[Group]:
        flow = list(self.context.flow)
        last = max((n for n, part in enumerate(flow) if part.kind == "message"), default=-1)
        removed = list(self.diff.removed) if self.diff else []
        runs = [
            *_runs((WORDS[part.kind], part) for part in self.context.system),
            *_runs(("Tools", part) for part in self.context.parts if part.kind == "tool"),
            *_runs(("Messages" if n <= last else AFTER, part) for n, part in enumerate(flow)),
        ]
        for title, parts in runs:
            gone = [part for part in removed if _home(part) == title]
            removed = [part for part in removed if part not in gone]
            yield self.group(title, parts, gone)
        for title, parts in _runs((_home(part), part) for part in removed):
            yield self.group(title, [], parts)

    def group(self, title: str, parts: list[Part], gone: list[Part]) -> Group:
        rows: list[Row] = []
        known: list[tuple[Part, int | None]] = []
        early = 0 if self.recent is None else len(parts) - self.recent
        for at, part in enumerate(parts):
            seen = self.seen(part)
            if (self.is_steady(part) and seen is not None) or (at < early and self.is_bygone(part)):
                if known and self.change(known[-1][0]) != self.change(part):
                    rows.extend(self.folded(known))
                    known = []
                known.append((part, seen))
                continue
            rows.extend(self.folded(known))
            known = []
            rows.append(self.row(part, seen))
        rows.extend(self.folded(known))
        rows.extend(self.gone(gone))
        if title == "Messages":
            # They mostly come from one timeline: its path once says it for those that follow.
            above = [None, *(row.path for row in rows)]
            rows = [
                replace(row, path="") if row.path == path else row
                for row, path in zip(rows, above, strict=False)
            ]
        return Group(title, sum(part.tokens for part in parts), tuple(rows))

    def is_new(self, part: Part) -> bool:
        """Whether a part did not stand in the context before."""
        return self.diff is None or self.change(part) == "added"

    def is_steady(self, part: Part) -> bool:
        """Whether a part is a message that stands as it stood."""
        return part.kind == "message" and not self.change(part)

    def is_bygone(self, part: Part) -> bool:
        """Whether a part is a message that, as one of many, nobody need see."""
        return part.kind == "message" and self.change(part) in ("", "added")

    def change(self, part: Part) -> str:
        """Say how a part of this context differs from the one before."""
        return self.changes.get(part.identity, "")

    def seen(self, part: Part) -> int | None:
        """Return the tick that shows a part, if its text need not be written again."""
        if self.ledger is None or part.identity in self.changed:
            return None
        if _fits_a_row(part.text) and not self.is_steady(part):
            return None
        return self.ledger.tick_of(part.text)

    def row(self, part: Part, seen: int | None) -> Row:
        if self.ledger is not None and seen is None:
            self.ledger.note(part.text, self.tick, self.cell)
        old = self.changed.get(part.identity)
        if old is not None:
            made = replace(_changed(self.next_key(), old, part), source=self.sources.around(part.path))
            return self.explained(made, part)
        source = self.sources.around(part.path)
        made = self.explained(
            replace(row(part, key=self.next_key()), change=self.change(part), source=source), part
        )
        if seen is None:
            return made
        return replace(made, text=None, images=(), note=f"shown at tick {seen}")

    def gone(self, parts: list[Part]) -> Iterator[Row]:
        """Make the rows of parts that are not there any more."""
        early = 0 if self.recent is None else len(parts) - self.recent
        bygone = [part for part in parts[: max(early, 0)] if part.kind == "message"]
        if len(bygone) > 1:
            yield replace(self.together(bygone), change="removed")
        for at, part in enumerate(parts):
            if at >= early or part.kind != "message" or len(bygone) == 1:
                yield self.removed(part)

    def removed(self, part: Part) -> Row:
        left = self.diff is not None and self.diff.is_left(part)
        made = replace(row(part, key=self.next_key()), change="removed", note=NO_ROOM if left else "")
        return made if left else self.explained(made, part)

    def explained(self, row: Row, part: Part) -> Row:
        """Say why a part is another; that messages come and go is what a timeline is for."""
        if not row.change or part.kind == "message" or self.why is None:
            return row
        why = self.why(part)
        return replace(row, why=f"{VERBS[row.change]}: {why}") if why else row

    def folded(self, known: list[tuple[Part, int | None]]) -> Iterator[Row]:
        """Make one row of a run of messages that are shown elsewhere, or that nobody asked to see."""
        if len(known) == 1:
            part, seen = known[0]
            yield self.row(part, seen if len(part.text) > SHORT else None)
        elif known:
            ticks = [tick for _, tick in known if tick is not None]
            note = f"unchanged since tick {max(ticks)}" if ticks else ""
            made = self.together([part for part, _ in known])
            yield replace(made, change=self.change(known[0][0]), note=note)

    def together(self, parts: list[Part]) -> Row:
        """Make one row of several messages."""
        tokens = sum(part.tokens for part in parts)
        return Row(self.next_key(), f"{len(parts):,} earlier messages", "", tokens)

    def next_key(self) -> str:
        self.count += 1
        return f"{self.key}.{self.count}"


def _runs(pairs: Iterable[tuple[str, Part]]) -> Iterator[tuple[str, list[Part]]]:
    """Gather neighbours of one title; the order of the context stays."""
    title, parts = "", list[Any]()
    for name, part in pairs:
        if parts and name != title:
            yield title, parts
            parts = []
        title = name
        parts.append(part)
    if parts:
        yield title, parts


def _home(part: Part) -> str:
    return WORDS[part.kind]


def _title(part: Part) -> str:
    if part.kind == "tool":
        return part.title
    return (
        part.title
        or part.role
        or {"section": part.key or "section", "system": "system", "text": "text"}[part.kind]
    )


def _path(part: Part) -> str:
    # An entry's id tells a reader nothing that its place does not.
    named = part.kind != "section" or not part.key or part.path.endswith(f"[{part.key}]")
    return authored(part.path) if named else f"{part.path}[{part.key}]"


def _snippet(part: Part) -> str:
    return _beginning(part.body or part.text)


def _beginning(text: str) -> str:
    first = text.lstrip().split("\n", 1)[0]
    return first if len(first) <= SNIPPET else first[: SNIPPET - 1] + "…"


def embedded(blocks: Iterable[Block]) -> tuple[str, ...]:
    """Return the pictures among content blocks as data URIs: of kinds that hold no script, and not too big."""
    return tuple(
        f"data:{block.media_type};base64,{base64.b64encode(block.data).decode('ascii')}"
        for block in blocks
        if isinstance(block, Image)
        and block.media_type in EMBEDDED
        and 0 < len(block.data) <= MOST_IMAGE_BYTES
    )


def _settings(context: CompiledContext, diff: ContextDiff | None) -> Iterator[str]:
    changed = diff.settings if diff else {}
    for name, value in context.settings.items():
        if name in changed:
            yield f"~ {name}: {changed[name][0]!r} → {value!r}"
        else:
            yield f"{name}: {value!r}"
    for name, (old, _) in changed.items():
        if name not in context.settings:
            yield f"− {name}: {old!r}"
