"""``Message``, ``User``, ``Assistant``: messages of the tree, not of the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.content import Block, Text
from nbsession.context import MEDIA, Foldable, Fragment, Part, blocks_of, join_texts, texts_only, tokens_of
from nbsession.errors import RenderError, did_you_mean

if TYPE_CHECKING:
    from nbsession.tree import Element, Fiber

ROLES = ("user", "assistant")


class _Message(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        blocks: list[Block] = []
        run: list[Part] = []
        if inner.ranks is not None or any(
            not isinstance(item, Part) or (item.kind == "message" and item.title != MEDIA)
            for item in inner.body
        ):
            texts_only(fiber, inner)
        for part in inner.body:
            if not isinstance(part, Part):
                continue
            if part.blocks:
                blocks.extend(_text_block(run))
                blocks.extend(blocks_of(part))
                run = []
            else:
                run.append(part)
        blocks.extend(_text_block(run))
        if not blocks:
            return inner.folded(())
        text = "\n\n".join(str(block) for block in blocks)
        role = fiber.element.props["role"]
        content = tuple(blocks)
        part = Part("message", fiber.path, text, role=role, blocks=content, tokens=tokens_of(content))
        return inner.folded((part,))


def _text_block(run: list[Part]) -> list[Text]:
    text = join_texts(run)
    return [Text(text)] if text.strip() else []


_message = _Message("Message", props=("role",))
_user = _Message("User", props=("role",))
_assistant = _Message("Assistant", props=("role",))


def Message(role: str, *children: object, key: str | int | None = None) -> Element:
    """A message that is part of the tree, not of the record; ``role`` is ``"user"`` or ``"assistant"``.

    Useful for examples that should stand before the conversation.
    """
    if role not in ROLES:
        hint = did_you_mean(str(role), ROLES)
        raise RenderError(f"a message's role must be 'user' or 'assistant', got {role!r}{hint}")
    return _message(*children, key=key, role=role)


def User(*children: object, key: str | int | None = None) -> Element:
    """A user message that is part of the tree, not of the record."""
    return _user(*children, key=key, role="user")


def Assistant(*children: object, key: str | int | None = None) -> Element:
    """An assistant message that is part of the tree, not of the record."""
    return _assistant(*children, key=key, role="assistant")
