"""A run under its cell: how far it is and what its arms come to, live, then the report in static form."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nbsession.notebook.experiment import sheet as sheets
from nbsession.notebook.sweep.progress import ProgressLine
from nbsession.notebook.view import templates
from nbsession.notebook.view.display import Output
from nbsession.notebook.view.live import Op, Ui

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.experiment import Run
    from nbsession.notebook.view.place import Place

PAUSE = 0.5
"""Seconds between two times that the arms are summed up anew, at least."""
SHARE = 0.05
"""How much of the time that may take."""


class RunView:
    """Shows one run; see ``SweepView``, which this does as."""

    def __init__(self, run: Run, *, live: bool = True) -> None:
        self._run = run
        self._ui = Ui(live=live)
        self._output = Output(self, live=live)
        self._line = ProgressLine()
        self._laid = sheets.sheet(run, whole=False)
        self._due = 0.0

    def display(self) -> Place | None:
        """Make the output in the calling cell, and return its handle; see ``Output.display``."""
        return self._output.display()

    async def follow(self) -> None:
        """Show the run to its end; then swap to the static form, however it ended."""
        self._output.begin()
        try:
            async for _ in self._run:
                if self._output.has_page:
                    self._output.flush_soon()
                if self._line:
                    self._sum_up()
                    self._line.show(self._laid.state)
            await self._run
        finally:
            self._line.show()
            self._output.finish()

    def static(self) -> dict[str, str]:
        """Return the output as it stands: HTML and plain text."""
        made = sheets.bundle(self._run)
        return {
            **made,
            "text/html": f"{sheets.style()}{sheets.page(sheets.sheet(self._run), self._ui.static())}",
        }

    def html(self) -> str:
        """Return the page; see ``Content``."""
        self._sum_up()
        return sheets.page(self._laid, self._ui)

    def changes(self) -> Sequence[Op]:
        """Return the arms, where they were summed up anew, and how far it is."""
        ops: list[Op] = []
        if self._sum_up():
            ops.append(("put", "tables", str(templates.macro("experiment", "body")(self._laid))))
        return [*ops, ("put", "state", str(templates.macro("experiment", "state")(self._laid)))]

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take what the reader did."""
        if message.get("k") == "stop":
            self._run.abort()
        elif message.get("k") == "open":
            self._ui.open[str(message.get("d"))] = bool(message.get("open"))

    def _sum_up(self) -> bool:
        """Sum the arms up anew, where that is due; of many trials it takes its time."""
        began = time.monotonic()
        if began < self._due:
            return False
        self._laid = sheets.sheet(self._run, whole=False)
        self._due = time.monotonic() + max(PAUSE, (time.monotonic() - began) / SHARE)
        return True
