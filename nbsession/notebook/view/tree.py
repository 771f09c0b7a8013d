"""A compiled context as the tree that it came from: what each component contributes, summed upwards.

Made of the parts' paths alone, so that it can be had of any context, whatever became of the tree. Texts
stand in the list of parts; here are names and tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING
from urllib.parse import unquote

from nbsession.notebook.view.sources import NO_SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nbsession.context import CompiledContext, ContextDiff, Part
    from nbsession.notebook.view.sources import Sources

MARKS = {"added": "+", "removed": "−", "changed": "~", "moved": "↕", "": ""}
"""What happened to a part, as one character, for those who see no colours."""

NAMED = 4
"""Tools of one component that are named in its line."""

# What a timeline and a collapsed text are made of, below the component that the author wrote.
_INNER = re.compile(
    r"((?:^|/)(?:Timeline|Collapsed)(?:\.\d+|\[[^/]*\])?)/(?:Conversation|Folded)\.0(?:/\d+)*$"
)


@dataclass(frozen=True, slots=True)
class Branch:
    """A component and what it contributes: ``tokens`` of its own and of all below.

    ``says`` names its own parts where its name does not; ``change`` is how those differ (``"added"``,
    ``"removed"``, ``"changed"``, ``"moved"`` or ``""``), and ``inside`` whether anything below does.
    ``edited`` says that a text of its own was put there by an edit, ``unfolded`` that there is something to see below;
    ``source`` where it is written, if it is the author's.
    """

    key: str
    name: str
    path: str
    tokens: int
    says: str = ""
    change: str = ""
    inside: bool = False
    edited: bool = False
    unfolded: bool = True
    source: str = ""
    children: tuple[Branch, ...] = ()

    @property
    def mark(self) -> str:
        """The change as one character."""
        return MARKS[self.change]

    @property
    def steady(self) -> bool:
        """Whether nothing of it is another than before."""
        return not self.change and not self.inside

    def runs(self, *, brief: bool) -> list[tuple[Branch, ...]]:
        """Return what is below by lines; in ``brief``, neighbours that stayed as they were share one."""
        places = enumerate(self.children)
        together = groupby(places, lambda place: -1 if brief and place[1].steady else place[0])
        return [tuple(child for _, child in run) for _, run in together]


@dataclass(slots=True)
class _Node:
    name: str
    path: str
    parts: list[tuple[Part, str]] = field(default_factory=list)
    children: dict[str, _Node] = field(default_factory=dict)


def tree_of(
    context: CompiledContext, diff: ContextDiff | None, key: str, sources: Sources = NO_SOURCES
) -> Branch:
    """Lay a context out by components; ``key`` is what the branches' own keys begin with.

    The top is the component that all of it came from, or, where there are several, nameless.
    """
    top = _Node("", "")
    changes = changes_in(diff)
    for part in context.parts:
        _place(top, part, changes.get(part.identity, ""))
    for part in diff.removed if diff is not None else ():
        _place(top, part, "removed")
    _adopt(top)
    only = next(iter(top.children.values())) if len(top.children) == 1 and not top.parts else top
    return _branch(only, _keys(key), sources, compared=diff is not None)


def authored(path: str) -> str:
    """Return the path up to the component that the author wrote."""
    return _INNER.sub(r"\1", path)


def changes_in(diff: ContextDiff | None) -> dict[tuple[str, str, str], str]:
    """Return how each part of the newer context differs, by its identity; what stayed is not in it."""
    if diff is None:
        return {}
    return {
        **{part.identity: "added" for part in diff.added},
        **{part.identity: "moved" for part in diff.moved},
        **{change.new.identity: "changed" for change in diff.changed},
    }


def _place(top: _Node, part: Part, change: str) -> None:
    node, path = top, ""
    for segment in authored(part.path).split("/"):
        path = f"{path}/{segment}" if path else segment
        if not segment.isdigit():  # a list that only groups
            node = node.children.setdefault(segment, _Node(_named(segment), path))
    node.parts.append((part, change))


def _named(segment: str) -> str:
    """Return a segment without its place among its siblings: ``Day`` of ``Day.3``, ``Day[mon]`` as it is."""
    if segment == "timeline":
        return "Timeline"
    return unquote(segment) if "[" in segment else re.sub(r"\.\d+$", "", segment)


def _adopt(top: _Node) -> None:
    """Put what has no place of its own, as the conversation, under the one component that has."""
    homeless = [name for name in ("Collapsed", "timeline") if name in top.children]
    if len(top.children) - len(homeless) == 1:
        home = next(node for name, node in top.children.items() if name not in homeless)
        home.children.update({f"{name} ": top.children.pop(name) for name in homeless})


def _keys(prefix: str) -> Iterator[str]:
    count = 0
    while True:
        count += 1
        yield f"{prefix}.b{count}"


def _branch(node: _Node, keys: Iterator[str], sources: Sources, *, compared: bool) -> Branch:
    key = next(keys)
    children = tuple(_branch(child, keys, sources, compared=compared) for child in node.children.values())
    inside = any(not child.steady for child in children)
    own = sum(part.tokens for part, change in node.parts if change != "removed")
    return Branch(
        key=key,
        name=node.name,
        path=node.path,
        tokens=own + sum(child.tokens for child in children),
        says=", ".join(_says(node)),
        change=_change({change for _, change in node.parts}),
        inside=inside,
        edited=any(part.edited for part, _ in node.parts),
        unfolded=inside or not compared,
        source=sources.at(node.path),
        children=children,
    )


def _change(changes: set[str]) -> str:
    if len(changes) < 2:
        return next(iter(changes), "")
    return "added" if changes == {"", "added"} else "changed"


def _says(node: _Node) -> Iterator[str]:
    by_kind: dict[str, list[tuple[Part, str]]] = {}
    for part, change in node.parts:
        by_kind.setdefault(part.kind, []).append((part, change))
    for kind, parts in by_kind.items():
        if kind == "tool":
            yield _listed("tool", [part.title for part, _ in parts])
        elif kind == "message":
            fresh = sum(change == "added" for _, change in parts)
            there = sum(change != "removed" for _, change in parts)
            yield f"{there} message{'' if there == 1 else 's'}" + (
                f", {fresh} new" if 0 < fresh < there else ""
            )
        else:
            titles = [part.title for part, _ in parts if part.title and part.title not in node.name]
            if titles:
                yield _listed("", titles)
            elif node.children and kind == "text":
                yield "text"


def _listed(word: str, names: Sequence[str]) -> str:
    shown = ", ".join(_first(names))
    return f"{word}{'' if len(names) == 1 else 's'} {shown}" if word else shown


def _first(names: Sequence[str]) -> Iterable[str]:
    return names if len(names) <= NAMED + 1 else [*names[:NAMED], f"{len(names) - NAMED} more"]
