"""``Timeline``: the conversation, as a component."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nbsession.content import Entry
from nbsession.context import Withheld
from nbsession.errors import CompileError, RenderError
from nbsession.fragment import Foldable, Fragment
from nbsession.hooks import use_shown_entries, use_timeline
from nbsession.timeline import entry_tokens
from nbsession.tree import Fiber, component

Strategy = Callable[[Sequence[Entry], int], Iterable[Entry]]


class _Conversation(Foldable):
    """What a ``Timeline`` renders to: entries, and a note of those left out."""

    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        left_out: tuple[Withheld, ...] = fiber.element.props.get("withheld", ())
        folded = inner.folded(inner.body, withheld=left_out)
        folded.timelines = (fiber.path, *inner.timelines)
        return folded


_conversation = _Conversation("Conversation", props=("withheld",))


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
    tokens) the last that fit. A tool call and its result always go together.
    ``strategy`` is ``"sliding-window"`` (one contiguous tail) or a function of
    the entries and the budget in tokens that returns those to keep. What is left
    out is listed in ``context.withheld``. ``render(entries)`` takes over the
    rendering; an entry in what it returns stands for itself.
    """
    record = use_timeline()
    shown = use_shown_entries()
    entries: Sequence[Entry] = record if shown is None else shown
    if limit is None and roles is None and filter is None and max_tokens is None:
        if render is not None:
            return _conversation(render(list(entries)))
        return _conversation(list(record.chunks if shown is None else shown))
    groups = _grouped(entries)
    kept = _chosen(groups, roles, filter)
    chosen = len(kept)
    kept = _last_entries(kept, limit)
    kept = _fitting(kept, max_tokens, headroom, strategy)
    chosen_entries = [entry for group in kept for entry in group]
    withheld = _left_out(groups, kept, "filtered" if len(kept) == chosen else "compacted")
    return _conversation(chosen_entries if render is None else render(chosen_entries), withheld=withheld)


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
    if max_tokens is None:
        return groups
    budget = max_tokens - headroom
    if callable(strategy):
        return _by_strategy(groups, strategy, budget)
    if strategy != "sliding-window":
        raise RenderError(f"Timeline(strategy=) is 'sliding-window' or a function, got {strategy!r}")
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


def _by_strategy(groups: list[tuple[Entry, ...]], strategy: Strategy, budget: int) -> list[tuple[Entry, ...]]:
    wanted = {entry.id for entry in strategy([entry for group in groups for entry in group], budget)}
    for group in groups:
        inside = [entry.id in wanted for entry in group]
        if any(inside) and not all(inside):
            raise CompileError(
                "a Timeline strategy kept a tool call without its result (or the result alone); keep both or neither"
            )
    return [group for group in groups if group[0].id in wanted]


def _left_out(
    groups: list[tuple[Entry, ...]], kept: list[tuple[Entry, ...]], reason: str
) -> tuple[Withheld, ...]:
    ids = {group[0].id for group in kept}
    out = [entry for group in groups if group[0].id not in ids for entry in group]
    if not out:
        return ()
    tokens = sum([entry_tokens(entry) for entry in out])
    return (Withheld("timeline", reason, f"{len(out)} entries, {out[0].id} to {out[-1].id}", tokens),)
