"""Trailing context that was sent earlier in an execution, and stays where it stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.context.chunk import Chunk, FlowItem
from nbsession.context.part import Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Sent(NamedTuple):
    """A trailing part as it was sent earlier in this execution, and the message it followed.

    ``after`` is the id of an entry, or the path of a message of the tree.
    """

    after: str
    part: Part

    def to_dict(self) -> dict[str, Any]:
        return {"after": self.after, "part": self.part.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Sent:
        return cls(data["after"], Part.from_dict(data["part"]))


def put_back(flow: list[FlowItem], sent: Sequence[Sent]) -> tuple[list[FlowItem], list[Sent]]:
    """Put trailing parts of earlier ticks back behind the entries they followed; say which found theirs."""
    if not sent:
        return flow, []
    waiting: dict[str, list[Sent]] = {}
    for earlier in sent:
        waiting.setdefault(earlier.after, []).append(earlier)
    placed: list[FlowItem] = []
    kept: list[Sent] = []
    for item in flow:
        parts = item.parts if isinstance(item, Chunk) else (item,)
        if isinstance(item, Chunk) and waiting.keys().isdisjoint([entry.id for entry in item.entries]):
            placed.append(item)
            continue
        for part in parts:
            placed.append(part)
            for before in waiting.get(anchor(part), ()):
                placed.append(before.part)
                kept.append(before)
    return placed, kept


def superseded(sent: Sequence[Sent], trailing: Sequence[Part]) -> list[Sent]:
    """Return what was sent and is not what ``trailing`` says now: it costs its tokens beside that."""
    now = {part.identity: part.digest for part in trailing}
    newest = {earlier.part.identity: earlier for earlier in sent}
    return [
        earlier
        for earlier in sent
        if newest[earlier.part.identity] is not earlier
        or now.get(earlier.part.identity) != earlier.part.digest
    ]


def last_anchor(flow: Sequence[FlowItem]) -> str:
    """Name the message that a flow ends with."""
    last = flow[-1]
    return last.entries[-1].id if isinstance(last, Chunk) else anchor(last)


def anchor(part: Part) -> str:
    """Name a message among the flow's parts; ``""`` for what is none."""
    return (part.key or part.path) if part.kind == "message" else ""
