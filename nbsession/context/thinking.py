"""Signed thinking: sent again only to the model that made it, behind the very context it was made under.

On the newest models a thinking block is bound to the exact system prompt, tools
and messages before it, and a request that replays it behind others is refused;
and models read their own thinking, and that of few others. So each answer
remembers its origin: the model, and the prefix it was made under. Where one of
them differs now (a knob moved, a section was rewritten, the tree chose another
model), its thinking is left out, and said so.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from nbsession.content import Thinking
from nbsession.context.compiled import prefix_hash
from nbsession.context.part import ORIGIN, PROVIDERS_OWN, Origin, Part, kinds_of
from nbsession.context.withheld import Withheld

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nbsession.content import Block
    from nbsession.context.chunk import FlowItem
    from nbsession.context.compiled import CompiledContext

BARE = "without its thinking"
"""The title of a message part whose thinking was left out."""


def origin_of(content: Iterable[Block], context: CompiledContext, model: str) -> dict[str, Any] | None:
    """Return what an answer's metadata has to say, ``None`` where it holds nothing that only its provider reads again.

    ``context`` is what it answers, ``model`` the name of the adapter that was asked.
    """
    if kinds_of(content).isdisjoint(PROVIDERS_OWN):
        return None
    return {ORIGIN: Origin(context.prefix, model)._asdict()}


def replayable(
    system: Sequence[Part],
    tools: Sequence[Part],
    flow: Sequence[FlowItem],
    settings: Mapping[str, Any],
    model: str | None,
) -> tuple[Sequence[FlowItem], tuple[Withheld, ...]]:
    """Leave out the signed thinking that ``model`` may not be sent behind this context; say which.

    ``model`` is the name of the adapter; for ``None``, whoever made it is right. Costs
    nothing where the flow holds none.
    """
    if not any("thinking" in item.holds for item in flow):
        return flow, ()
    running = prefix_hash(system, tools, settings)
    kept: list[FlowItem] = []
    withheld: list[Withheld] = []
    for item in flow:
        if "thinking" not in item.holds:
            kept.append(item)
            running.update(_digests(item))
            continue
        for part in (item,) if isinstance(item, Part) else item.parts:
            reason = _objection(part, model, running.hexdigest())
            if reason:
                bare = part.variant("bare", BARE, partial(_without_thinking, part.blocks))
                withheld.append(Withheld(f"{part.path}/{part.key}", reason, "", part.tokens - bare.tokens))
                part = bare
            kept.append(part)
            running.update(part.digest.encode())
    return kept, tuple(withheld)


def _digests(item: FlowItem) -> bytes:
    return item.digest.encode() if isinstance(item, Part) else item.digests()


def _objection(part: Part, model: str | None, prefix: str) -> str:
    """Say why a part's thinking may not be sent; ``""`` where it may."""
    origin = part.origin
    if "thinking" not in part.holds:
        return ""
    if origin is None:
        return "thinking that was not made in this conversation"
    if model not in (None, origin.model):
        return f"thinking made by another model ({origin.model})"
    return "thinking made under another context" if origin.prefix != prefix else ""


def _without_thinking(blocks: Iterable[Block]) -> Iterable[Block]:
    return (block for block in blocks if not isinstance(block, Thinking))
