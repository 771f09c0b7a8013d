"""``Model``: the tree chooses the model and its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.context import Foldable, Fragment, ModelChoice
from nbsession.errors import RenderError

if TYPE_CHECKING:
    from nbsession.tree import Element, Fiber


class _Model(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        props = fiber.element.props
        return Fragment(models=(ModelChoice(props["model"], props["settings"], fiber.path),))


_model = _Model("Model", props=("model", "settings"))


def Model(model: Any = None, *, key: str | int | None = None, **settings: Any) -> Element:
    """Choose the model for this tick, and its settings (``max_tokens=``, ``effort=``, …), from inside the tree.

    ``model`` is a name as ``nbsession.models.resolve`` takes it, or an adapter;
    ``None`` leaves the choice to the session and only adds settings. Where several
    stand in one tree, the later one's model and settings win. ``send(model=)`` wins
    over the tree, the tree over session and app.
    """
    if model is not None and not isinstance(model, str) and not hasattr(model, "stream"):
        raise RenderError(
            f"Model() takes a model's name or an adapter, got {type(model).__name__}: {model!r}"
        )
    return _model(key=key, model=model, settings=settings)
