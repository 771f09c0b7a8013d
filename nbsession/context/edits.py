"""Edited parts: texts that are sent in place of what the tree compiles to, and are marked as such."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from nbsession.content import Block, Text, ToolResult
from nbsession.context.chunk import Chunk, FlowItem
from nbsession.context.part import Part, message_part
from nbsession.context.withheld import Withheld
from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LAPSED = "edited before, but it is another one now, so the edit is let go"


class Edit(NamedTuple):
    """A text in place of a part, for as long as that is what it was (its digest) when it was edited."""

    was: str
    text: str


class Edits:
    """The edits of a session, by the place of the part: ``path#key``."""

    __slots__ = ("_by_place", "_keys")

    def __init__(self, by_place: Mapping[str, Edit]) -> None:
        self._by_place = dict(by_place)
        self._keys = {place.rpartition("#")[2] for place in by_place}

    def __bool__(self) -> bool:
        return bool(self._by_place)

    def applied(self, items: Iterable[FlowItem]) -> list[FlowItem]:
        """Return the items with the edited parts in place of those that they stand for."""
        made: list[FlowItem] = []
        for item in items:
            if isinstance(item, Part):
                made.append(self._of(item))
            elif self._keys.isdisjoint([entry.id for entry in item.entries]):
                made.append(item)
            else:
                made += [self._of(part) for part in item.parts]
        return made

    def lapsed(self, items: Iterable[FlowItem]) -> tuple[Withheld, ...]:
        """Say which edits no longer apply, because the part has become another one."""
        said = []
        for item in items:
            for part in item.parts if isinstance(item, Chunk) else (item,):
                edit = self._by_place.get(place_of(part))
                if edit is not None and edit.was != part.digest and not part.edited:
                    said.append(Withheld(part.path, LAPSED, edit.text))
        return tuple(said)

    def _of(self, part: Part) -> Part:
        edit = self._by_place.get(place_of(part))
        return part if edit is None or edit.was != part.digest else edited(part, edit.text)


NO_EDITS = Edits({})


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
    made.edited = True
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
