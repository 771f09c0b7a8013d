"""What a user sets once for a notebook: ``%config Nbsession``."""

from __future__ import annotations

from traitlets import Bool, Int, Unicode
from traitlets.config import Configurable


class Nbsession(Configurable):
    """The notebook's defaults, to be set with ``%config Nbsession.<name> = <value>``."""

    model = Unicode("", help="the model of sessions that are opened without one").tag(config=True)
    max_ticks = Int(0, min=0, help="end each cell after so many model calls; 0: as the app says").tag(
        config=True
    )
    live = Bool(True, help="show responses while they stream; else once they are complete").tag(config=True)
