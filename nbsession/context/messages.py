"""Parts as a model reads them: turns of the user and the assistant, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from nbsession.content import Message, Text, ToolResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nbsession.content import Block
    from nbsession.context.part import Part


def merged(parts: Iterable[Part]) -> list[Message]:
    """Merge parts into alternating turns, tool results before anything else in a user turn."""
    turns: list[tuple[Literal["user", "assistant"], list[Block]]] = []
    for part in parts:
        blocks: tuple[Block, ...] = part.blocks if part.kind == "message" else (Text(part.text),)
        if not blocks:
            continue
        role: Literal["user", "assistant"] = "assistant" if part.role == "assistant" else "user"
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, list(blocks)))
    return [_turn(role, content) for role, content in turns]


def go_on(messages: list[Message], more: Sequence[Message]) -> None:
    """Let turns go on with others, the first of which may be part of the last one."""
    if messages and more and messages[-1].role == more[0].role:
        messages[-1] = _turn(more[0].role, [*messages[-1].content, *more[0].content])
        more = more[1:]
    messages += more


def _turn(role: Literal["user", "assistant"], content: list[Block]) -> Message:
    if role == "user" and len(content) > 1:
        content.sort(key=lambda block: not isinstance(block, ToolResult))
    return Message(role, tuple(content))
