"""A panel of knobs that works without a kernel: as an output, as a page, as a module for a book."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nbsession.export.page import document, embedded, fragment, source, style
from nbsession.export.shelf import unfolded

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPTS = ("shared.js", "panel.js")


def panel_part(data: Mapping[str, Any]) -> str:
    """Return the panel as HTML to stand in another page; ``data`` is ``Frozen.to_dict()``."""
    return str(_panel(data, _script()))


def panel_page(data: Mapping[str, Any]) -> str:
    """Return the panel as a whole page."""
    script = _script()
    return document(f"Knobs of session {data['session']}", _panel(data, script), script)


def panel_module(data: Mapping[str, Any]) -> str:
    """Return the panel as an ES module whose default export renders it, as anywidget has it."""
    given = (("style", style()), ("text", embedded(data)))
    lines = [f"const {name} = {embedded(value)};" for name, value in given]
    return "\n".join([*lines, source(*SCRIPTS, "module.js"), ""])


def _script() -> str:
    return source(*SCRIPTS, "start_panel.js")


def _panel(data: Mapping[str, Any], script: str) -> Any:
    current = data["combinations"][data["current"]]
    return fragment(
        "panel.html.j2",
        script,
        data,
        session=data["session"],
        values=[
            (knob["name"], json.dumps(value, ensure_ascii=False))
            for knob, value in zip(data["knobs"], current["values"], strict=True)
        ],
        tokens=current["tokens"],
        withheld=current["withheld"],
        parts=[
            {**data["parts"][at], "text": data["texts"][data["parts"][at]["text"]]}
            for at in unfolded(current["parts"])
        ],
    )
