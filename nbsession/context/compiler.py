"""Tree → compiled context. Pure: it reads fibers and writes only their cached fragments."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from nbsession.context.adaptation import adapted, sizing
from nbsession.context.box import unboxed
from nbsession.context.chunk import Chunk, FlowItem
from nbsession.context.compiled import CompiledContext
from nbsession.context.edits import NO_EDITS, Edits
from nbsession.context.fit import UNKNOWN, Fitted, Room, fit
from nbsession.context.fragment import Fragment, ModelChoice, Name, ToolUse, fragment_of, messages_in
from nbsession.context.part import Part
from nbsession.context.sent import Sent, last_anchor, put_back
from nbsession.context.target import Target
from nbsession.context.thinking import replayable
from nbsession.context.withheld import Withheld
from nbsession.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from nbsession.tools import Tool
    from nbsession.tree import Fiber


M = TypeVar("M", bound=Target)


class Compiled(NamedTuple, Generic[M]):
    """A compiled context and what the loop needs beside it.

    ``toolbox`` maps every name and alias to its tool, user-only tools included;
    ``model`` is the one it was compiled for, ``None`` for no one; ``sent`` are the trailing parts that
    the next compile of this execution has to leave where they stand; ``fitted`` is what budgets
    made of the tree, ``None`` where it has none.
    """

    context: CompiledContext
    toolbox: Mapping[str, Tool]
    model: M | None
    sent: tuple[Sent, ...]
    fitted: Fitted | None = None


def compile(  # noqa: A001  # the field's word for it
    root: Fiber,
    *,
    tools: Iterable[ToolUse] = (),
    sent: Sequence[Sent] = (),
    needs_timeline: bool = False,
    pending: tuple[str, ...] = (),
    settings: Mapping[str, Any] | None = None,
    choose: Callable[[Any], M] | None = None,
    fresh: Container[str] = (),
    room: Room = UNKNOWN,
    edits: Edits = NO_EDITS,
    left_out: tuple[Withheld, ...] = (),
    after: Fragment | None = None,
) -> Compiled[M]:
    """Compile a rendered tree.

    ``tools`` are those given outside the tree, nearest first; a tool of the tree
    hides one of its name. ``sent`` are trailing parts of earlier ticks of the
    execution: they stay where they stood, and only what differs is sent again
    at the end. ``settings`` are added to the tree's model settings. ``choose`` returns
    the model, given the tree's choice or ``None``: what it does not take is left out
    or put into words, but for what is in the entries ``fresh``; without it, the
    context is for no model in particular. ``room`` is what a ``Fit`` has to
    know; ``edits`` stand in place of parts; ``left_out`` are components that the tree was told to leave out; ``after`` stands
    after all of the tree, as if it were its last. Raises
    ``CompileError`` for a tool name or section id used twice, an entry shown twice, more
    than fits into a ``Fit``, and, with ``needs_timeline``, a tree without a ``Timeline``.
    """
    fragment = fragment_of(root)
    if after is not None:
        fragment = fragment.followed_by(after)
    if needs_timeline and not fragment.timelines:
        raise _no_timeline(root, left_out)
    given = tuple(tools)
    uses = _tools(_told_apart(fragment.tools, given), given)
    if len(fragment.names) > 1:
        _check_names(fragment.names)
    if len(fragment.timelines) > 1:
        _check_entries(fragment)
    shown = [use for use in uses if use.tool.audience != "user"]
    parts = [use.part for use in shown]
    choice = _model(fragment.models)
    model = None if choose is None else choose(choice.model)
    if edits:
        fragment = fragment.holding(edits.body(fragment.body))
        sent = [Sent(item.after, edits.part(item.part)) for item in sent]
    made = None
    if fragment.ranks is not None:
        size = sizing(model, fresh)
        made = fit(fragment.body, size, model=model, room=room, tools=parts, sent=sent)
    system, flow, sent_now = _arrange(fragment, made, sent if made is None else made.sent)
    said = edits.lapsed((*system, *flow)) if edits else ()
    if model is not None:
        flow, unfit = adapted(flow, model, fresh)
        said += unfit
    asked = {**choice.settings, **settings} if settings else choice.settings
    flow, unsigned = replayable(system, parts, flow, asked, None if model is None else model.name)
    notes = (*left_out, *_hidden(uses), *said, *unsigned)
    changed = bool(made is not None or sent or said or unsigned or edits)
    context = CompiledContext(
        system,
        flow,
        parts,
        specs=[use.spec for use in shown],
        settings=asked,
        withheld=(*fragment.withheld, *notes) if notes else fragment.withheld,
        left_out=None if made is None else made.withheld,
        tokens=_tokens(fragment, parts, (*system, *flow) if changed else None),
        pending=pending,
        model="" if model is None else model.name,
    )
    return Compiled(context, _toolbox(uses), model, sent_now, made)


def _no_timeline(root: Fiber, left_out: Sequence[Withheld]) -> CompileError:
    if left_out:
        names = ", ".join(item.path for item in left_out)
        return CompileError(
            f"without {names} the tree renders no Timeline(), so the model would not see the conversation; "
            "leave out something that does not hold it",
            path=left_out[0].path,
        )
    place = root.path or "the root component"
    rendered = fragment_of(root)
    remedy = f"add Timeline() to {place}"
    if not (rendered.body or rendered.tools):
        remedy = f"{place} renders nothing at all, so look for a missing return, and {remedy}"
    return CompileError(
        f"a message was sent, but the tree renders no Timeline(), so the model would not see it; {remedy}",
        path=root.path,
    )


def _hidden(uses: Iterable[ToolUse]) -> list[Withheld]:
    """Name the tools that are for the user only."""
    return [
        Withheld(f"{use.path}/{use.tool.name}", "user audience", use.tool.name)
        for use in uses
        if use.tool.audience == "user"
    ]


def _arrange(
    fragment: Fragment, made: Fitted | None, sent: Sequence[Sent]
) -> tuple[Sequence[Part], Sequence[FlowItem], tuple[Sent, ...]]:
    """Split a body, as far as there is room for it, into system prompt, messages and trailing context."""
    if made is None:
        # There is no box in it.
        body, first, last = cast("Sequence[FlowItem]", fragment.body), fragment.first, fragment.last
    else:
        body = made.body
        first, last = messages_in(body) if fragment.last >= 0 else (-1, -1)
    if first < 0:
        return cast("Sequence[Part]", body), (), ()
    system = cast("Sequence[Part]", body[:first])
    trailing = cast("Sequence[Part]", body[last + 1 :])
    if not trailing and not sent:
        return system, body[first:], ()
    flow = list(body[first : last + 1])
    end = last_anchor(flow)
    flow, kept = put_back(flow, sent)
    standing = {item.part.identity: item.part.digest for item in kept}
    new = [part for part in trailing if standing.get(part.identity) != part.digest]
    flow.extend(new)
    return system, flow, (*kept, *[Sent(end, part) for part in new])


def _tokens(fragment: Fragment, tools: Sequence[Part], sent: Sequence[FlowItem] | None) -> int:
    """Sum the estimates up; of what is ``sent`` where that is not as the tree has it."""
    total = sum([part.tokens for part in tools])
    return total + (fragment.tokens if sent is None else sum([item.tokens for item in sent]))


def _told_apart(in_tree: Sequence[ToolUse], given: Sequence[ToolUse]) -> Sequence[ToolUse]:
    """Let tools that have a longer name have that, where another tool has their own."""
    if all(use.tool.qualified is None for use in in_tree):
        return in_tree
    known = Counter(
        name for use in dict.fromkeys((*in_tree, *given)) for name in {use.tool.name, *use.tool.aliases}
    )
    return [
        use
        if use.tool.qualified is None or known[use.tool.name] == 1
        else ToolUse(use.tool.qualified, use.path)
        for use in in_tree
    ]


def _tools(in_tree: Sequence[ToolUse], given: Iterable[ToolUse]) -> list[ToolUse]:
    """Order the tools, the tree's first; the nearest of a name wins."""
    known: dict[str, ToolUse] = {}
    for use in in_tree:
        name = use.tool.name
        if known.get(name) is use:
            continue
        if name in known:
            raise CompileError(
                f"two tools are named {name!r}: one at {known[name].path}, one at {use.path}; "
                f"rename one, for example with @tool(name=...)",
                path=use.path,
            )
        known[name] = use
    for use in given:
        known.setdefault(use.tool.name, use)
    return list(known.values())


def _toolbox(uses: Sequence[ToolUse]) -> dict[str, Tool]:
    toolbox: dict[str, Tool] = {}
    for use in uses:
        for alias in use.tool.aliases:
            toolbox[alias] = use.tool
    for use in uses:
        toolbox[use.tool.name] = use.tool
    return toolbox


def _model(choices: Sequence[ModelChoice]) -> ModelChoice:
    """Join the tree's model choices; the later one wins."""
    model: Any = None
    settings: dict[str, Any] = {}
    for choice in choices:
        model = choice.model if choice.model is not None else model
        settings.update(choice.settings)
    return ModelChoice(model, settings, choices[-1].path if choices else "")


_what_and_name = itemgetter(0, 1)


def _check_names(names: Sequence[Name]) -> None:
    if len(set(map(_what_and_name, names))) == len(names):
        return
    places: dict[tuple[str, str], str] = {}
    for what, name, path in names:
        if (first := places.setdefault((what, name), path)) is not path:
            raise CompileError(
                f"two {what} {name!r}: one at {first}, one at {path}; give one of them another", path=path
            )


def _check_entries(fragment: Fragment) -> None:
    """Refuse an entry that two timelines show."""
    seen: set[str] = set()
    for item in unboxed(fragment.body):
        keys = [entry.id for entry in item.entries] if isinstance(item, Chunk) else []
        if isinstance(item, Part) and item.kind == "message" and item.key:
            keys = [item.key]
        for key in keys:
            if key in seen:
                first, second = fragment.timelines[:2]
                raise CompileError(
                    f"the entry {key!r} is shown by two timelines, {first} and {second}; "
                    "give each its own roles= or filter=",
                    path=second,
                )
            seen.add(key)
