"""Pictures and documents on their way to a model: what all APIs take, and how bytes are written."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from nbsession.content import IMAGE_TYPES
from nbsession.errors import ModelError

if TYPE_CHECKING:
    from nbsession.content import Document, Image


def base64_of(data: bytes) -> str:
    """Write bytes as text."""
    return base64.b64encode(data).decode("ascii")


def check_image(image: Image) -> None:
    """Raise ``ModelError`` for a picture of a type that no model takes."""
    if image.media_type not in IMAGE_TYPES:
        raise ModelError(
            f"{image} is of type {image.media_type!r}; models take {', '.join(IMAGE_TYPES)}: convert it to PNG",
            kind="request",
        )


def text_of(document: Document) -> str | None:
    """Return what a document of text says, ``None`` for a PDF; raise ``ModelError`` for any other type."""
    if document.media_type.startswith("text/"):
        return document.data.decode("utf-8", "replace")
    if document.media_type == "application/pdf":
        return None
    raise ModelError(
        f"{document} is of type {document.media_type!r}; models take PDF and text: convert it to one of these",
        kind="request",
    )
