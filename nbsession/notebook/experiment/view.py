"""A run under its cell: how far it is and what its arms come to, live, then the report in static form."""

from __future__ import annotations

import asyncio
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

SHARE = 0.05
"""How much of the time it may take to sum the arms up anew."""


def show(laid: sheets.Sheet) -> None:
    """Display something that is laid out."""
    from IPython.display import display

    display(sheets.bundle(laid), raw=True)  # type: ignore[no-untyped-call]  # IPython does not type it


class RunView:
    """Shows one run, which goes by ``name`` in the notebook; see ``SweepView``, which this does as."""

    def __init__(self, run: Run, *, live: bool = True, name: str | None = None) -> None:
        self._run = run
        self._name = name
        self._ui = Ui(live=live)
        self._output = Output(self, live=live)
        self._line = ProgressLine()
        self._laid = sheets.sheet(run, whole=False)
        self._due = 0.0
        self._later: asyncio.TimerHandle | None = None

    def display(self) -> Place | None:
        """Make the output in the calling cell, and return its handle; see ``Output.display``."""
        return self._output.display()

    async def follow(self) -> None:
        """Show the run to its end; then swap to the static form, however it ended."""
        self._output.begin()
        try:
            async for _ in self._run:
                if self._output.has_page:
                    self._flush_when_due()
                if self._line and time.monotonic() >= self._due:
                    self._sum_up()
                    self._line.show(self._laid.state)
            await self._run
        finally:
            if self._later is not None:
                self._later.cancel()
            self._line.show()
            self._output.finish()

    def _flush_when_due(self) -> None:
        """Send the page what changed; soon after the last trial of several, too."""
        if self._later is None:
            wait = max(0.0, self._due - time.monotonic())
            self._later = asyncio.get_running_loop().call_later(wait, self._flush)

    def _flush(self) -> None:
        self._later = None
        self._output.flush_soon()

    def static(self) -> dict[str, str]:
        """Return the output as it stands: HTML and plain text."""
        return sheets.bundle(sheets.sheet(self._run, name=self._name), self._ui.static())

    def html(self) -> str:
        """Return the page; see ``Content``."""
        return sheets.page(self._laid, self._ui)

    def changes(self) -> Sequence[Op]:
        """Return the arms, summed up anew, and how far it is."""
        self._sum_up()
        table, state = templates.macro("tables", "body"), templates.macro("experiment", "state")
        return [("put", "tables", str(table(self._laid.tables[0]))), ("put", "state", str(state(self._laid)))]

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take what the reader did."""
        if message.get("k") == "stop":
            self._run.abort()
        elif message.get("k") == "open":
            self._ui.open[str(message.get("d"))] = bool(message.get("open"))

    def _sum_up(self) -> None:
        """Sum the arms up anew; of many trials that takes its time, and is not due again at once."""
        began = time.monotonic()
        self._laid = sheets.sheet(self._run, whole=False)
        ended = time.monotonic()
        self._due = ended + (ended - began) / SHARE
