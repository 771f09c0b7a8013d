"""Edited parts: texts that are sent in place of what the tree compiles to, and are marked as such."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from nbsession.content import Block, Text, ToolResult
from nbsession.context.box import BodyItem, Box
from nbsession.context.chunk import Chunk, FlowItem
from nbsession.context.part import Part, message_part
from nbsession.context.withheld import Withheld
from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LAPSED = "edited before, but it is another one now, so the edit does not apply"


class Edit(NamedTuple):
    """A text in place of the part that stands at ``place``, for as long as its digest is ``was``."""

    place: str
    was: str
    text: str


class Edits:
    """The edits of a session."""

    __slots__ = ("_keys", "_texts")

    def __init__(self, edits: Iterable[Edit]) -> None:
        self._texts: dict[str, dict[str, str]] = {}
        for edit in edits:
            self._texts.setdefault(edit.place, {})[edit.was] = edit.text
        self._keys = {place.rpartition("#")[2] for place in self._texts}

    def __bool__(self) -> bool:
        return bool(self._texts)

    def body(self, items: Sequence[BodyItem]) -> tuple[BodyItem, ...]:
        """Return a tree's body with the edited parts in place of those that they stand for."""
        return tuple([self._item(item) for item in items])

    def part(self, part: Part) -> Part:
        """Return a part as it is to be sent."""
        text = self._texts.get(place_of(part), {}).get(part.digest)
        return part if text is None else edited(part, text)

    def lapsed(self, items: Iterable[FlowItem]) -> tuple[Withheld, ...]:
        """Say which edits do not apply, because the part is another one now than it was when it was edited."""
        found: dict[str, list[Part]] = {}
        for item in items:
            for part in item.parts if isinstance(item, Chunk) else (item,):
                if place_of(part) in self._texts:
                    found.setdefault(place_of(part), []).append(part)
        return tuple(
            Withheld(parts[0].path, LAPSED, text)
            for place, parts in found.items()
            for was, text in self._texts[place].items()
            if not any(was in (part.of, part.digest) for part in parts)
        )

    def _item(self, item: BodyItem) -> BodyItem:
        if isinstance(item, Part):
            return self.part(item)
        if isinstance(item, Box):
            return item.holding(self.body(item.body))
        if self._keys.isdisjoint([entry.id for entry in item.entries]):
            return item
        return item.replaced([self.part(part) for part in item.parts])


NO_EDITS = Edits(())


def place_of(part: Part) -> str:
    """Name a part of a context among the others: its path, and its key where it has one."""
    return f"{part.path}#{part.key}"


def edited(part: Part, text: str) -> Part:
    """Return the part with another text, as it is sent, marked as edited.

    Raises ``SessionError`` for what has no text of its own to be replaced.
    """
    if part.kind == "tool":
        raise SessionError(f"{part.title} is a tool: change what the model reads of it where it is defined")
    if part.kind != "message":
        made = Part(part.kind, part.path, text, key=part.key, title=part.title, role=part.role)
    else:
        if not text.strip():
            raise SessionError(
                f"a message cannot be edited to be empty, as that of {part.role} would be; write some text"
            )
        made = message_part(part.path, tuple(_blocks(part, text)), key=part.key, role=part.role)
    made.edited, made.of = True, part.of or part.digest
    return made


def _blocks(part: Part, text: str) -> list[Block]:
    """Put a text into a message's only text or tool result; what else there is, as its calls and pictures, stays."""
    places = [at for at, block in enumerate(part.blocks) if isinstance(block, (Text, ToolResult))]
    if len(places) != 1:
        held = ", ".join(type(block).__name__ for block in part.blocks) or "nothing"
        raise SessionError(
            f"a message is edited where it has one text or one tool's result, and this one of {part.role} has {held}"
        )
    blocks = list(part.blocks)
    old = blocks[places[0]]
    blocks[places[0]] = replace(old, content=(Text(text),)) if isinstance(old, ToolResult) else Text(text)
    return blocks
