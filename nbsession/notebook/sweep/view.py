"""A sweep under its cell: rows fill in as they are answered, then the same in static form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.notebook.sweep import table as sweep_table
from nbsession.notebook.sweep.progress import ProgressLine
from nbsession.notebook.view import templates
from nbsession.notebook.view.display import Output
from nbsession.notebook.view.live import Op, Ui

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.notebook.sweep.request import SweepRequest
    from nbsession.notebook.sweep.table import Grid
    from nbsession.notebook.view.place import Place
    from nbsession.session import Sweep


def begin(request: SweepRequest, contexts: Sweep) -> tuple[Sweep, ProgressLine]:
    """Say on a line of the terminal how far a sweep is, then send: its answers may come at once."""
    line = ProgressLine()
    line.show(sweep_table.state(contexts))
    try:
        return request.send(), line
    except BaseException:
        line.show()  # it is free for the error
        raise


class SweepView:
    """Shows one sweep.

    Without ``live`` nothing moves until the end, for front ends without widgets; a ``line``
    of the terminal says how far it is after each answer.
    Call ``display`` in the cell, then await ``follow`` on the session's home loop.
    """

    def __init__(self, sweep: Sweep, *, live: bool = True, line: ProgressLine | None = None) -> None:
        self._sweep = sweep
        self._ui = Ui(live=live)
        self._output = Output(self, live=live)
        self._shown: list[str] = []
        self._columns = False
        self._line = line
        self._note(sweep_table.summed(sweep))

    def display(self) -> Place | None:
        """Make the output in the calling cell, and return its handle; see ``Output.display``."""
        return self._output.display()

    async def follow(self) -> None:
        """Show the rows as they are answered, to the end; then swap to the static form, however it ended."""
        self._output.begin()
        try:
            async for _ in self._sweep:
                if self._output.has_page:
                    self._output.flush_soon()
                self._tell()
            await self._sweep
        finally:
            if self._line is not None:
                self._line.show()
            self._output.finish()

    def _tell(self) -> None:
        if self._line:
            grid = sweep_table.summed(self._sweep)
            self._line.show(grid.state, grid.total if grid.answers else "")

    def static(self) -> dict[str, str]:
        """Return the output as it stands: HTML and plain text."""
        page = sweep_table.page(sweep_table.laid_out(self._sweep), self._ui.static())
        return {**sweep_table.bundle(self._sweep), "text/html": f"{sweep_table.style()}{page}"}

    def html(self) -> str:
        """Return the page; see ``Content``."""
        grid = sweep_table.laid_out(self._sweep)
        self._note(grid)
        return sweep_table.page(grid, self._ui)

    def changes(self) -> Sequence[Op]:
        """Return the rows whose state changed since the last call, and how far it is."""
        grid, before, columns = sweep_table.summed(self._sweep), self._shown, self._columns
        self._note(grid)
        if self._columns != columns:
            ops = [_put("table", "table", self._ui, sweep_table.laid_out(self._sweep))]
        else:
            new = [n for n, (old, now) in enumerate(zip(before, self._shown, strict=True)) if old != now]
            lines = [sweep_table.line(self._sweep, number) for number in new]
            ops = [_put(line.key, "row", self._ui, grid, line) for line in lines]
        return [*ops, _put("state", "state", grid), _put("total", "total", grid)]

    def _note(self, grid: Grid) -> None:
        """Remember what the page shows after this."""
        self._shown = [row.status for row in self._sweep.rows[: sweep_table.MOST_ROWS]]
        self._columns = grid.sources

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take what the reader did."""
        if message.get("k") == "stop":
            self._sweep.abort()
        elif message.get("k") == "open":
            self._ui.open[str(message.get("d"))] = bool(message.get("open"))


def _put(slot: str, macro: str, *values: object) -> Op:
    return "put", slot, str(templates.macro("sweep", macro)(*values))
