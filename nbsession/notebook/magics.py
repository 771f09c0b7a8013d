"""The glue between IPython and the rest: a cell becomes a request, and an error becomes one line."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core.inputtransformer2 import (
    TokenTransformBase,
    assemble_continued_line,
    find_end_of_continued_line,
)

from nbsession.errors import MissingKeyError, NbsessionError, SessionError
from nbsession.notebook import arguments, cell, commands, kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import FrameType

    from IPython.core.interactiveshell import InteractiveShell

    from nbsession.notebook.arguments import Line
    from nbsession.notebook.cell import Ask, Request, View
    from nbsession.notebook.loop import Handle
    from nbsession.notebook.sessions import Sessions
    from nbsession.notebook.settings import Nbsession
    from nbsession.notebook.stale import Stale
    from nbsession.session import Execution, Result, Session, Sweep

MAGIC = "%%session"
SWEEP = "sweep"

T = TypeVar("T")


class Rewriter:
    """An input transformer that makes a ``%%session`` cell a native ``await``.

    So the kernel's loop goes on while the cell runs. Where nothing can be
    awaited it becomes a call of the magic, as IPython itself would make it;
    unlike IPython, it allows comments before the magic.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def __call__(self, lines: list[str]) -> list[str]:
        at = _magic_line(lines)
        if at is None:
            return lines
        line = lines[at].strip()[len(MAGIC) :].strip()
        body = "".join(lines[at + 1 :])
        if can_await(self._shell):
            return [f"await get_ipython().nbsession.send({line!r}, {body!r})\n"]
        return [f"get_ipython().run_cell_magic('session', {line!r}, {body!r})\n"]


class SweepLines:
    """A token transformer that makes a ``%session sweep`` line at the left edge a native ``await``.

    As ``Rewriter`` does, and for the same reason: it may take long. Elsewhere (in a
    loop or function, where nothing can be awaited) the line blocks.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def find(self, tokens_by_line: list[list[Any]]) -> TokenTransformBase | None:
        """Find the first such line; IPython asks again after each that was replaced."""
        if not can_await(self._shell):
            return None
        for line in tokens_by_line:
            words = [token.string for token in line[:3]]
            if words == ["%", "session", SWEEP] and line[0].start[1] == 0:
                return _AwaitedSweep(line[0].start)  # type: ignore[no-untyped-call]  # as IPython has it
        return None


class _AwaitedSweep(TokenTransformBase):
    priority = 5  # before IPython's own transformer of magics, which has 10

    def transform(self, lines: list[str]) -> list[str]:
        """Replace the line, and the lines that continue it."""
        last = find_end_of_continued_line(lines, self.start_line)
        line = assemble_continued_line(lines, (self.start_line, self.start_col), last)
        asked = line.strip()[len("%session") :].strip()
        awaited = f"await get_ipython().nbsession.sweep({asked!r})\n"
        return [*lines[: self.start_line], awaited, *lines[last + 1 :]]


class Magics:
    """What the magics do: ``send`` and ``sweep`` for a cell that awaits, ``session`` for all others."""

    def __init__(
        self, shell: InteractiveShell, sessions: Sessions, settings: Nbsession, stale: Stale
    ) -> None:
        self.shell = shell
        self.sessions = sessions
        self.settings = settings
        self.stale = stale
        self.commands = commands.Commands(sessions)

    async def send(self, line: str, body: str) -> None:
        """Run a ``%%session`` cell on the kernel's loop."""
        with one_line_errors():
            request, options = self._request(line, body)
            if not self._to_send(request, options):
                return
            seen = kernel.may_ask(self.shell) and self._how(options) != "off"
            ask = None if seen else cell.deny  # in what is shown there are buttons
            execution = request.send()
            work = self._submit(request, self._view(request, execution, options), execution, ask)
            if options.get("background"):
                self._bind(options, execution)
                return
            async with kernel.live_comms(self.shell):
                with kernel.interruptible_tools():
                    ended = await cell.wait(execution, work, partial(_is_held, request.session))
                    self._bind_ended(options, execution, ended)

    def session(self, line: str, body: str | None = None) -> None:
        """Run a ``%session`` command, or a ``%%session`` cell that blocks."""
        with one_line_errors():
            if body is None:
                asked = arguments.parse_command(line)
                if asked.command.name == SWEEP:
                    self._block_on_sweep(asked)
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
                self._submit(request, self._view(request, execution, options), execution, cell.deny)
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

        session = self.sessions.current
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
        live = self.settings.live and kernel.shows_widgets(self.shell)
        view = SweepView(sweep, live=live, line=progress)
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
            questions = cell.Questions(input if kernel.may_ask(self.shell) else cell.deny)
            execution = request.send()
            view = self._view(request, execution, options)
            view.display()
            work = self.sessions.engine.submit(cell.see_through(execution, view, questions.put))
            ended = cell.block(execution, work, questions, partial(_is_held, request.session))
            self._bind_ended(options, execution, ended)

    def _bind_ended(self, options: Line, execution: Execution, ended: Result | None) -> None:
        """Bind the result; of an execution that a breakpoint holds, itself, and say how to go on."""
        if ended is None:
            current = execution.session.current
            if current is not None and current.stopped is not None:
                show(f"{current.stopped}; %session continue goes on, %session stop ends it")
        self._bind(options, ended if ended is not None else execution)

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

        live = self.settings.live and kernel.shows_widgets(self.shell)
        return ExecutionView(
            execution,
            quiet=how == "quiet",
            raw=options.get("raw", False),
            live=live,
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
        self, request: Request, view: View, execution: Execution, ask: Ask | None
    ) -> Handle[Result] | asyncio.Task[Result]:
        view.display()
        return self._on_home(request.session, cell.see_through(execution, view, ask))

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


def can_await(shell: InteractiveShell) -> bool:
    """Whether a cell that is about to run may await: it is a kernel's, on asyncio, and no cell runs around it."""
    if kernel.of(shell) is None or not shell.autoawait:
        return False
    asyncio_runner, _ = shell.loop_runner_map["asyncio"]
    return shell.loop_runner is asyncio_runner and not _within_a_cell(shell)


def _within_a_cell(shell: InteractiveShell) -> bool:
    """Whether a running cell is on the stack: ``%%time``, ``%%capture`` and ``run_cell`` run cells within one."""
    running = type(shell).run_code.__code__
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is running:
            return True
        frame = frame.f_back
    return False


def _magic_line(lines: list[str]) -> int | None:
    for at, line in enumerate(lines):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        return at if text.split(maxsplit=1)[0] == MAGIC else None
    return None
