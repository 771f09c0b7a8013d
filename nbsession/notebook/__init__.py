"""The notebook: the extension, its magics, and how an execution is shown.

Nothing here is loaded by ``import nbsession``; ``%load_ext nbsession`` loads
what a cell needs, and the first display loads the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbsession.session import Session

__all__ = ["inspect"]


def inspect(session: Session) -> None:
    """Display one panel over a session: a scrubber over its ticks, each with context, components, tools and answer.

    In JupyterLab, *Create New View for Output* in the menu of the output puts it beside the
    notebook. Without a kernel that shows widgets it is the last tick in static form.
    """
    from nbsession.notebook.panels import inspector

    inspector.inspect(session)
