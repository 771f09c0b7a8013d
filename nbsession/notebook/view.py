"""An execution under its cell: live while it runs, then the same in static form for ever after.

One output an execution. While it runs this output holds a widget; at the end,
however it came, the same output is replaced by HTML, Markdown and plain text,
which read the same without a kernel, and the widget is closed.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbsession.content import new_id
from nbsession.notebook import kernel, templates
from nbsession.notebook.ledger import carries_style, ledger_of
from nbsession.notebook.live import Page, Ui, widget
from nbsession.notebook.summary import as_markdown, as_text
from nbsession.notebook.transcript import Transcript

if TYPE_CHECKING:
    from anywidget import AnyWidget
    from IPython.core.display_functions import DisplayHandle

    from nbsession.events import Event
    from nbsession.execution import Execution
    from nbsession.notebook.pieces import Call

INTERVAL = 1 / 18
"""Seconds between two messages to the page, at least."""

UNHEARD = 0.25
"""Seconds without a word from a page until it is sent everything unasked, then twice as many, and so on."""

UNFINISHED = "(was still running when this was saved)"
WIDGET = "application/vnd.jupyter.widget-view+json"


class ExecutionView:
    """Shows one execution.

    ``quiet`` shows the answer and the footer only; ``raw`` shows it as the
    model wrote it, not as Markdown. Without ``live`` nothing moves until the
    end, for front ends without widgets. Call ``display`` in the cell, then await
    ``follow`` on the execution's home loop.
    """

    def __init__(
        self, execution: Execution, *, quiet: bool = False, raw: bool = False, live: bool = True
    ) -> None:
        self._execution = execution
        self._ui = Ui(live=live, quiet=quiet, raw=raw)
        self._run = Transcript(cell=new_id("cell"))
        self._page = Page(self._run, self._ui)
        self._cell = contextvars.copy_context()
        self._handle: DisplayHandle | None = None
        self._widget: AnyWidget | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unheard: deque[Mapping[str, Any]] = deque()
        self._sent = 0
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._unasked: asyncio.TimerHandle | None = None
        self._viewers: set[str] = set()
        self._over = False

    def display(self) -> DisplayHandle | None:
        """Make the output in the calling cell, and return its handle.

        In a terminal, where an output cannot be replaced, nothing is shown
        before the end, and there is no handle.
        """
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        self._cell = contextvars.copy_context()
        shell = get_ipython()
        if kernel.of(shell) is None:
            self._ui.live = False
            return None
        self._run.cell = kernel.cell_id(shell) or self._run.cell
        bundle: dict[str, Any] = {"text/plain": UNFINISHED}
        if self._ui.live:
            self._widget = widget()
            self._widget.on_msg(self._on_message)
            bundle[WIDGET] = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]  # as IPython has it
        return self._handle

    async def follow(self) -> None:
        """Show the execution's events as they come, to the end; then swap to the static form.

        The swap also happens when this is cancelled, or the execution raises;
        the error goes on to the caller.
        """
        self._loop = asyncio.get_running_loop()
        while self._unheard:
            self._hear(self._unheard.popleft())
        self._announce(UNHEARD)
        try:
            async for event in self._execution:
                self._take(event)
        finally:
            self._finish()

    def static(self) -> dict[str, str]:
        """Return the output as it stands: HTML, Markdown and plain text."""
        style = templates.style() if carries_style(self._run.cell) else ""
        return {
            "text/html": f"{style}{_page(self._ui.static(), self._run)}",
            "text/markdown": as_markdown(self._run),
            "text/plain": as_text(self._run),
        }

    def _take(self, event: Event) -> None:
        if event.type == "execution_start":
            self._open_ledger()
        changes = [self._run.apply(event)]
        if event.type == "tick_context":
            changes += [self._run.remark(text) for text in self._execution.session._core.take_notes()]
        for touched in filter(None, changes):
            if self._widget is not None:
                self._page.touch(touched)
                self._flush_soon()

    def _flush_soon(self) -> None:
        if self._timer is None:
            wait = self._sent_at + INTERVAL - time.monotonic()
            if wait <= 0:
                self._flush()
            else:
                self._timer = asyncio.get_running_loop().call_later(wait, self._flush)

    def _open_ledger(self) -> None:
        """Take up what the notebook shows of the session; this output takes back what stood here before."""
        session = self._execution.session
        ledger = ledger_of(session.id)
        ledger.forget(self._run.cell)
        if ledger.latest is None:
            # The kernel was restarted, or the session spoke elsewhere: the tick before is on record.
            earlier = (tick for tick in reversed(session.ticks) if tick.execution != self._execution.id)
            ledger.latest = next((tick.context for tick in earlier), None)
        self._run.ledger = ledger

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ops = self._page.flush()
        if ops:
            self._sent += 1
            self._sent_at = time.monotonic()
            self._send({"k": "ops", "n": self._sent, "ops": ops})

    def _send(self, message: dict[str, Any]) -> None:
        if self._widget is not None:
            # Published from the home loop's thread, it belongs to the cell that began it.
            self._cell.run(self._widget.send, message)

    def _send_all(self, viewer: object) -> None:
        """Send everything to a view; ``"*"`` is all of them."""
        if self._over:
            html = _page(self._ui.static(), self._run)
        else:
            self._flush()
            html = self._page.html()
        self._send({"k": "all", "for": viewer, "n": self._sent, "html": html})

    def _announce(self, wait: float) -> None:
        """Send everything now and then to a page that may be there: a cell that blocks the kernel hears nobody."""

        def unasked() -> None:
            if not self._viewers:
                self._send_all("*")
                self._announce(2 * wait)

        self._unasked = asyncio.get_running_loop().call_later(wait, unasked)

    def _finish(self) -> None:
        for timer in filter(None, (self._timer, self._unasked)):
            timer.cancel()
        self._run.end()
        self._over = True
        self._cell.run(self._swap)
        if self._widget is not None and len(self._viewers) > 1:
            # A page that was loaded in mid-run cannot match the update with its output (front
            # ends do not save display ids): there, the widget has to go on standing for it.
            self._send_all("*")
        elif self._widget is not None:
            self._cell.run(self._widget.close)

    def _swap(self) -> None:
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        if self._handle is not None:
            self._handle.update(self.static(), raw=True)  # type: ignore[no-untyped-call]  # the same
        elif get_ipython() is not None:
            display(self.static(), raw=True)  # type: ignore[no-untyped-call]  # the same

    def _on_message(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        # Comes on whichever thread the kernel handles messages; state is touched on one loop only.
        if self._loop is None:
            self._unheard.append(content)
        else:
            self._loop.call_soon_threadsafe(self._hear, content)

    def _hear(self, content: Mapping[str, Any]) -> None:
        kind = content.get("k")
        if kind == "hello":
            self._viewers.add(str(content.get("me")))
            self._send_all(content.get("me"))
        elif kind == "stop":
            self._execution.abort()
            self._send({"k": "ack"})
        elif kind == "open":
            self._ui.open[str(content.get("d"))] = bool(content.get("open"))
        elif kind == "answer":
            for call in self._run.calls():
                if call.key == content.get("call") and call.status == "waiting":
                    self._answer(call, approved=content.get("ok") is True)

    def _answer(self, call: Call, *, approved: bool) -> None:
        call.status, call.question = ("running" if approved else "denied"), ""
        self._execution.confirm(call.id, approved)


def _page(ui: Ui, run: Transcript) -> str:
    return str(templates.macro("execution", "page")(ui, run))
