"""What may be sent, brought into one form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nbsession.content.blocks import Block, Role, Text, ToolCall, ToolResult
from nbsession.content.entry import Entry
from nbsession.content.rich import message_content
from nbsession.errors import SessionError


class Draft(NamedTuple):
    """A message that is not in the timeline yet."""

    role: Role
    content: tuple[Block, ...]


def drafts_of(message: Any) -> list[Draft]:
    """Read a message as ``send`` takes it.

    A string, an entry, a list of content (text, images, data frames, figures),
    ``{"role", "content"}``, a list of those, or ``{"messages": [...]}``. Raises
    ``SessionError`` for anything else and for a message without content.
    """
    drafts = _drafts(message)
    _check_calls(drafts)
    for draft in drafts:
        if not any(not isinstance(block, Text) or block.text.strip() for block in draft.content):
            raise SessionError(
                "the message is empty; write some text, or use session.render() to run without one"
            )
    return drafts


def _check_calls(drafts: Sequence[Draft]) -> None:
    """Refuse tool results without their calls; calls without results are answered when they are sent."""
    calls: list[str] = []
    for draft in drafts:
        results = [block.call_id for block in draft.content if isinstance(block, ToolResult)]
        if results and results != calls:
            raise SessionError(
                f"the message has results of the tool calls {results}, but the entry before it made the calls {calls}; "
                "send calls and results together, in the same order"
            )
        calls = [block.id for block in draft.content if isinstance(block, ToolCall)]


def digest_of(drafts: Sequence[Draft]) -> str:
    """Return a hash of what is sent, to tell the same request from another of its id."""
    data = [[draft.role, [block.to_dict() for block in draft.content]] for draft in drafts]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _drafts(message: Any) -> list[Draft]:
    if isinstance(message, Entry):
        return [Draft(message.role, message.content)]
    if isinstance(message, Mapping):
        if "messages" in message:
            return _drafts(list(message["messages"]))
        return [_from_mapping(message)]
    if isinstance(message, (list, tuple)) and message and all(_is_message(item) for item in message):
        return [draft for item in message for draft in _drafts(item)]
    return [Draft("user", message_content("user", message))]


def _is_message(item: Any) -> bool:
    return isinstance(item, Entry) or (isinstance(item, Mapping) and "role" in item)


def _from_mapping(message: Mapping[str, Any]) -> Draft:
    if "content" not in message:
        raise SessionError(f"a message needs 'content', got the keys {sorted(message)}")
    role = message.get("role", "user")
    if role not in ("user", "assistant"):
        raise SessionError(f"a message's role must be 'user' or 'assistant', got {role!r}")
    return Draft(role, message_content(role, message["content"]))
