"""A session as files that stand alone: pages, notebooks, scripts and tests.

It knows values only (ticks, contexts, entries); what a session is, stands above it.
"""

from nbsession.export.file import ending_of, save
from nbsession.export.panel import panel_module, panel_page, panel_part
from nbsession.export.shelf import Shelf

__all__ = ["Shelf", "ending_of", "panel_module", "panel_page", "panel_part", "save"]
