"""``Section``: a titled block of context."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from nbsession.context import Foldable, Fragment, Name, Part, Withheld, join_texts, mode_of, texts_only
from nbsession.errors import RenderError

if TYPE_CHECKING:
    from nbsession.tree import Fiber

AUDIENCES = ("model", "user", "all")


class _Section(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        props = fiber.element.props
        audience = props.get("audience", "model")
        if audience not in AUDIENCES:
            raise RenderError(
                f"{fiber.path}: audience must be one of {', '.join(map(repr, AUDIENCES))}, got {audience!r}",
                path=fiber.path,
            )
        for name in ("id", "title"):
            if not isinstance(value := props.get(name), str | None):
                raise RenderError(
                    f"{fiber.path}: Section({name}=) must be text, got {value!r}; write {name}=str(…)",
                    path=fiber.path,
                )
        body = join_texts(texts_only(fiber, inner))
        if not body:
            return inner.folded(())
        path = fiber.path
        title, key = props.get("title") or "", props.get("id") or ""
        text = _heading(fiber, title, key, body)
        folded = inner.folded(())
        if key:
            folded.names = (Name("sections have the id", key, path), *inner.names)
        part = Part("section", path, text, key=key, title=title or key, body=body)
        if audience == "user":
            folded.withheld = (*inner.withheld, Withheld(path, "user audience", text, part.tokens))
            return folded
        folded.body, folded.tokens = (part,), part.tokens
        return folded


def _heading(fiber: Fiber, title: str, key: str, body: str) -> str:
    if mode_of(fiber) == "xml":
        attributes = [
            f' {name}="{escape(value)}"' for name, value in (("id", key), ("title", title)) if value
        ]
        return f"<section{''.join(attributes)}>\n{body}\n</section>"
    if not title:
        return body
    return f"{'#' * (2 + _depth(fiber))} {title}\n\n{body}"


def _depth(fiber: Fiber) -> int:
    """Count the titled sections around a fiber, so that nested headings step down."""
    depth, at = 0, fiber.parent
    while at is not None:
        if at.type is Section and at.element.props.get("title"):
            depth += 1
        at = at.parent
    return min(depth, 4)


Section = _Section("Section", props=("id", "title", "audience"), key_prop="id")
Section.__doc__ = """A titled block of context: ``Section(*children, id=, title=, audience="model")``.

In Markdown it compiles to ``## title`` and its body, in XML to ``<section id
title>``; without a title to its body alone. ``audience="user"`` is shown to the
user and withheld from the model. Its ``id`` is its key; two sections with one id
in one tree are an error. An empty section compiles to nothing.
"""
