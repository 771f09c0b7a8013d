"""``Knobs``: the knobs as the model sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.components.section import Section
from nbsession.errors import KnobError, ToolError
from nbsession.hooks import environment, use_knob_names
from nbsession.tools import tool
from nbsession.tree import component

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@component
def Knobs(render: Callable[[Mapping[str, Any]], Any] | None = None) -> Any:
    """The knobs as the model sees them, with the ``set_knob`` tool; nothing where there are none.

    ``render(values)`` takes over what stands in the context (a node); the tool
    stays.
    """
    names = use_knob_names()
    if not names:
        return None
    found = environment()
    knobs = found.knobs

    @tool(thread=False)
    def set_knob(name: str, value: str | float | bool) -> str:
        """Set one of the knobs listed under "Knobs" in your context.

        Args:
            name: The knob's name.
            value: The new value, within the knob's limits.
        """
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # read as a float, it would be quoted as one
        try:
            knobs.set(name, value, by="model")
        except KnobError as error:
            raise ToolError(str(error)) from error
        return f"{name} is now {knobs[name]!r}."

    if render is not None:
        return [render({name: knobs[name] for name in names}), set_knob]
    specs = knobs.specs()
    lines = [f"- {specs[name].describe(knobs[name])}" for name in names]
    return [Section("\n".join(lines), id="knobs", title="Knobs"), set_knob]
