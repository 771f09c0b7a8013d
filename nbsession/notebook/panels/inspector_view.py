"""The inspector's widget: it carries what the page and the kernel say to each other, and has no state of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.notebook.view import templates

if TYPE_CHECKING:
    from anywidget import AnyWidget


def inspector_view() -> AnyWidget:
    """Make the widget; its module is loaded at the first use, with what it needs."""
    from anywidget import AnyWidget

    global _InspectorView
    if _InspectorView is None:
        script, *sheets = (
            templates.source(name)
            for name in ("inspector.js", "view.css", "inspector.css", "side_by_side.css")
        )
        _InspectorView = type("InspectorView", (AnyWidget,), {"_esm": script, "_css": "".join(sheets)})
    made: AnyWidget = _InspectorView()
    return made


_InspectorView: Any = None
