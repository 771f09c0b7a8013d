"""What a server answers to a call, as content for a model."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from nbsession.content import Rich, Text, bounded, result_content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_PICTURES = 20
"""Pictures and documents of one answer that a model is given."""


def content_of(result: Any) -> list[Rich]:
    """Return an answer's content: text (all of it bounded as one tool's text is), pictures and documents in their places.

    Structured content is said as JSON where no text says the same; sound is told of, and not given.
    """
    texts = [block.text for block in result.content if block.type == "text"]
    pieces = [piece for block in result.content for piece in _pieces(block)]
    if result.structured_content is not None and not _says(texts, result.structured_content):
        pieces.append(Text(json.dumps(result.structured_content, ensure_ascii=False, separators=(",", ":"))))
    return list(_joined(pieces))


def text_of(result: Any) -> str:
    """Return what an answer says, without its pictures."""
    return "\n".join(str(piece) for piece in content_of(result) if isinstance(piece, Text))


def _pieces(block: Any) -> Iterator[Rich]:
    if block.type == "text":
        yield Text(block.text)
    elif block.type == "image":
        yield from _of_data(block.data, block.mime_type)
    elif block.type == "audio":
        yield Text(f"(sound, {block.mime_type}, ≈{len(block.data) * 3 // 4:,} bytes: not given to the model)")
    elif block.type == "resource_link":
        about = f": {block.description}" if block.description else ""
        yield Text(f"[{block.title or block.name}]({block.uri}){about}")
    elif block.type == "resource":
        resource = block.resource
        text = getattr(resource, "text", None)
        yield Text(f"{resource.uri}:" if text is None else f"{resource.uri}:\n{text}")
        if text is None:
            yield from _of_data(resource.blob, resource.mime_type or "data")
    else:
        yield Text(f"({block.type}: not given to the model)")


def _of_data(data: str, kind: str) -> Iterator[Rich]:
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        yield Text(f"({kind}: its data cannot be read)")
    else:
        yield from result_content(decoded)


def _says(texts: Iterable[str], structured: Any) -> bool:
    """Say whether one of the texts is the structured content."""
    for text in texts:
        try:
            if json.loads(text) == structured:
                return True
        except (ValueError, RecursionError):
            continue
    # A list, or a value, is wrapped by SDKs, which then say its items.
    return isinstance(structured, dict) and structured.keys() == {"result"} and bool(list(texts))


def _joined(pieces: Iterable[Rich]) -> Iterator[Rich]:
    """Join neighbouring texts, bound what all of them say together, and count the pictures."""
    texts: list[str] = []
    pictures = 0
    for piece in pieces:
        if isinstance(piece, Text):
            texts.append(piece.text)
            continue
        pictures += 1
        if pictures > MOST_PICTURES:
            continue
        if texts:
            yield Text(bounded("\n".join(texts)))
            texts = []
        yield piece
    if pictures > MOST_PICTURES:
        texts.append(f"({pictures - MOST_PICTURES} more pictures: not given to the model)")
    if texts or not pictures:
        yield Text(bounded("\n".join(texts)) or "done")
