"""``Collapsed``: a summary that the model can open."""

from __future__ import annotations

from typing import Any, cast

from nbsession.context import Foldable, Fragment, Name, Part, ToolUse, Withheld, join_texts, unboxed
from nbsession.errors import CompileError, RenderError, ToolError, did_you_mean
from nbsession.hooks import Environment, environment, use_on_execution_end
from nbsession.tools import tool
from nbsession.tree import Cell, Fiber, component, use_cell, use_state


class _Fold(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        props = fiber.element.props
        if inner.last >= 0:
            raise CompileError(
                f"a message stands inside {fiber.path}; only text and sections can be collapsed",
                path=fiber.path,
            )
        if props["open"]:
            folded = inner.folded(inner.body)
        else:
            hidden = join_texts(item for item in unboxed(inner.body) if isinstance(item, Part))
            text = (
                f"{props['summary']} [collapsed, ≈{inner.tokens} tokens; expand({props['name']!r}) shows it]"
            )
            folded = inner.folded(
                (Part("text", fiber.path, text, key=props["name"]),),
                withheld=(Withheld(fiber.path, "collapsed", hidden, inner.tokens),),
            )
        folded.names = (Name("Collapsed are named", props["name"], fiber.path), *inner.names)
        # Also while it is open: tools stand at the front of a request, and a change there breaks its cached prefix.
        folded.tools = (*inner.tools, props["expand"])
        return folded


_fold = _Fold("Folded", props=("summary", "name", "open", "expand"))


class _Handle(Cell):
    """What ``expand`` finds a mounted ``Collapsed`` by."""

    __slots__ = ("environment", "fiber")

    def __init__(self, fiber: Fiber) -> None:
        self.fiber = fiber
        self.environment = cast("Environment", fiber.root.environment)

    def unmount(self) -> None:
        self.environment.collapsed.pop(self.fiber, None)

    def clone(self, fiber: Fiber) -> _Handle:
        return _Handle(fiber)


@component
def Collapsed(*content: Any, name: str) -> Any:
    """Text that shows only its summary until the model calls ``expand(name)``: ``Collapsed(summary, *children, name=)``.

    The user opens it by ``session.dispatch("expand", name=...)``. It closes again
    when the execution ends. What is collapsed is listed in ``context.withheld``.
    ``name`` has to be unique in the tree.
    """
    if not content or not isinstance(content[0], str) or not content[0]:
        raise RenderError(f"Collapsed(name={name!r}) needs a summary, a text, before what it hides")
    summary, *children = content
    found = environment()
    is_open, set_open = use_state(False)
    use_on_execution_end(lambda: set_open(False))
    handle = use_cell("use_collapsed", _Handle)
    found.collapsed[handle.fiber] = (name, set_open)
    return _fold(*children, summary=summary, name=name, open=is_open, expand=_expand_of(found))


def _expand_of(found: Environment) -> ToolUse:
    """Return the environment's one ``expand`` tool, shared by all that is collapsed."""
    if found.expand is None:

        @tool(thread=False)
        def expand(name: str) -> str:
            """Show what stands behind a collapsed summary in your context.

            Args:
                name: The name that the summary gives.
            """
            openers = dict(found.collapsed.values())
            if name not in openers:
                raise ToolError(f"nothing collapsed is named {name!r}{did_you_mean(name, openers)}")
            openers[name](True)
            return f"{name} is open until the end of this turn."

        found.expand = ToolUse(expand, "Collapsed")
    return found.expand
