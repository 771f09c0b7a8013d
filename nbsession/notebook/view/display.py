"""The one output of something that runs: a widget meanwhile, and its static form for ever after.

While it runs the output holds a widget; at the end, however it came, the same
output is replaced by HTML and plain text, which read the same without a kernel.
A page that was loaded meanwhile cannot match that update with its output, since
front ends do not save display ids: its view of the widget is given the same, to
put it there. So the widget stays open for a while, for a page that comes late.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from nbsession.notebook import kernel
from nbsession.notebook.view.live import Op, widget
from nbsession.notebook.view.place import WIDGET, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anywidget import AnyWidget

INTERVAL = 1 / 18
"""Seconds between two messages to the page, at least."""

UNHEARD = 0.25
"""Seconds without a word from a page until it is sent everything unasked, then twice as many, and so on."""

LATE = 8
"""Outputs that are over and still answer a page that was loaded meanwhile; older ones are closed."""

UNFINISHED = "(was still running when this was saved)"


Finished: TypeAlias = "Callable[[Place, Mapping[str, str]], None]"


class Content(Protocol):
    """What stands in an output."""

    def html(self) -> str:
        """All of the live form, as it stands after the last ``changes``."""

    def changes(self) -> Sequence[Op]:
        """What changed since the last call."""

    def static(self) -> dict[str, str]:
        """The output as it stands, by MIME type."""

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take what the reader did: ``{"k": "stop"}``, ``{"k": "open", …}``."""


class Output:
    """An output and its page; ``content`` is touched on one loop only, from ``begin`` to ``finish``.

    ``finished`` is called with the output's place and static form, where it has a place.
    """

    def __init__(self, content: Content, *, live: bool, finished: Finished | None = None) -> None:
        self._content = content
        self._finished = finished
        self._live = live
        self._cell = contextvars.copy_context()
        self.place: Place | None = None
        self._widget: AnyWidget | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unheard: deque[Mapping[str, Any]] = deque()
        self._sent = 0
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._unasked: asyncio.TimerHandle | None = None
        self._viewers: set[str] = set()

    @property
    def has_page(self) -> bool:
        """Whether changes reach a page before the end."""
        return self._widget is not None

    def display(self, place: Place | None = None) -> Place | None:
        """Make the output in the calling cell, or in the ``place`` of an earlier one, and return where it stands.

        In a terminal, where an output cannot be replaced, nothing is shown
        before the end, and there is no such place.
        """
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        self._cell = contextvars.copy_context()
        if kernel.of(get_ipython()) is None:
            return None
        bundle: dict[str, Any] = {"text/plain": UNFINISHED}
        if self._live:
            self._widget = widget()
            self._widget.on_msg(self._on_message)
            bundle[WIDGET] = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        if place is not None:
            place.begin(bundle)
        else:
            place = Place(display(bundle, raw=True, display_id=True))  # type: ignore[no-untyped-call]  # as IPython has it
        self.place = place
        return place

    def begin(self) -> None:
        """Listen to the page, on the loop that runs."""
        self._loop = asyncio.get_running_loop()
        while self._unheard:
            self._hear(self._unheard.popleft())
        self._announce(UNHEARD)

    def flush_soon(self) -> None:
        """Send what changed, now or as soon as the page may take more."""
        if self._timer is None:
            wait = self._sent_at + INTERVAL - time.monotonic()
            if wait <= 0:
                self._flush()
            else:
                self._timer = asyncio.get_running_loop().call_later(wait, self._flush)

    def finish(self) -> None:
        """Swap to the static form."""
        for timer in filter(None, (self._timer, self._unasked)):
            timer.cancel()
        static = self._content.static()
        self._cell.run(self._swap, static)
        if self._finished is not None and self.place is not None:
            self._finished(self.place, static)
        if self._widget is not None and self._loop is not None:
            self._widget.on_msg(self._on_message, remove=True)
            end = End(self._widget, static, self._cell, self._loop)
            if len(self._viewers) > 1:
                end.send("*")
            _ends.append(end)
            if len(_ends) > LATE:
                _ends.popleft().close()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ops = self._content.changes()
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
        self._flush()
        self._send({"k": "all", "for": viewer, "n": self._sent, "html": self._content.html()})

    def _announce(self, wait: float) -> None:
        """Send everything now and then to a page that may be there: a cell that blocks the kernel hears nobody."""

        def unasked() -> None:
            if not self._viewers:
                self._send_all("*")
                self._announce(2 * wait)

        self._unasked = asyncio.get_running_loop().call_later(wait, unasked)

    def _swap(self, static: dict[str, str]) -> None:
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        if self.place is not None:
            self.place.finish(static)
        elif get_ipython() is not None:
            display(static, raw=True)  # type: ignore[no-untyped-call]  # the same

    def _on_message(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        # Comes on whichever thread the kernel handles messages; state is touched on one loop only.
        if self._loop is None:
            self._unheard.append(content)
        else:
            self._loop.call_soon_threadsafe(self._hear, content)

    def _hear(self, message: Mapping[str, Any]) -> None:
        if message.get("k") == "hello":
            self._viewers.add(str(message.get("me")))
            self._send_all(message.get("me"))
            return
        self._content.hear(message)
        if message.get("k") == "stop":
            self._send({"k": "ack"})


class End:
    """What is left of an output that is over: the end, for a page that has the widget in its place still."""

    def __init__(
        self,
        widget: AnyWidget,
        static: Mapping[str, str],
        cell: contextvars.Context,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._widget = widget
        self._static = static
        self._cell = cell
        self._stands = False
        widget.on_msg(lambda _widget, message, _buffers: loop.call_soon_threadsafe(self._hear, message))

    def send(self, viewer: object) -> None:
        """Send it to a view; ``"*"`` is all of them."""
        end = {"k": "end", "for": viewer, "id": self._widget.model_id, "data": self._static}
        self._cell.run(self._widget.send, end)

    def close(self) -> None:
        """Close the widget, unless a page that could not replace it shows it still."""
        if not self._stands:
            self._cell.run(self._widget.close)

    def _hear(self, message: Mapping[str, Any]) -> None:
        kind = message.get("k")
        if kind == "hello":
            self.send(message.get("me"))
        elif kind == "stands":
            self._stands = True
        elif kind == "stop":  # pressed just as it ended
            self._cell.run(self._widget.send, {"k": "ack"})


_ends: deque[End] = deque()
