"""The glue between IPython and the rest: a cell becomes a request, and an error becomes one line."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakKeyDictionary

from nbsession.errors import MissingKeyError, NbsessionError, SessionError
from nbsession.notebook import answering, arguments, cell, commands, kernel
from nbsession.notebook.awaiting import ANSWER, EXPERIMENT, MAGIC, SWEEP
from nbsession.notebook.panels import findings, tables
from nbsession.notebook.remote import at_hand

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from IPython.core.interactiveshell import InteractiveShell

    from nbsession.experiment import Run
    from nbsession.notebook.arguments import Line
    from nbsession.notebook.cell import Ask, Request, View
    from nbsession.notebook.loop import Handle
    from nbsession.notebook.sessions import Sessions
    from nbsession.notebook.settings import Nbsession
    from nbsession.notebook.stale import Stale
    from nbsession.session import Execution, Result, Session, Sweep
    from nbsession.stores.base import SessionStore

T = TypeVar("T")


class Magics:
    """What the magics do: ``send``, ``answer`` and ``sweep`` for a cell that awaits, ``session`` for all others."""

    def __init__(
        self, shell: InteractiveShell, sessions: Sessions, settings: Nbsession, stale: Stale
    ) -> None:
        self.shell = shell
        self.sessions = sessions
        self.settings = settings
        self.stale = stale
        self.commands = commands.Commands(sessions)
        self._trials: WeakKeyDictionary[Any, SessionStore] = WeakKeyDictionary()

    async def send(self, line: str, body: str) -> None:
        """Run a ``%%session`` cell on the kernel's loop."""
        with one_line_errors():
            request, options = self._request(line, body)
            if not self._to_send(request, options):
                return
            execution = request.send()
            view = self._view(request, execution, options)
            work = self._submit(view, execution, self._ask(options))
            if options.get("background"):
                self._bind(options, execution)
                return
            await self._see(execution, work, options)

    async def answer(self, line: str) -> None:
        """Answer a question that waits, on the kernel's loop; ``line`` is what follows ``%session``."""
        with one_line_errors():
            options = arguments.parse_command(line)
            reply = answering.read(self.sessions, options.words)
            if reply.text is None:
                self._show_waiting(reply)
                return
            execution, view = self._reply(reply)
            await self._see(execution, self._submit(view, execution, self._ask(options)), options)

    async def _see(
        self, execution: Execution, work: Handle[Result] | asyncio.Task[Result], options: Line
    ) -> None:
        async with kernel.live_comms(self.shell):
            with kernel.interruptible_tools():
                ended = await cell.wait(
                    execution, work, partial(_is_held, cast("Session", execution.session))
                )
                self._bind_ended(options, execution, ended)

    def _ask(self, options: Line) -> Ask | None:
        """Say how it is asked for confirmations where the cell awaits: in what is shown there are buttons."""
        return None if kernel.may_ask(self.shell) and self._how(options) != "off" else cell.deny

    def session(self, line: str, body: str | None = None) -> None:
        """Run a ``%session`` command, or a ``%%session`` cell that blocks."""
        with one_line_errors():
            if body is None:
                asked = arguments.parse_command(line)
                if asked.command.name == SWEEP:
                    self._block_on_sweep(asked)
                    return
                if asked.command.name == EXPERIMENT:
                    self._block_on_experiment(asked)
                    return
                if asked.command.name == ANSWER:
                    self._block_on_answer(asked)
                    return
                show(self.commands.perform(asked))
                if "as" in asked.options:
                    self._bind(asked, self.sessions.current)
                return
            request, options = self._request(line, body)
            if not self._to_send(request, options):
                return
            if options.get("background"):
                execution = request.send()
                self._submit(self._view(request, execution, options), execution, cell.deny)
                self._bind(options, execution)
                return
            self._block(request, options)

    async def sweep(self, line: str) -> None:
        """Run ``%session sweep`` on the kernel's loop; ``line`` is what follows ``%session``."""
        from nbsession.notebook.sweep import pair

        with one_line_errors():
            sweep, view = self._sweep(arguments.parse_command(line), to_await=True)
            if sweep is None or view is None:
                return
            work = self._on_home(sweep.session, cell.see_sweep_through(sweep, view))
            async with kernel.live_comms(self.shell):
                with kernel.interruptible_tools():
                    await cell.wait(sweep, work)
            pair.show(sweep)

    def _sweep(self, line: Line, *, to_await: bool) -> tuple[Sweep | None, View | None]:
        """Begin a sweep and show it; where only the contexts are asked for, there is nothing to wait for."""
        from nbsession.notebook.sweep import request as sweep_request
        from nbsession.notebook.sweep import table as sweep_table
        from nbsession.notebook.sweep.view import SweepView, begin

        session = at_hand(self.sessions.current, SWEEP)
        request = sweep_request.request(
            session, line, self.sessions.namespace, budget=self.settings.budget or None
        )
        contexts = request.contexts()
        if line.get("context-only"):
            self._bind(line, contexts)
            show(contexts)
            return None, None
        if not to_await:
            self._refuse_to_block(session, "%session sweep")
        show(f"session {session.id!r}: {sweep_table.planned(contexts)}")
        sweep, progress = begin(request, contexts)
        self._bind(line, sweep)
        view = SweepView(sweep, live=self._is_live, line=progress)
        view.display()
        return sweep, view

    def _block_on_sweep(self, line: Line) -> None:
        from nbsession.notebook.sweep import pair

        with self.sessions.blocking():
            sweep, view = self._sweep(line, to_await=False)
            if sweep is not None and view is not None:
                work = self.sessions.engine.submit(cell.see_sweep_through(sweep, view))
                cell.block(sweep, work, cell.Questions(cell.deny))
                pair.show(sweep)

    async def experiment(self, line: str) -> None:
        """Run ``%session experiment`` on the kernel's loop; ``line`` is what follows ``%session``."""
        with one_line_errors():
            session, run, view = self._experiment(arguments.parse_command(line), to_await=True)
            if run is None or view is None:
                return
            work = self._on_home(session, cell.see_run_through(run, view))
            async with kernel.live_comms(self.shell):
                with kernel.interruptible_tools():
                    await cell.wait(run, work)

    def _experiment(self, line: Line, *, to_await: bool) -> tuple[Session, Run | None, View | None]:
        """Show an experiment's plan, then begin it and show it, unless the plan is all that is asked for."""
        from nbsession.notebook.experiment import request, sheet
        from nbsession.notebook.experiment.view import RunView, show

        session = at_hand(self.sessions.current, EXPERIMENT)
        experiment = request.experiment(self.sessions, line)
        store = self._store_of(session.app)
        planned, only = experiment.plan(store=store), bool(line.get("plan"))
        show(sheet.plan(planned, whole=only))
        if only:
            return session, None, None
        if not to_await:
            self._refuse_to_block(session, "%session experiment")
        run = experiment.run(store=store, budget=line.get("max-cost", self.settings.budget or None))
        self._bind(line, run)
        view = RunView(run, live=self._is_live, name=line.get("as"))
        view.display()
        return session, run, view

    def _store_of(self, app: Any) -> SessionStore:
        """Return where trials are kept: with the app's sessions, else in memory, so that a cell may be run again."""
        if app.store is not None:
            return cast("SessionStore", app.store)
        if app not in self._trials:
            from nbsession.stores import MemoryStore

            self._trials[app] = MemoryStore()
        return self._trials[app]

    def _block_on_experiment(self, line: Line) -> None:
        with self.sessions.blocking():
            _, run, view = self._experiment(line, to_await=False)
            if run is not None and view is not None:
                work = self.sessions.engine.submit(cell.see_run_through(run, view))
                cell.block(run, work, cell.Questions(cell.deny))

    def _refuse_to_block(self, session: Session, magic: str) -> None:
        if self.sessions.engine.is_the_cells:
            raise SessionError(
                f"no thread can be started here, so nothing may block: put {magic} at the top of a cell of its own, "
                "or await session.send(...)"
            )
        if session.app.home.loop is not self.sessions.engine.loop:
            raise SessionError(
                f"session {session.id!r} lives on the notebook's own loop, which this cell would block; "
                f"put {magic} in a cell of its own, or open the session with %session new"
            )

    def _block(self, request: Request, options: Line) -> None:
        self._refuse_to_block(request.session, MAGIC)
        with self.sessions.blocking():
            execution = request.send()
            self._block_until_ended(execution, self._view(request, execution, options), options)

    def _block_on_answer(self, options: Line) -> None:
        reply = answering.read(self.sessions, options.words)
        if reply.text is None and not self._asks_here:
            self._show_waiting(reply)
            return
        self._refuse_to_block(reply.session, "%session answer")
        with self.sessions.blocking():
            if reply.text is None:
                self._answer_here(reply.session, options)
            else:
                execution, view = self._reply(reply)
                self._block_until_ended(execution, view, options)

    def _block_until_ended(self, execution: Execution, view: View, options: Line) -> None:
        """See an execution through, and, at a terminal, what goes on with each answer that is given there."""
        questions = cell.Questions(input if kernel.may_ask(self.shell) else cell.deny)
        view.display()
        session = cast("Session", execution.session)
        work = self.sessions.engine.submit(cell.see_through(execution, view, questions.put))
        ended = cell.block(execution, work, questions, partial(_is_held, session))
        self._bind_ended(options, execution, ended)
        if ended is not None and ended.stop_reason == "paused" and self._asks_here:
            self._answer_here(session, options)

    @property
    def _asks_here(self) -> bool:
        """Whether what waits is asked by ``input()``: at a terminal, where no form can stand."""
        return kernel.of(self.shell) is None and kernel.may_ask(self.shell)

    def _answer_here(self, session: Session, options: Line) -> None:
        """Ask what waits, the oldest first, until something is left to wait; each answer goes on."""
        question = next(iter(session.waiting), None)
        if question is not None and (text := answering.ask_here(question)):
            execution, view = self._reply(answering.Reply(session, [question], text))
            self._block_until_ended(execution, view, options)

    def _show_waiting(self, reply: answering.Reply) -> None:
        if not self._is_live:
            show(tables.waiting([(reply.session, question) for question in reply.questions]))
            return
        from nbsession.notebook.view.waiting import WaitingView

        WaitingView(reply.session, reply.questions).display()

    def _reply(self, reply: answering.Reply) -> tuple[Execution, View]:
        """Answer a question, and return what goes on with the view of it."""
        from nbsession.notebook.view.execution import Begun, ExecutionView, asking
        from nbsession.notebook.view.live import Ui

        session, value = reply.session, reply.value
        (question,) = reply.questions
        begun = Begun(asking(session, [question]), Ui())
        if self._is_live:
            from nbsession.notebook.view.desk import desk
            from nbsession.notebook.view.posts import CELL

            execution = desk().posts.give(session, question, value, CELL)
        else:
            execution = session.answer(question.id, value)
        quiet = self.settings.display == "quiet"
        return execution, ExecutionView(execution, quiet=quiet, live=self._is_live, begun=begun)

    @property
    def _is_live(self) -> bool:
        return self.settings.live and kernel.shows_widgets(self.shell)

    def _bind_ended(self, options: Line, execution: Execution, ended: Result | None) -> None:
        """Bind the result; of an execution that a breakpoint holds, itself, and say how to go on."""
        if ended is None:
            current = execution.session.current
            if current is not None and current.stopped is not None:
                show(f"{current.stopped}; %session continue goes on, %session stop ends it")
        elif ended.stop_reason == "paused" and self._how(options) == "off":
            session = cast("Session", execution.session)
            show(tables.waiting([(session, question) for question in session.waiting]))
        self._bind(options, ended if ended is not None else execution)
        self._grade(cast("Session", execution.session))

    def _grade(self, session: Session) -> None:
        """Show how a prediction of what a session would do held, once that is done."""
        prediction = self.sessions.predictions.get(session)
        if prediction is not None and prediction.done and session.current is None:
            del self.sessions.predictions[session]
            show(findings.grade(prediction.grade()))

    def _request(self, line: str, body: str) -> tuple[Request, Line]:
        options = arguments.parse_cell(line)
        request = cell.request(self.sessions, options, body, cell=kernel.cell_id(self.shell))
        if request.said:
            show(request.said)
        return request, options

    def _to_send(self, request: Request, options: Line) -> bool:
        """Do what asks for no execution; return whether one is asked for."""
        if options.get("steer"):
            show(request.steer())
            return False
        if options.get("dry-run"):
            show(commands.ShowContext(request.preview(), title="What this cell would send"))
            return False
        return True

    def _view(self, request: Request, execution: Execution, options: Line) -> View:
        how = self._how(options)
        if how == "off":
            return cell.Unshown()
        from nbsession.notebook.view.execution import ExecutionView

        return ExecutionView(
            execution,
            quiet=how == "quiet",
            raw=options.get("raw", False),
            live=self._is_live,
            finished=self._watch(request),
        )

    def _watch(self, request: Request) -> Callable[..., None]:
        """Have the output marked, once it is finished, when what its prompt used changes."""
        at = kernel.cell_id(self.shell) or request.session.id
        self.stale.forget(at)
        used = self.stale.used(request.session.app.root, [each.expression for each in request.inserted])
        return partial(self.stale.watch, at, used)

    def _how(self, options: Line) -> str:
        """Say how much stands under the cell: what its line says, else the settings."""
        said: str = options.get("display") or ("quiet" if options.get("quiet") else self.settings.display)
        return said

    def _submit(
        self, view: View, execution: Execution, ask: Ask | None
    ) -> Handle[Result] | asyncio.Task[Result]:
        view.display()
        return self._on_home(execution.session, cell.see_through(execution, view, ask))

    def _on_home(self, session: Any, work: Coroutine[Any, Any, T]) -> Handle[T] | asyncio.Task[T]:
        engine = self.sessions.engine
        if session.app.home.loop is engine.loop:
            return engine.submit(work)
        return asyncio.create_task(work)

    def _bind(self, options: Line, value: object) -> None:
        name = options.get("as")
        if name is not None:
            self.shell.user_ns[name] = value


def show(shown: commands.Shown | Sweep) -> None:
    """Show what a command gave: text is printed, the rest stands in a panel."""
    if isinstance(shown, str):
        print(shown)  # noqa: T201  # a magic's output is the cell's
        return
    from nbsession.notebook.panels import knobs as panels
    from nbsession.session import Frozen, Sweep

    if isinstance(shown, commands.ShowKnobs):
        panels.knobs(shown.session)
    elif isinstance(shown, commands.ShowInspector):
        from nbsession.notebook.panels.inspector import inspect

        inspect(shown.session)
    elif isinstance(shown, commands.ShowContext):
        panels.context(shown.context, older=shown.older, title=shown.title)
    elif isinstance(shown, Sweep):
        panels.sweep(shown)
    elif isinstance(shown, Frozen):
        panels.frozen(shown)
    else:
        panels.rows(shown)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Let the notebook show an error of ours in one line, without its traceback; it still stops Run All."""
    try:
        yield
    except NbsessionError as error:
        said = str(error)
        if isinstance(error, MissingKeyError):
            said = said.replace('model="simulated"', "--model simulated")  # as it is said on this line
        text = f"{type(error).__name__}: {' '.join(said.split())}"
        # IPython asks the exception itself how it is to be shown.
        error.__dict__["_render_traceback_"] = lambda: [text]
        raise


def one_line(error: Exception) -> list[str]:
    """Show an error that a name or value of the user's made, raised in any cell, without our frames."""
    return [f"{type(error).__name__}: {error}"]


def _is_held(session: Session) -> bool:
    """Say whether a breakpoint holds a session, so that a cell need not wait: another one has to let it go on."""
    current = session.current
    return current is not None and current.stopped is not None
