"""The control for a knob: which widget, with which limits, by the knob's spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.content import mathematics
from nbsession.tree import unchanged

if TYPE_CHECKING:
    from ipywidgets import Widget

    from nbsession.knobs import KnobSpec

FEW = 4
"""Options up to which they stand side by side instead of in a list."""

FEW_CHARACTERS = 36
STEPS = 100
"""Steps of a slider whose knob names none."""


def control(spec: KnobSpec, value: Any) -> Widget:
    """Make the widget that sets a knob, standing at ``value``.

    A slider where both limits are known, a field where they are not; buttons
    for a few options, a list for many; a text counts when it is committed.
    """
    import ipywidgets as widgets

    made: Widget
    shared: dict[str, Any] = {**_named(spec.name), "tooltip": spec.description or spec.name}
    if spec.kind == "bool":
        made = widgets.Checkbox(value=value, **shared)
    elif spec.kind == "choice":
        made = _choice(spec, value, shared)
    elif spec.kind in ("int", "float"):
        made = _number(spec, value, shared)
    else:
        made = widgets.Text(value=str(value), continuous_update=False, **shared)
    made.style.description_width = "7rem"
    if not isinstance(made, widgets.ToggleButtons):
        made.layout.width = "34rem"
    made.layout.max_width = "98%"
    return made


def label(text: str) -> Widget:
    """Make a line of text, which is not typeset."""
    import ipywidgets as widgets

    made = widgets.Label(text)
    for name in mathematics.IGNORED.split():
        made.add_class(name)
    return made


def _named(name: str) -> dict[str, Any]:
    """Return the options of a control that give it its knob's name; it would be typeset where it has such signs."""
    if "$" not in name and "\\" not in name:
        return {"description": name}
    return {"description": mathematics.left_alone(name), "description_allow_html": True}


def _choice(spec: KnobSpec, value: Any, shared: dict[str, Any]) -> Widget:
    import ipywidgets as widgets

    options = list(zip(spec.labels, spec.options, strict=True))
    if len(options) <= FEW and sum(len(label) for label, _ in options) <= FEW_CHARACTERS:
        buttons = widgets.ToggleButtons(options=options, index=place(spec, value), **shared)
        buttons.style.button_width = "auto"
        return buttons
    return widgets.Dropdown(options=options, index=place(spec, value), **shared)


def place(spec: KnobSpec, value: Any) -> int:
    """Return where a choice stands among its options, by which its control is moved: to widgets ``True`` is 1."""
    return next(at for at, option in enumerate(spec.options) if unchanged(option, value))


def _number(spec: KnobSpec, value: Any, shared: dict[str, Any]) -> Widget:
    import ipywidgets as widgets

    whole = spec.kind == "int"
    low, high = spec.min, spec.max
    if low is not None and high is not None:
        step = spec.step or (1 if whole else (high - low) / STEPS)
        if whole:
            return widgets.IntSlider(value=value, min=low, max=high, step=step, **shared)
        return widgets.FloatSlider(
            value=value, min=low, max=high, step=step, readout_format=f".{_decimals(step)}f", **shared
        )
    shared["continuous_update"] = False
    if spec.step is not None:
        shared["step"] = spec.step
    return widgets.IntText(value=value, **shared) if whole else widgets.FloatText(value=value, **shared)


def _decimals(step: float) -> int:
    text = f"{step:.6f}".rstrip("0")
    return max(1, len(text.partition(".")[2]))
