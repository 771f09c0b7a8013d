"""Signed thinking: sent again only behind the very context it was made under.

On the newest models a thinking block is bound to the exact system prompt, tools
and messages before it, and a request that replays it behind others is refused.
So each answer remembers the prefix it was made under; where that differs now
(a knob moved, a section was rewritten), its thinking is left out, and said so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.content import Thinking
from nbsession.context import FlowItem, Part, Withheld, prefix_hash, tokens_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nbsession.content import Block

BARE = "without its thinking"
"""The title of a message part whose thinking was left out."""


def signed(content: Iterable[Block]) -> bool:
    """Say whether there is thinking that a provider signed."""
    return any(isinstance(block, Thinking) and block.raw for block in content)


def replayable(
    system: Sequence[Part], tools: Sequence[Part], flow: Sequence[FlowItem]
) -> tuple[Sequence[FlowItem], tuple[Withheld, ...]]:
    """Leave out the thinking that may not be sent behind this context; say which.

    Costs nothing where the flow holds no signed thinking.
    """
    if not any(item.prefixes for item in flow):
        return flow, ()
    running = prefix_hash(system, tools)
    kept: list[FlowItem] = []
    withheld: list[Withheld] = []
    for item in flow:
        if not item.prefixes:
            kept.append(item)
            running.update(_digests(item))
            continue
        for part in (item,) if isinstance(item, Part) else item.parts:
            made_under = part.prefixes.get(part.key)
            if made_under is not None and made_under != running.hexdigest():
                bare = _without_thinking(part)
                reason = "thinking made under another context"
                withheld.append(Withheld(f"{part.path}/{part.key}", reason, "", part.tokens - bare.tokens))
                part = bare
            kept.append(part)
            running.update(part.digest.encode())
    return kept, tuple(withheld)


def _digests(item: FlowItem) -> bytes:
    return item.digest.encode() if isinstance(item, Part) else item.digests()


def _without_thinking(part: Part) -> Part:
    blocks = tuple(block for block in part.blocks if not isinstance(block, Thinking))
    text = "\n\n".join([str(block) for block in blocks])
    return Part(
        "message",
        part.path,
        text,
        title=BARE,
        key=part.key,
        role=part.role,
        blocks=blocks,
        tokens=tokens_of(blocks),
    )
