"""A session as files that stand alone: pages, notebooks, scripts and tests.

It knows values only (ticks, contexts, entries); what a session is, stands above it.
"""

from nbsession.export.conversation import Asked, Conversation, Turn, conversation_of
from nbsession.export.file import ending_of, save
from nbsession.export.panel import panel_module, panel_page, panel_part
from nbsession.export.prose import markdown
from nbsession.export.script import Made, Sent, is_nameable, notebook, replayed, script
from nbsession.export.shelf import Shelf, without_room
from nbsession.export.tour import tour

__all__ = [
    "Asked",
    "Conversation",
    "Made",
    "Sent",
    "Shelf",
    "Turn",
    "conversation_of",
    "ending_of",
    "is_nameable",
    "markdown",
    "notebook",
    "panel_module",
    "panel_page",
    "panel_part",
    "replayed",
    "save",
    "script",
    "tour",
    "without_room",
]
