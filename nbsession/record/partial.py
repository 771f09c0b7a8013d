"""A response that is still coming in, as rows that each hold what grew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbsession.content import Text, Thinking, block_from_dict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.content import Block


def growth(kept: Sequence[Block], content: Sequence[Block]) -> dict[str, Any]:
    """Return the row that makes ``content``, a response so far, of what was kept of it before."""
    same = 0
    while same < min(len(kept), len(content)) and kept[same] == content[same]:
        same += 1
    rest = list(content[same:])
    data: dict[str, Any] = {"keep": same}
    if same < len(kept) and rest:
        old, new = kept[same], rest[0]
        if _continues(old, new):
            data["more"] = str(new)[len(str(old)) :]
            rest = rest[1:]
    data["then"] = [block.to_dict() for block in rest]
    return data


def _continues(old: Block, new: Block) -> bool:
    """Say whether a block is the same text or thinking with more at its end."""
    return (
        isinstance(old, Text | Thinking)
        and isinstance(new, Text | Thinking)
        and new.text.startswith(old.text)
        and replace(old, text=new.text) == new
    )


def grown(kept: Sequence[Block], data: Mapping[str, Any]) -> tuple[Block, ...]:
    """Return a response so far, from what was kept before and a row of its growth."""
    blocks = list(kept[: data["keep"]])
    if "more" in data:
        blocks.append(replace(kept[data["keep"]], text=str(kept[data["keep"]]) + data["more"]))
    return (*blocks, *[block_from_dict(item) for item in data["then"]])
