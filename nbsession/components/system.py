"""``System``: a part of the system prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.context import Foldable, Fragment, Part, join_texts, texts_only

if TYPE_CHECKING:
    from nbsession.tree import Fiber


class _System(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        text = join_texts(texts_only(fiber, inner))
        return inner.folded((Part("system", fiber.path, text),) if text else ())


System = _System("System")
System.__doc__ = """A part of the system prompt: ``System(*children)``.

Before the first message it belongs to the system prompt, with the sections
there, in tree order. After the conversation it is trailing context: sent at the
end of the last user turn and never stored, so that the cached prefix is kept.
"""
