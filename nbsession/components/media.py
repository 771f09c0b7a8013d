"""``Image`` and ``Document``: media in the context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.content import blocks as content
from nbsession.content import media
from nbsession.context import MEDIA, Foldable, Fragment, Part, tokens_of
from nbsession.errors import RenderError

if TYPE_CHECKING:
    from nbsession.tree import Element, Fiber


class _Media(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        block = fiber.element.props["block"]
        part = Part(
            "message",
            fiber.path,
            str(block),
            title=MEDIA,
            role="user",
            blocks=(block,),
            tokens=tokens_of((block,)),
        )
        return inner.folded((part,))


_image = _Media("Image", props=("block",))
_document = _Media("Document", props=("block",))


def Image(
    source: Any = None, *, alt: str = "", file_id: str | None = None, key: str | int | None = None
) -> Element:
    """A picture: a path, bytes, a URL, a PIL image or a matplotlib figure.

    Stands in a message, or by itself as a user turn. A component draws its figure with
    ``matplotlib.figure.Figure()``: pyplot's is shared between threads, so a notebook
    refuses it while a component renders. Large pictures are scaled
    down to 1,568 pixels; the limits and the errors are those of
    ``nbsession.content.rich.media``. In place of a source, ``file_id`` names a file that was
    uploaded to the model's provider; another provider's model refuses it.
    """
    if file_id is not None:
        return _image(key=key, block=content.Image("", alt=alt, file_id=_id(file_id, source, "Image")))
    return _image(key=key, block=_of(content.Image, "Image", media(source, alt=alt)))


def Document(
    source: Any = None, *, title: str = "", file_id: str | None = None, key: str | int | None = None
) -> Element:
    """A document (PDF or plain text): a path, bytes or a URL.

    Stands in a message, or by itself as a user turn. ``file_id`` is as in ``Image``.
    """
    if file_id is not None:
        document = content.Document("", title=title, file_id=_id(file_id, source, "Document"))
        return _document(key=key, block=document)
    return _document(
        key=key, block=_of(content.Document, "Document", media(source, title=title, kind="document"))
    )


def _id(file_id: str, source: Any, name: str) -> str:
    if source is not None:
        raise RenderError(f"{name}() takes a source or a file_id, got both: {source!r:.80} and {file_id!r}")
    if not file_id:
        raise RenderError(f"{name}(file_id=) takes the id of a file at the provider, got {file_id!r}")
    return file_id


def _of(kind: type, name: str, block: content.Image | content.Document) -> content.Image | content.Document:
    if not isinstance(block, kind):
        other = "Document" if name == "Image" else "Image"
        raise RenderError(f"{name}() was given a {block.media_type}; use {other}() for it")
    return block
