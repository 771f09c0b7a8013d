"""What is sent to a session, as JSON: text, or turns with their blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbsession.content import block_from_dict, drafts_of
from nbsession.errors import SessionError

_BLOCKS = ("text", "image", "document", "tool_call", "tool_result", "thinking", "server_tool")


def message_to_wire(message: Any) -> Any:
    """Return what ``Session.send`` takes as JSON data: text as it is, anything else as a list of turns.

    Pictures, data frames and figures become the blocks that they would be sent as. Raises
    ``SessionError`` for what ``send`` would refuse.
    """
    if isinstance(message, str):
        drafts_of(message)
        return message
    return [
        {"role": draft.role, "content": [block.to_dict() for block in draft.content]}
        for draft in drafts_of(message)
    ]


def message_from_wire(data: Any) -> Any:
    """Return what ``Session.send`` takes, of text, a block, a turn, or a list of these, with blocks as ``to_dict`` gives.

    Raises ``SessionError`` for a block that cannot be read.
    """
    if isinstance(data, list):
        return [message_from_wire(item) for item in data]
    if not isinstance(data, Mapping):
        return data
    if data.get("type") in _BLOCKS:
        return _block(data)
    return {
        name: message_from_wire(value) if name in ("content", "messages") else value
        for name, value in data.items()
    }


def _block(data: Mapping[str, Any]) -> Any:
    usual = {"image": {"data": "", "url": "", "alt": "", "width": 0, "height": 0, "media_type": ""}}
    usual["document"] = {"data": "", "url": "", "title": "", "media_type": ""}
    try:
        return block_from_dict({**usual.get(data["type"], {}), **data})
    except (KeyError, TypeError, ValueError) as error:
        raise SessionError(
            f"the message has a block of type {data['type']!r} that cannot be read: {error!r}; "
            "send it as Block.to_dict() gives it"
        ) from error
