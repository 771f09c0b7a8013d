"""An execution under its cell: live while it runs, then the same in static form for ever after."""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2s
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from nbsession.content import new_id
from nbsession.errors import NbsessionError, SessionError, ToolError
from nbsession.events import BreakpointReached, ConfirmationRequested, TickContext
from nbsession.notebook import kernel
from nbsession.notebook.view import templates
from nbsession.notebook.view.bounds import ANSWER_CHARACTERS, bounded
from nbsession.notebook.view.desk import desk
from nbsession.notebook.view.display import Output
from nbsession.notebook.view.fields import texts_in
from nbsession.notebook.view.form import faults_in, filled, read, since, with_faults
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
    from nbsession.tools import Question


class Begun(NamedTuple):
    """An output that goes on: what stands in it, how, and where; without a ``place`` it is to be made."""

    run: Transcript
    ui: Ui
    place: Place | None = None
    finished: Finished | None = None


class ExecutionView:
    """Shows one execution.

    ``quiet`` shows the answer and the footer only; ``raw`` shows it as the
    model wrote it, not as Markdown. Without ``live`` nothing moves until the
    end, for front ends without widgets; ``finished`` is called with where it stands and the static form. With
    ``begun`` it goes on in an output that is there, below what that shows. Call ``display`` in the cell, then await
    ``follow`` on the execution's home loop. Questions that wait at the end stand there to be answered.
    """

    def __init__(
        self,
        execution: Execution,
        *,
        quiet: bool = False,
        raw: bool = False,
        live: bool = True,
        finished: Finished | None = None,
        begun: Begun | None = None,
    ) -> None:
        self._execution = execution
        self._finished = finished
        self._begun = begun
        self._ui = Ui(live=live, quiet=quiet, raw=raw)
        if begun is not None:
            self._ui.open = begun.ui.open
        self._run = Transcript(cell=new_id("cell")) if begun is None else begun.run
        self._page = Page(self._run, self._ui)
        self._output = Output(self, live=live, finished=finished)
        self._place: Place | None = None
        self._sequence = 0
        self._alone = False  # whether plain text is all that is shown, as in a terminal

    def display(self, place: Place | None = None) -> Place | None:
        """Make the output in the calling cell, or in an earlier one's place; see ``Output.display``."""
        from IPython.core.getipython import get_ipython

        if self._is_new:
            self._run.cell = kernel.cell_id(get_ipython()) or self._run.cell
        elif place is None and self._begun is not None:
            place = self._begun.place
        self._place = self._output.display(place)
        self._alone = self._place is None
        if self._output.has_page:
            self._ui.root = desk().knows(self.session, self._place)
        return self._place

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
            self._let_wait()
            self._output.finish()

    def static(self) -> dict[str, str]:
        """Return the output as it stands: HTML, Markdown and plain text."""
        return static_of(self._ui, self._run, alone=self._alone)

    @property
    def session(self) -> Session:
        """The session that the execution is of."""
        return cast("Session", self._execution.session)

    @property
    def run(self) -> Transcript:
        """What it shows."""
        return self._run

    @property
    def _is_new(self) -> bool:
        return self._begun is None or self._begun.place is None

    def restate(self) -> None:
        """Show anew what is over, where it can be replaced."""
        if self._place is not None:
            static = self.static()
            self._place.update(static)
            if self._finished is not None:
                self._finished(self._place, static)

    def go_on(self, execution: Execution) -> ExecutionView:
        """Return a view of what goes on here once a question is answered, in the same output."""
        return going_on(execution, Begun(self._run, self._ui, self._place, self._finished))

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

    def _let_wait(self) -> None:
        """Let the questions that wait stand in the output, where the page has a form for each."""
        session = self.session
        if self._run.stop_reason == "paused":
            show_waiting(self._run, session)
        if self._run.asked and self._output.has_page:
            self._ui.post = desk().posts.put_up(self, self._sequence)

    def _take(self, event: Event) -> None:
        self._sequence = event.sequence
        if event.type == "execution_end" and self._run.error is None:
            self._run.gates = _open_gates(self._execution)
        if event.type == "execution_start":
            self._open_ledger()
        if isinstance(event, TickContext):
            tick = next(tick for tick in self._execution.ticks if tick.number == event.tick)
            self._run.why = tick.why
            self._run.written = Sources(self._execution.session.sources())
            self._run.window = window_of(tick.model)
        changes = [self._run.go_on()] if isinstance(event, TickContext) else []
        changes.append(self._run.apply(event))
        if isinstance(event, ConfirmationRequested):
            lasting = any(each.id == event.question and each.lasting for each in self.session.waiting)
            next(call for call in self._run.calls() if call.id == event.call.id).lasting = lasting
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
        if self._is_new:
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
        if message.get("always"):
            with suppress(SessionError):  # it was answered elsewhere just now
                self.session.answer(call.confirms, "always")
        elif approved and isinstance(fields, dict):
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


def going_on(execution: Execution, begun: Begun) -> ExecutionView:
    """Return a view of an execution that goes on in an output that is there."""
    ui = begun.ui
    return ExecutionView(execution, quiet=ui.quiet, raw=ui.raw, finished=begun.finished, begun=begun)


def static_of(ui: Ui, run: Transcript, *, alone: bool = False) -> dict[str, str]:
    """Return an output that is over as HTML, Markdown and plain text, which has all of it where it stands ``alone``."""
    style = templates.style() if carries_style(run.cell) else ""
    page = templates.macro("execution", "page")(ui.static(), run)
    return {
        "text/html": f"{style}{page}",
        "text/markdown": bounded(as_markdown(run), ANSWER_CHARACTERS),
        "text/plain": as_text(run, most=None if alone else PLAIN),
    }


def show_waiting(run: Transcript, session: Session) -> None:
    """Let a transcript show the questions of a session that it does not show as waiting."""
    for question in session.waiting:
        if question.id not in run.asked:
            run.waits(question, since(session, question))


def asking(session: Session, questions: Sequence[Question]) -> Transcript:
    """Return a transcript of nothing but questions that wait."""
    run = Transcript(cell=new_id("cell"))
    for question in questions:
        run.waits(question, since(session, question))
    return run
