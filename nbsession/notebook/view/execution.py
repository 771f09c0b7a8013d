"""An execution under its cell: live while it runs, then the same in static form for ever after."""

from __future__ import annotations

from hashlib import blake2s
from typing import TYPE_CHECKING, Any, cast

from nbsession.content import new_id
from nbsession.errors import NbsessionError, ToolError
from nbsession.events import BreakpointReached, TickContext
from nbsession.notebook import kernel
from nbsession.notebook.view import templates
from nbsession.notebook.view.arguments_form import faults_in, filled, read, with_faults
from nbsession.notebook.view.bounds import ANSWER_CHARACTERS, bounded
from nbsession.notebook.view.desk import desk
from nbsession.notebook.view.display import Output
from nbsession.notebook.view.fields import texts_in
from nbsession.notebook.view.ledger import carries_style, ledger_of
from nbsession.notebook.view.live import Op, Page, Ui
from nbsession.notebook.view.sources import Sources
from nbsession.notebook.view.summary import PLAIN, as_markdown, as_text
from nbsession.notebook.view.transcript import Touched, Transcript
from nbsession.usage import window_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.events import Event
    from nbsession.notebook.view.display import Finished
    from nbsession.notebook.view.pieces import Call
    from nbsession.notebook.view.place import Place
    from nbsession.session import Execution, Session


class ExecutionView:
    """Shows one execution.

    ``quiet`` shows the answer and the footer only; ``raw`` shows it as the
    model wrote it, not as Markdown. Without ``live`` nothing moves until the
    end, for front ends without widgets; ``finished`` is called with where it stands and the static form. Call ``display`` in the cell, then await
    ``follow`` on the execution's home loop.
    """

    def __init__(
        self,
        execution: Execution,
        *,
        quiet: bool = False,
        raw: bool = False,
        live: bool = True,
        finished: Finished | None = None,
    ) -> None:
        self._execution = execution
        self._ui = Ui(live=live, quiet=quiet, raw=raw)
        self._run = Transcript(cell=new_id("cell"))
        self._page = Page(self._run, self._ui)
        self._output = Output(self, live=live, finished=finished)
        self._alone = False  # whether plain text is all that is shown, as in a terminal

    def display(self, place: Place | None = None) -> Place | None:
        """Make the output in the calling cell, or in an earlier one's place; see ``Output.display``."""
        from IPython.core.getipython import get_ipython

        self._run.cell = kernel.cell_id(get_ipython()) or self._run.cell
        made = self._output.display(place)
        self._alone = made is None
        if self._output.has_page:
            self._ui.root = desk().knows(cast("Session", self._execution.session), made)
        return made

    async def follow(self) -> None:
        """Show the execution's events as they come, to the end; then swap to the static form.

        The swap also happens when this is cancelled, or the execution raises;
        the error goes on to the caller.
        """
        self._output.begin()
        try:
            async for event in self._execution:
                self._take(event)
        finally:
            self._run.end()
            self._output.finish()

    def static(self) -> dict[str, str]:
        """Return the output as it stands: HTML, Markdown and plain text."""
        style = templates.style() if carries_style(self._run.cell) else ""
        page = templates.macro("execution", "page")(self._ui.static(), self._run)
        return {
            "text/html": f"{style}{page}",
            "text/markdown": bounded(as_markdown(self._run), ANSWER_CHARACTERS),
            "text/plain": as_text(self._run, most=None if self._alone else PLAIN),
        }

    def html(self) -> str:
        """Return the page; see ``Content``."""
        return self._page.html()

    def changes(self) -> Sequence[Op]:
        """Return what changed on the page since the last call."""
        return self._page.flush()

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take what the reader did."""
        kind = message.get("k")
        if kind == "stop":
            self._execution.abort()
        elif kind == "resume":
            self._go_on(message.get("fields") or {})
        elif kind == "open":
            self._unfolded(str(message.get("d")), bool(message.get("open")))
        elif kind == "answer":
            for call in self._run.calls():
                if call.key == message.get("call") and call.status == "waiting":
                    self._answer(call, message)

    def _take(self, event: Event) -> None:
        if event.type == "execution_end" and self._run.error is None:
            self._run.gates = _open_gates(self._execution)
        if event.type == "execution_start":
            self._open_ledger()
        if isinstance(event, TickContext):
            tick = self._execution.session.ticks[event.tick]
            self._run.why = tick.why
            self._run.written = Sources(self._execution.session.sources())
            self._run.window = window_of(tick.model)
        changes = [self._run.go_on()] if isinstance(event, TickContext) else []
        changes.append(self._run.apply(event))
        stopped = self._execution.stopped if isinstance(event, BreakpointReached) else None
        if stopped is not None:
            looked = self._run.look(stopped.context)
            if looked.tick is not None:
                self._ui.open.setdefault(looked.tick.key, True)
            changes.append(looked)
        if event.type == "tick_context":
            changes += [self._run.remark(text) for text in self._execution.session.take_notes()]
        for touched in filter(None, changes):
            if self._output.has_page:
                self._page.touch(touched)
                self._output.flush_soon()

    def _go_on(self, fields: Mapping[str, Any]) -> None:
        """Go on from a breakpoint, with what the reader changed; it goes on standing where that does not fit."""
        try:
            self._execution.resume(texts_in(fields))
        except NbsessionError as error:
            touched = self._run.go_on(fault=str(error))
        else:
            touched = self._run.go_on()
        if touched is not None and self._output.has_page:
            self._page.touch(touched)
            self._output.flush_soon()

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
        self._ui.choice = ledger.choice
        self._ui.place = blake2s(f"{session.id} {self._run.cell}".encode(), digest_size=3).hexdigest()

    def _unfolded(self, name: str, is_open: bool) -> None:
        self._ui.open[name] = is_open
        if is_open and name.endswith((":list", ":tree")):
            self._ui.choice = self._run.ledger.choice = "tree" if name.endswith(":tree") else "list"

    def _answer(self, call: Call, message: Mapping[str, Any]) -> None:
        approved, fields = message.get("ok") is True, message.get("fields")
        if approved and isinstance(fields, dict):
            faults = self._confirm_changed(call, fields)
            if faults:
                call.controls, call.fault = with_faults(call.controls, faults), faults.get("", "")
                self._page.touch(Touched("piece", None, call))
                self._output.flush_soon()
                return
        else:
            self._execution.confirm(call.id, approved)
        call.status, call.question = ("running" if approved else "denied"), ""

    def _confirm_changed(self, call: Call, fields: Mapping[str, Any]) -> Mapping[str, str]:
        """Let the call run with the arguments that the reader gives instead; return what is wrong with them."""
        call.controls = filled(call.controls, fields)
        given, faults = read(call.controls)
        if not faults:
            try:
                self._execution.check(call.id, given)
            except ToolError as error:
                return faults_in(str(error))
            self._execution.confirm(call.id, True, input=given)
        return faults


def _open_gates(execution: Execution) -> tuple[str, ...]:
    """Say which gates the session's last execution left open."""
    session = cast("Session", execution.session)
    if session.executions[-1] is not execution:
        return ()
    return tuple(f"gate {gate.name} is {gate.state}" for gate in session.gates if gate.open)
