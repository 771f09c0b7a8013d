"""What is sent to a session, as JSON: text, or turns with their blocks."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from nbsession.content import Document, Image, block_from_dict, drafts_of, media
from nbsession.errors import CompileError, SessionError

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

    Pictures and documents are checked as those of a file are: what is sent is what the bytes show, and an address
    is one of the web. Raises ``SessionError`` for a block that cannot be read.
    """
    if isinstance(data, list):
        return [message_from_wire(item) for item in data]
    if not isinstance(data, Mapping):
        return data
    if data.get("type") in _BLOCKS:
        return _block(data)
    if not isinstance(data.get("messages", []), list):
        raise SessionError("the message's 'messages' is no list of turns")
    return {
        name: message_from_wire(value) if name in ("content", "messages") else value
        for name, value in data.items()
    }


def _block(data: Mapping[str, Any]) -> Any:
    try:
        return _media(data) if data["type"] in ("image", "document") else block_from_dict(data)
    except (KeyError, TypeError, ValueError, CompileError) as error:
        raise SessionError(
            f"the message has a block of type {data['type']!r} that cannot be read: {error}; "
            "send it as Block.to_dict() gives it"
        ) from error


def _media(data: Mapping[str, Any]) -> Any:
    """Read a picture or document; a path is none, for it would be one of this machine."""
    url, alt, title = data.get("url") or "", data.get("alt") or "", data.get("title") or ""
    source: Any = url
    if not url:
        source = base64.b64decode(data["data"], validate=True)
    elif not url.lower().startswith(("https://", "http://")):
        raise ValueError(f"its url has to begin with https:// or http://, got {url[:40]!r}")
    read = media(source, alt=alt, title=title, kind=data["type"])
    if not isinstance(read, Image if data["type"] == "image" else Document):
        raise ValueError(f"it holds {read.media_type}")  # noqa: TRY004  # of the value, not of the program
    return read
