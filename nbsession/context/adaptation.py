"""What a model does not take of the conversation is put into words for it, and said so.

A tree may choose another model for each tick, and a conversation goes on with it.
Pictures and documents of the past, calls of tools, and steps and citations of
tools that another provider ran are then sent as text, to a provider that has such
tools itself, too: each reads its own form only. What is new is not: a
picture in the message that is being sent, or in the tree itself, reaches the
model or is an error.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nbsession.content import Document, Image, ServerTool, Text, ToolCall, ToolResult
from nbsession.context.part import Part
from nbsession.context.withheld import Withheld

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    from nbsession.content import Block
    from nbsession.context.chunk import FlowItem
    from nbsession.context.target import Capabilities, Target

IN_WORDS = "in words"
"""The title of a message part of which something was put into words."""

MEDIA = frozenset({"images", "documents"})
OWN_TOOLS = frozenset({"steps", "citations"})
"""What a provider's own tools leave in a conversation."""

_NOTES = {
    "images": "{} takes no images",
    "documents": "{} takes no documents",
    "calls": "{} takes no tools; calls and results are sent as text",
    "steps": "{} has no tools of its provider; their steps are sent as text",
    "citations": "{} takes no citations",
}
_FOREIGN = {
    "steps": "{} does not read the steps of another provider's tools ({}); they are sent as text",
    "citations": "{} does not read the citations of another provider ({})",
}


def adapted(
    flow: Sequence[FlowItem], model: Target, fresh: Container[str] = ()
) -> tuple[Sequence[FlowItem], tuple[Withheld, ...]]:
    """Put into words what ``model`` does not take; say which.

    ``fresh`` are the ids of entries that are sent for the first time: their pictures
    and documents stay, as do those of the tree, for ``refuse_unfit`` to name. Costs
    nothing where the flow holds nothing of the kind.
    """
    lacking = _lacking(model.capabilities)
    suspect = lacking | OWN_TOOLS
    if not any(item.holds & suspect for item in flow):
        return flow, ()
    kept: list[FlowItem] = []
    withheld: list[Withheld] = []
    for item in flow:
        parts = (item,) if isinstance(item, Part) else item.parts if item.holds & suspect else ()
        faults = [_faults(part, model, lacking, fresh) for part in parts]
        if not any(faults):
            kept.append(item)
            continue
        for part, notes in zip(parts, faults, strict=True):
            if not notes:
                kept.append(part)
                continue
            kinds = frozenset(notes)
            words = part.variant(kinds, IN_WORDS, partial(_in_words, part.blocks, kinds))
            place, saved = f"{part.path}/{part.key}", part.tokens - words.tokens
            for kind in sorted(kinds):
                told = "\n".join(map(str, _of_kind(part.blocks, kind))) if kind in MEDIA else ""
                withheld.append(Withheld(place, notes[kind], told, saved))
                saved = 0
            kept.append(words)
    return kept, tuple(withheld)


def _faults(part: Part, model: Target, lacking: frozenset[str], fresh: Container[str]) -> dict[str, str]:
    """Say of each kind of content that is to be put into words, why."""
    wanted = not part.key or part.key in fresh
    kinds = (part.holds & lacking) - (MEDIA if wanted else frozenset())
    notes = {kind: _NOTES[kind].format(model.name) for kind in kinds}
    origin = part.origin
    if origin is not None and _provider(origin.model) != _provider(model.name):
        for kind in (part.holds & OWN_TOOLS) - kinds:
            notes[kind] = _FOREIGN[kind].format(model.name, origin.model)
    return notes


def _provider(model: str) -> str:
    return model.partition(":")[0]


def sizing(model: Target | None, fresh: Container[str] = ()) -> Callable[[FlowItem], int]:
    """Return a function that says what an item of the flow costs as ``model`` is sent it, in estimated tokens."""
    suspect = OWN_TOOLS if model is None else OWN_TOOLS | _lacking(model.capabilities)

    def size(item: FlowItem) -> int:
        if model is None or not item.holds & suspect:
            return item.tokens
        return sum([part.tokens for part in adapted((item,), model, fresh)[0]])

    return size


def _lacking(can: Capabilities) -> frozenset[str]:
    takes = {
        "images": can.images,
        "documents": can.documents,
        "calls": can.tools,
        "steps": can.server_tools,
        "citations": can.server_tools,
    }
    return frozenset([kind for kind, taken in takes.items() if not taken])


def _of_kind(blocks: Iterable[Block], kind: str) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, ToolResult):
            yield from _of_kind(block.content, kind)
        elif isinstance(block, Image if kind == "images" else Document):
            yield block


def _in_words(blocks: Iterable[Block], kinds: frozenset[str]) -> Iterator[Block]:
    for block in blocks:
        words = _words(block, kinds)
        if not isinstance(words, Text) or words.text.strip():
            yield words


def _words(block: Block, kinds: frozenset[str]) -> Block:
    if isinstance(block, Image):
        return Text(str(block)) if "images" in kinds else block
    if isinstance(block, Document):
        return Text(str(block)) if "documents" in kinds else block
    if isinstance(block, ServerTool):
        # One without the provider's own block is told to the reader, and to no model.
        return Text(block.text if block.raw else "") if "steps" in kinds else block
    if isinstance(block, Text):
        return Text(block.text) if "citations" in kinds else block
    if isinstance(block, ToolCall):
        return Text(f"[called {block}]") if "calls" in kinds else block
    if isinstance(block, ToolResult):
        return _result(block, kinds)
    return block


def _result(result: ToolResult, kinds: frozenset[str]) -> Block:
    content = tuple([_words(block, kinds) for block in result.content])
    said = replace(result, content=content)  # type: ignore[arg-type]  # media become texts, and texts stay
    if "calls" not in kinds:
        return said
    return Text(f"[{result.name} {'failed' if result.is_error else 'gave'}: {said.text}]")
