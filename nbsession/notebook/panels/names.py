"""Names for controls whose front end gives them none, for those who hear a page instead of seeing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.notebook.view import templates

if TYPE_CHECKING:
    from anywidget import AnyWidget


def names() -> AnyWidget:
    """Make the widget that names the sliders of the panel it stands in; nothing is seen of it."""
    from anywidget import AnyWidget

    global _Names
    if _Names is None:
        _Names = type("Names", (AnyWidget,), {"_esm": templates.source("names.js")})
    made: AnyWidget = _Names()
    return made


_Names: Any = None
