"""Sending from a panel: the field for a message, the button, and what comes of it under the panel."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import TYPE_CHECKING, Any

from nbsession.errors import NbsessionError, SessionError
from nbsession.notebook import cell
from nbsession.notebook.view.execution import ExecutionView

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession.notebook.view.place import Place
    from nbsession.session import Execution, Session

SEND = "Send with this"


class Asking:
    """Sends to one session: what stands in the field, or the last message again.

    The answer is shown in the cell that made this, live, in the place of the one
    before. ``refuse`` is told, on the home loop, why nothing was sent.
    """

    def __init__(self, session: Session, refuse: Callable[[str], None]) -> None:
        import ipywidgets as widgets

        self._session = session
        self._home = session.app.home
        self._refuse = refuse
        self._cell = contextvars.copy_context()
        self._shown: Place | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.field = widgets.Text(
            description="message",
            placeholder="the last one again",
            layout={"width": "34rem", "max_width": "98%"},
        )
        self.field.style.description_width = "7rem"
        self.button = widgets.Button(
            description=SEND,
            tooltip="Send the message to the session, under these knobs",
            layout={"width": "max-content"},
        )
        self.button.on_click(lambda _: self._home.post(self._ask))

    def _ask(self) -> None:
        def start() -> None:
            task = asyncio.get_running_loop().create_task(self._see_through(str(self.field.value)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

        # In the context of the cell that shows the panel, so that the answer stands there.
        self._home.settle().call_soon_threadsafe(start, context=self._cell)

    async def _see_through(self, text: str) -> None:
        try:
            execution = self._sent(text)
        except NbsessionError as error:
            self._refuse(str(error))
            return
        self.field.value = ""
        view = ExecutionView(execution)
        self._shown = view.display(self._shown)
        with contextlib.suppress(Exception):  # the view shows it
            await cell.see_through(execution, view)

    def _sent(self, text: str) -> Execution:
        session = self._session
        if text.strip():
            return session.send(text)
        if session.status == "running":
            raise SessionError("the last message is being answered; wait for the end, or stop it")
        last: Any = next((entry for entry in reversed(session.timeline) if entry.role == "user"), None)
        if last is None:
            raise SessionError(f"session {session.id!r} has no message to ask again yet; write one")
        session.rewind(last.parent)
        return session.send(last, metadata=last.metadata)
