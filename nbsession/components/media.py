"""``Image`` and ``Document``: media in the context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.context import Part, tokens_of
from nbsession.fragment import MEDIA, Foldable, Fragment
from nbsession.rich import media

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


def Image(source: Any, *, alt: str = "", key: str | int | None = None) -> Element:
    """A picture: a path, bytes, a URL, a PIL image or a matplotlib figure.

    Stands in a message, or by itself as a user turn. Large pictures are scaled
    down to 1,568 pixels; the limits and the errors are those of
    ``nbsession.rich.media``.
    """
    return _image(key=key, block=media(source, kind="image", label=alt))


def Document(source: Any, *, title: str = "", key: str | int | None = None) -> Element:
    """A document (PDF or plain text): a path, bytes or a URL.

    Stands in a message, or by itself as a user turn.
    """
    return _document(key=key, block=media(source, kind="document", label=title))
