"""Finished content blocks, played as the events of a model that writes them now."""

from __future__ import annotations

import asyncio
import json
import math
import re
from typing import TYPE_CHECKING, TypeAlias

from nbsession.content import Block, Text, Thinking, ToolCall
from nbsession.errors import ModelError
from nbsession.events import ContentBlockStart, ContentBlockStop, InputJsonDelta, ModelEvent, TextDelta
from nbsession.usage import Usage, tokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator, Sequence

    from nbsession.context import CompiledContext

CHUNKS = 4
"""Deltas of a text that is not paced."""

Step: TypeAlias = "ModelEvent | Awaitable[None]"
"""An event to be given next, or something to be awaited before.

So plain generators may play an answer one inside another: asynchronous ones cost at each level, for each event.
"""

_written = json.JSONEncoder(ensure_ascii=False, default=str).encode
_WORD = re.compile(r"\s*\S+|\s+\Z")


def call_id(context: CompiledContext, index: int) -> str:
    """Return the id of a tool call: the same for the same context and block."""
    return f"call_{context.hash[:12]}_{index}"


def words(text: str) -> list[str]:
    """Cut a text into its words, each with the white space before it; joined, they are the text."""
    return _WORD.findall(text)


def chunks(text: str) -> list[str]:
    """Cut a text into at most ``CHUNKS`` pieces of one length; joined, they are the text."""
    size = max(1, math.ceil(len(text) / CHUNKS))
    return [text[start : start + size] for start in range(0, len(text), size)]


def text_steps(index: int, pieces: Iterable[str], *, rate: float = 0, offset: int = 0) -> Iterator[Step]:
    """Play pieces of text, ``rate`` of them a second, or all at once where it is 0."""
    if rate <= 0:
        yield asyncio.sleep(0)
    for piece in pieces:
        if rate > 0:
            yield asyncio.sleep(1 / rate)
        yield TextDelta(index, piece, offset)
        offset += len(piece)


def block_steps(
    index: int, block: Block, *, pieces: Sequence[str] | None = None, rate: float = 0
) -> Iterator[Step]:
    """Play one text, thinking or tool call block; only ``pieces`` of a text are paced by ``rate``."""
    if isinstance(block, ToolCall):
        yield ContentBlockStart(index, "tool_call", id=block.id, name=block.name)
        yield InputJsonDelta(index, _written(dict(block.input)))
    elif isinstance(block, (Text, Thinking)):
        yield ContentBlockStart(index, "text" if isinstance(block, Text) else "thinking")
        yield from text_steps(index, chunks(block.text) if pieces is None else pieces, rate=rate)
    else:
        raise ModelError(
            f"a model answers with text, thinking and tool calls, got {type(block).__name__}: {block!r}"
        )
    yield ContentBlockStop(index, block)


def estimated_usage(input_tokens: int, blocks: Iterable[Block]) -> Usage:
    """Estimate what an answer used, and say that it is an estimate."""
    thinking = output = 0
    for block in blocks:
        size = tokens.estimate(str(block))
        output += size
        if isinstance(block, Thinking):
            thinking += size
    return Usage(input_tokens, output, thinking_tokens=thinking, estimated=True)
