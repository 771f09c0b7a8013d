"""``Timeline``: the conversation, as a component."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from nbsession.content import Entry, ToolCall, ToolResult
from nbsession.context import Foldable, Fragment, Part, Withheld, entry_tokens, unboxed
from nbsession.errors import CompileError, RenderError, did_you_mean
from nbsession.hooks import takes, use_shown_entries, use_timeline
from nbsession.tree import Fiber, component

Strategy = Callable[..., Iterable[Entry]]
ROLES = ("user", "assistant", "tool")


class LeftOut(NamedTuple):
    """Entries that a timeline does not show, and why."""

    reason: str
    entries: Sequence[Entry]


class _Conversation(Foldable):
    """What a ``Timeline`` renders to: entries, and what is known of those left out.

    ``given`` are the entries that the author's own ``render`` got, ``None`` without one.
    """

    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        props = fiber.element.props
        left_out: list[LeftOut] = [*props["left_out"]]
        if props["given"] is not None:
            shown = _checked(fiber, inner, props["given"])
            left_out.append(LeftOut("rewritten", [e for e in props["given"] if e.id not in shown]))
        withheld = tuple([_note(fiber.path, item) for item in left_out if item.entries])
        folded = inner.folded(inner.body, withheld=withheld)
        folded.timelines = (fiber.path, *inner.timelines)
        return folded


_conversation = _Conversation("Conversation", props=("given", "left_out"))


@component
def Timeline(
    render: Callable[[Sequence[Entry]], Any] | None = None,
    *,
    limit: int | None = None,
    roles: Sequence[str] | None = None,
    filter: Callable[[Entry], bool] | None = None,
    max_tokens: int | None = None,
    strategy: str | Strategy = "sliding-window",
    headroom: int = 0,
) -> Any:
    """The conversation; what it does not render is not sent, and the record is never shortened.

    ``roles`` (``"user"``, ``"assistant"``) and ``filter`` choose entries, ``limit``
    keeps the last so many, ``max_tokens`` (less ``headroom``, both estimated
    tokens) the last that fit; the latest always stays. A tool call and its results
    go together, by the entry of the call. ``strategy`` is ``"sliding-window"`` (one
    contiguous tail) or a function of the entries and the budget in tokens (``None``
    without ``max_tokens``) that returns those to keep. ``render(entries)`` takes
    over the rendering; an entry in what it returns stands for itself. What is not
    shown is listed in ``context.withheld``, as ``"policy"``, ``"filtered"``,
    ``"compacted"`` or ``"rewritten"``.
    """
    record = use_timeline()
    shown = use_shown_entries()
    left_out = [] if shown is None else [LeftOut("policy", _without(record, shown))]
    choices = (limit, roles, filter, max_tokens)
    if strategy == "sliding-window" and all(choice is None for choice in choices):
        if render is None:
            plain = record.chunks if shown is None else shown
            return _conversation(*plain, given=None, left_out=left_out)
        kept: Sequence[Entry] = list(record if shown is None else shown)
    else:
        groups = _grouped(record if shown is None else shown)
        chosen = _chosen(groups, roles, filter)
        fitting = _fitting(_last_entries(chosen, limit), max_tokens, headroom, strategy)
        kept = _joined(fitting)
        left_out.append(LeftOut("filtered", _without(_joined(groups), _joined(chosen))))
        left_out.append(LeftOut("compacted", _without(_joined(chosen), kept)))
    if render is None:
        return _conversation(kept, given=None, left_out=left_out)
    return _conversation(render(kept), given=kept, left_out=left_out)


def _joined(groups: Iterable[tuple[Entry, ...]]) -> list[Entry]:
    return [entry for group in groups for entry in group]


def _without(entries: Iterable[Entry], kept: Sequence[Entry]) -> list[Entry]:
    ids = {entry.id for entry in kept}
    return [entry for entry in entries if entry.id not in ids]


def _note(path: str, item: LeftOut) -> Withheld:
    entries = item.entries
    count = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
    span = entries[0].id if len(entries) == 1 else f"{entries[0].id} to {entries[-1].id}"
    tokens = sum([entry_tokens(entry) for entry in entries])
    return Withheld(path, item.reason, f"{count}, {span}", tokens)


def _checked(fiber: Fiber, inner: Fragment, given: Sequence[Entry]) -> set[str]:
    """Return the ids of the entries that ``render`` let stand; one that stands twice, or torn from its call, is an error."""
    shown: set[str] = set()
    last = given[-1].id if given else ""
    open_calls: set[str] = set()
    for item in unboxed(inner.body):
        if not isinstance(item, Part) or item.kind != "message" or not item.key:
            continue
        if item.key in shown:
            raise CompileError(f"{fiber.path}: render returned the entry {item.key!r} twice", path=fiber.path)
        shown.add(item.key)
        answers = {block.call_id for block in item.blocks if isinstance(block, ToolResult)}
        calls = {block.id for block in item.blocks if isinstance(block, ToolCall)}
        if answers != open_calls:
            raise _torn(fiber)
        # The calls of the very last entry may still be running.
        open_calls = set() if item.key == last else calls
    if open_calls:
        raise _torn(fiber)
    return shown


def _torn(fiber: Fiber) -> CompileError:
    return CompileError(
        f"{fiber.path}: render tore a tool call from its results; keep both entries or neither",
        path=fiber.path,
    )


def _grouped(entries: Iterable[Entry]) -> list[tuple[Entry, ...]]:
    """Put each assistant entry together with the tool results that answer it."""
    groups: list[tuple[Entry, ...]] = []
    for entry in entries:
        if entry.role == "tool" and groups:
            groups[-1] = (*groups[-1], entry)
        else:
            groups.append((entry,))
    return groups


def _chosen(
    groups: list[tuple[Entry, ...]], roles: Sequence[str] | None, keep: Callable[[Entry], bool] | None
) -> list[tuple[Entry, ...]]:
    if isinstance(roles, str):
        raise RenderError(
            f"Timeline(roles=) takes a list of roles, got the string {roles!r}; write [{roles!r}]"
        )
    for role in roles or ():
        if role not in ROLES:
            raise RenderError(f"Timeline(roles=) got {role!r}{did_you_mean(str(role), ROLES)}")
    return [
        group
        for group in groups
        if (roles is None or group[0].role in roles) and (keep is None or keep(group[0]))
    ]


def _last_entries(groups: list[tuple[Entry, ...]], limit: int | None) -> list[tuple[Entry, ...]]:
    if limit is None:
        return groups
    if limit < 1:
        raise RenderError(f"Timeline(limit=) must be at least 1, got {limit}")
    return _tail(groups, limit, len)


def _fitting(
    groups: list[tuple[Entry, ...]], max_tokens: int | None, headroom: int, strategy: str | Strategy
) -> list[tuple[Entry, ...]]:
    budget = None if max_tokens is None else max_tokens - headroom
    if budget is not None and (budget < 1 or headroom < 0):
        raise RenderError(
            f"Timeline(max_tokens={max_tokens}, headroom={headroom}) leaves no room; make max_tokens the larger one"
        )
    if callable(strategy):
        return _by_strategy(groups, strategy, budget)
    if strategy != "sliding-window":
        raise RenderError(f"Timeline(strategy=) is 'sliding-window' or a function, got {strategy!r}")
    if budget is None:
        return groups
    return _tail(groups, budget, lambda group: sum(entry_tokens(entry) for entry in group))


def _tail(
    groups: list[tuple[Entry, ...]], budget: int, size: Callable[[tuple[Entry, ...]], int]
) -> list[tuple[Entry, ...]]:
    """Return the longest tail within a budget; the last group always stays."""
    start, spent = len(groups), 0
    while start > 0:
        spent += size(groups[start - 1])
        if spent > budget and start < len(groups):
            break
        start -= 1
    return groups[start:]


def _by_strategy(
    groups: list[tuple[Entry, ...]], strategy: Strategy, budget: int | None
) -> list[tuple[Entry, ...]]:
    kept = list(strategy(*takes(strategy, (_joined(groups), budget))))
    if any(not isinstance(entry, Entry) for entry in kept):
        raise RenderError("a Timeline strategy returns the entries to keep, of those that it was given")
    wanted = {entry.id for entry in kept}
    for group in groups:
        inside = [entry.id in wanted for entry in group]
        if any(inside) and not all(inside):
            raise CompileError(
                "a Timeline strategy kept a tool call without its result (or the result alone); keep both or neither"
            )
    return [group for group in groups if group[0].id in wanted]
