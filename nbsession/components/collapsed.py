"""``Collapsed``: a summary that the model can open."""

from __future__ import annotations

from typing import Any

from nbsession.context import Part, Withheld
from nbsession.errors import RenderError, ToolError, did_you_mean
from nbsession.fragment import Foldable, Fragment, ToolUse, join_texts, texts_only
from nbsession.hooks import Environment, environment, use_on_execution_end
from nbsession.tools import tool
from nbsession.tree import Element, Fiber, component, current, use_effect, use_state


class _Fold(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        props = fiber.element.props
        if props["open"]:
            return inner
        hidden = join_texts(texts_only(fiber, inner))
        name, tokens = props["name"], sum([item.tokens for item in inner.body])
        text = f"{props['summary']} [collapsed, ≈{tokens} tokens; expand({name!r}) shows it]"
        folded = inner.folded(
            (Part("text", fiber.path, text, key=name),),
            withheld=(Withheld(fiber.path, "collapsed", hidden, tokens),),
        )
        folded.tools = (*inner.tools, props["expand"])
        return folded


_fold = _Fold("Fold", props=("summary", "name", "open", "expand"))


@component
def _Collapsed(*children: Any, summary: str, name: str) -> Any:
    found = environment()
    is_open, set_open = use_state(False)
    use_on_execution_end(lambda: set_open(False))
    path = current().path
    other = found.collapsed.get(name)
    if other is not None and other[0] != path:
        raise RenderError(f"two Collapsed are named {name!r}: one at {other[0]}, one at {path}", path=path)
    found.collapsed[name] = (path, set_open)

    def leave() -> None:
        found.collapsed.pop(name, None)

    use_effect(lambda: leave, [name])
    return _fold(*children, summary=summary, name=name, open=is_open, expand=_expand_of(found))


def Collapsed(summary: str, *children: Any, name: str, key: str | int | None = None) -> Element:
    """Text that shows only its summary until the model calls ``expand(name)``, or the user opens it.

    It closes again when the execution ends. What is collapsed is listed in
    ``context.withheld``. ``name`` has to be unique in the tree.
    """
    return _Collapsed(*children, key=key, summary=summary, name=name)


def _expand_of(found: Environment) -> ToolUse:
    """Return the environment's one ``expand`` tool, shared by all that is collapsed."""
    if found.expand is None:

        @tool(thread=False)
        def expand(name: str) -> str:
            """Show what stands behind a collapsed summary in your context.

            Args:
                name: The name that the summary gives.
            """
            if name not in found.collapsed:
                raise ToolError(f"nothing collapsed is named {name!r}{did_you_mean(name, found.collapsed)}")
            found.collapsed[name][1](True)
            return f"{name} is open until the end of this turn."

        found.expand = ToolUse(expand, "Collapsed")
    return found.expand
