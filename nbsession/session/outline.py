"""The mounted tree as its author wrote it: components with their keys, state, knobs and tools."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession import components
from nbsession.context import Foldable, ToolUse
from nbsession.hooks import DataCell, Environment, GateCell, KnobCell
from nbsession.timeline import leads
from nbsession.tools import Tool
from nbsession.tree import Cell, Component, Element, Fiber, hook_names, source_of
from nbsession.tree.element import FRAGMENT, TOP
from nbsession.tree.hooks import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbsession.tree import Source

SNIPPET = 60
"""Characters of a component's own text, or of a value, that stand in its line."""

_PUBLIC = {id(getattr(components, name)) for name in components.__all__}


class Fact(NamedTuple):
    """What a component holds: ``word`` says of which kind, ``value`` is written in short.

    ``word`` is ``"knob"``, ``"gate"``, ``"state"``, ``"data"``, ``"tool"``, ``"entries"`` or
    ``"text"``, its own text's beginning; ``"property"``; or, of a hook that keeps no state, what it is: ``"effect"``,
    ``"memo"``, ``"on_tick_end"``. State has the name that its author gave it, or else
    the number of its hook (``#4``), and data its key for a ``name``.
    """

    word: str
    name: str
    value: str = ""

    def __str__(self) -> str:
        if self.word == "text":
            return self.value
        joint = "=" if self.name and self.value else ""
        return " ".join(filter(None, (self.word, self.name, joint, self.value)))


class Place(NamedTuple):
    """One component that is mounted. ``own`` says that it is the author's, not one of the package's.

    ``facts`` are what stands in its line; ``properties`` are what it was given by keyword, and ``hooks`` those that
    keep no state: both of the author's components alone.
    """

    depth: int
    name: str
    key: str
    path: str
    own: bool
    facts: tuple[Fact, ...]
    properties: tuple[Fact, ...] = ()
    hooks: tuple[Fact, ...] = ()

    def __str__(self) -> str:
        name = f"{self.name}[{self.key}]" if self.key else self.name
        return "  ".join([name, *([" · ".join(map(str, self.facts))] if self.facts else [])])


class Outline:
    """A session's mounted components, from the top; as text, a tree with a line for each.

    What a component of the package is made of is left out, and so are lists that
    only group.
    """

    __slots__ = ("places",)

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = tuple(places)

    def lines(self) -> list[tuple[str, Place]]:
        """Return the tree's lines from the top: what is drawn before a component, and the component."""
        return list(zip(leads([place.depth for place in self.places]), self.places, strict=True))

    def __str__(self) -> str:
        return "\n".join(f"{lead}{place}" for lead, place in self.lines())

    def __repr__(self) -> str:
        return f"<Outline: {len(self.places)} components>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


class _Step(NamedTuple):
    """A fiber to be looked at; ``written`` holds the elements that the author gave, ``None`` where that is all."""

    fiber: Fiber
    depth: int
    written: frozenset[int] | None


def outline_of(top: Fiber) -> Outline:
    """Read the tree below a root's top fiber."""
    places: list[Place] = []
    stack = [_Step(top, 0, None)]
    while stack:
        fiber, depth, written = stack.pop()
        shown = _is_shown(fiber, written)
        if shown:
            places.append(_place(fiber, depth))
        below = _written_below(fiber, written)
        children = [child for child in fiber.children if isinstance(child, Fiber)]
        stack += [_Step(child, depth + shown, below) for child in reversed(children)]
    return Outline(places)


def sources_in(top: Fiber) -> dict[str, Source]:
    """Return where each of the author's components below a root's top fiber is written, by its path."""
    found: dict[str, Source] = {}
    known: dict[Component, Source] = {}
    stack = [top]
    while stack:
        fiber = stack.pop()
        kind = fiber.type
        if isinstance(kind, Component) and not _is_ours(fiber):
            found[fiber.path] = known.setdefault(kind, source_of(kind))
        stack += [child for child in fiber.children if isinstance(child, Fiber)]
    return found


def _is_shown(fiber: Fiber, written: frozenset[int] | None) -> bool:
    if fiber.type is FRAGMENT or fiber.type is TOP:
        return False
    if not _is_ours(fiber):
        return True
    return id(fiber.type) in _PUBLIC and (written is None or id(fiber.element) in written)


def _is_ours(fiber: Fiber) -> bool:
    kind = fiber.type
    if isinstance(kind, Component):
        return kind.function.__module__.startswith("nbsession.")
    return isinstance(kind, Foldable) or id(kind) in _PUBLIC


def _written_below(fiber: Fiber, written: frozenset[int] | None) -> frozenset[int] | None:
    """Return what of the fiber's children the author wrote: all, but below one of our own components."""
    if not isinstance(fiber.type, Component):
        return written
    given = fiber.element.children
    renders = fiber.element.props.get("render") or any(map(_is_function, given))
    if renders or not _is_ours(fiber):
        return None
    return frozenset(map(id, _elements(given)))


def _is_function(node: Any) -> bool:
    return callable(node) and not isinstance(node, Tool)


def _elements(nodes: Sequence[Any]) -> Iterator[Element]:
    """Give the elements in what was handed to a component, those inside others, too."""
    for node in nodes:
        if isinstance(node, Element):
            yield node
            yield from _elements(node.children)
        elif isinstance(node, (list, tuple)):
            yield from _elements(node)


def _place(fiber: Fiber, depth: int) -> Place:
    own = not _is_ours(fiber)
    facts = [*(_held(fiber) if own else ()), *_tools(fiber)]
    if fiber.type is components.Timeline:
        facts.append(Fact("entries", "", str(len(_environment(fiber).record))))
    elif text := _text(fiber):
        facts.append(Fact("text", "", f"“{text}”"))
    place = Place(depth, fiber.type.name, fiber.key or "", fiber.path, own, tuple(facts))
    return place._replace(properties=tuple(_properties(fiber)), hooks=tuple(_hooks(fiber))) if own else place


def _environment(fiber: Fiber) -> Environment:
    found = fiber.root.environment
    assert isinstance(found, Environment)
    return found


def _properties(fiber: Fiber) -> Iterator[Fact]:
    for name, value in fiber.element.props.items():
        yield Fact("property", name, _written(value))


def _cells(fiber: Fiber) -> Iterator[tuple[int, Cell, str]]:
    """Give what the hooks keep, with each one's position and the name that its author gave it."""
    kind = fiber.type
    names = dict(enumerate(hook_names(kind.function) if isinstance(kind, Component) else ()))
    for position, cell in enumerate(fiber.hooks or ()):
        yield position, cell, names.get(position, "")


def _hooks(fiber: Fiber) -> Iterator[Fact]:
    for _, cell, name in _cells(fiber):
        if not isinstance(cell, (KnobCell, GateCell, DataCell, State)):
            held = _HELD.get(cell.kind)
            value = _written(getattr(cell, held)) if held is not None else ""
            yield Fact(cell.kind.removeprefix("use_"), name, value)


_HELD = {"memo": "value", "ref": "current", "context": "current"}
"""Where a hook that keeps no state has its value."""


def _held(fiber: Fiber) -> Iterator[Fact]:
    for position, cell, name in _cells(fiber):
        if isinstance(cell, KnobCell):
            yield Fact("knob", cell.name, _written(_environment(fiber).knobs[cell.name]))
        elif isinstance(cell, GateCell) and cell.gate is not None:
            yield Fact("gate", cell.gate.name, str(cell.gate.state))
        elif isinstance(cell, DataCell):
            yield Fact("data", str(cell.key), "not there yet" if cell.pending else _written(cell.data))
        elif isinstance(cell, State):
            yield Fact(cell.kind, name or f"#{position}", _written(cell.value))


def _tools(fiber: Fiber) -> Iterator[Fact]:
    for leaf in _leaves(fiber):
        tool = leaf.tool if isinstance(leaf, ToolUse) else leaf
        if isinstance(tool, Tool):
            yield Fact("tool", tool.name)


def _leaves(fiber: Fiber) -> Iterator[Any]:
    """Give the texts and tools that a component returned, also those in lists."""
    for child in fiber.children:
        if not isinstance(child, Fiber):
            yield child
        elif child.type is FRAGMENT:
            yield from _leaves(child)


def _text(fiber: Fiber) -> str:
    words = " ".join(" ".join(leaf for leaf in _leaves(fiber) if isinstance(leaf, str)).split())
    return words if len(words) <= SNIPPET else words[: SNIPPET - 1] + "…"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = SNIPPET
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 4


def _written(value: Any) -> str:
    return _SHORT.repr(value)
