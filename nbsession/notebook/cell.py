"""Sending a cell's text, and waiting for what comes of it.

Two ways to wait. A cell that awaits lets the kernel's loop go on, so widgets
stay alive; a blocking one (under ``%%time``, in a nested cell, in a terminal)
does not. Both end the work when they are interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from nbsession import threads
from nbsession.errors import SessionError
from nbsession.notebook.inserted import Filled, Inserted, filled
from nbsession.notebook.remote import far_of

if TYPE_CHECKING:
    from nbsession.context import CompiledContext
    from nbsession.experiment import Run
    from nbsession.notebook.arguments import Line
    from nbsession.notebook.loop import Handle
    from nbsession.notebook.sessions import Sessions
    from nbsession.session import Execution, Result, Session, Sweep

# ipykernel's SIGINT handler cannot wake an idle loop: it only sets a flag that
# the loop sees at its next turn, so a waiting cell must take one this often.
HEARTBEAT_SECONDS = 0.05
GRACE_SECONDS = 3.0

INTERRUPTED = "interrupted"
_KEPT = "stopped by the interrupt; what came is kept"

Ask = Callable[[str], str]
T = TypeVar("T", "Result", "Sweep", "Run")


class SessionInterrupted(KeyboardInterrupt):
    """The execution was stopped by the user; the session stays usable. Shown in one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"SessionInterrupted: {self}"]


class View(Protocol):
    """What shows an execution: at once where the cell stands, then as it happens."""

    def display(self) -> Any: ...

    async def follow(self) -> Any: ...


class Unshown:
    """Shows nothing: the execution goes its way, and its result is bound all the same."""

    def display(self) -> None:
        """Make no output."""

    async def follow(self) -> None:
        """Leave the execution to itself."""


class Running(Protocol):
    """What an interrupt ends: an execution, or a sweep."""

    def abort(self, reason: str | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Request:
    """A cell, read: to which session, what, and how it is shown.

    ``said`` is what to tell of a fork, ``inserted`` the expressions that the message was made with.
    """

    session: Session
    message: Any
    model: Any = None
    max_ticks: int | None = None
    max_cost: float | None = None
    cell: str | None = None
    said: str = ""
    inserted: tuple[Inserted, ...] = ()

    def send(self) -> Execution:
        """Send it. A cell that was run before first takes the head back to before its message."""
        if self.cell is not None:
            _rewind(self.session, self.cell)
        options: dict[str, Any] = {"model": self.model, "max_ticks": self.max_ticks, "budget": self.max_cost}
        given = {name: value for name, value in options.items() if value is not None}
        return self.session.send(self.message, metadata=self._metadata(), **given)

    def _metadata(self) -> dict[str, Any] | None:
        known: dict[str, Any] = {} if self.cell is None else {"cell": self.cell}
        if self.inserted:
            known["inserted"] = [list(each) for each in self.inserted]
        return known or None

    def steer(self) -> str:
        """Put it into the running execution, and say so."""
        running = self.session.status == "running"
        self.session.steer(self.message)
        when = "goes into the running execution at its next tick" if running else "waits for the next send"
        return f"session {self.session.id!r}: the message {when}"

    def preview(self) -> CompiledContext:
        """Compile what it would send. Nothing is sent, and the session stays as it is."""
        if (remote := far_of(self.session)) is not None:
            return remote.compile(self.message)
        copy = self.session.branch()
        if self.cell is not None:
            _rewind(copy, self.cell)
        return copy.compile(self.message, model=self.model)


def request(sessions: Sessions, line: Line, body: str, *, cell: str | None = None) -> Request:
    """Say what a cell asks for; opens the fork if it asks for one. Nothing is sent yet."""
    text = body.strip("\n")
    if not text.strip():
        raise SessionError("there is no message: write it below the %%session line")
    # Whatever can be refused is, before the cell's own expressions do anything.
    session, said = sessions.get(line.word(0)), ""
    # A server knows its models by name.
    remote = far_of(session)
    model = line.get("model") if remote is not None else sessions.model(line.get("model"))
    if type(line.options.get("fork")) is int and remote is None:
        session.branch(line.options["fork"])
    message, inserted = Filled(text) if line.get("raw") else filled(text, sessions.namespace)
    if "fork" in line.options:
        at = line.options["fork"]
        session, said = sessions.fork(line.word(0), None if at is True else at)
        cell = None  # the fork has its own timeline from here on
    return Request(
        session,
        message,
        model=model,
        max_ticks=line.get("max-ticks") or sessions.defaults.max_ticks or None,
        max_cost=line.get("max-cost") or sessions.defaults.budget or None,
        cell=cell,
        said=said,
        inserted=inserted,
    )


async def see_through(execution: Execution, view: View, ask: Ask | None = None) -> Result:
    """Show an execution to its end and return its result, on the session's home loop.

    With ``ask``, which may block, confirmations are put to it (in a worker
    thread); without, they are left to the view's buttons.
    """
    asking = asyncio.ensure_future(_confirm_by(ask, execution)) if ask is not None else None
    try:
        await view.follow()
    except BaseException:
        execution.abort("the view failed")
        raise
    finally:
        if asking is not None:
            asking.cancel()
    return await execution


async def see_sweep_through(sweep: Sweep, view: View) -> Sweep:
    """Show a sweep to its end, on the session's home loop."""
    try:
        await view.follow()
    except BaseException:
        sweep.abort("the view failed")
        raise
    return await sweep


async def see_run_through(run: Run, view: View) -> Run:
    """Show an experiment's run to its end, on the app's home loop."""
    try:
        await view.follow()
    except BaseException:
        run.abort("the view failed")
        raise
    return await run


async def wait(
    running: Running, work: Handle[T] | asyncio.Task[T], leave: Callable[[], bool] | None = None
) -> T | None:
    """Wait on the kernel's loop for work that is seen through; an interrupt ends what runs.

    It is left running, and ``None`` returned, once ``leave`` says so. Raises ``SessionInterrupted`` when the user stopped it, and the error of an
    execution that failed.
    """
    waiter = asyncio.ensure_future(_outcome(work))
    try:
        while not waiter.done():
            await asyncio.wait({waiter}, timeout=HEARTBEAT_SECONDS)
            if leave is not None and not waiter.done() and leave():
                waiter.add_done_callback(_look_at)
                return None
    except asyncio.CancelledError:
        running.abort(INTERRUPTED)
        _, late = await asyncio.wait({waiter}, timeout=GRACE_SECONDS)
        if late:
            work.cancel()
            waiter.cancel()
        elif not waiter.cancelled():
            waiter.exception()  # looked at, so that nobody complains: the view has shown it
        raise SessionInterrupted(_KEPT) from None
    return _unless_stopped(waiter.result())


def block(
    running: Running, work: Handle[T], questions: Questions, leave: Callable[[], bool] | None = None
) -> T | None:
    """Wait in the calling thread, as ``wait`` does; questions are asked from this thread meanwhile."""
    try:
        while not work.done():
            with contextlib.suppress(TimeoutError):
                work.result(HEARTBEAT_SECONDS)
            questions.answer_waiting()
            if leave is not None and not work.done() and leave():
                return None
    except KeyboardInterrupt:
        running.abort(INTERRUPTED)
        questions.close()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            work.result(GRACE_SECONDS)
        work.cancel()
        raise SessionInterrupted(_KEPT) from None
    finally:
        questions.close()
    return _unless_stopped(work.result())


class Questions:
    """Questions of another thread, answered by the one that blocks (only there ``input()`` works)."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._waiting: queue.SimpleQueue[tuple[str, Future[str]]] = queue.SimpleQueue()
        self._closed = False

    def put(self, question: str) -> str:
        """Ask from any thread, and wait for the answer; it is no once nobody answers any more."""
        answer: Future[str] = Future()
        self._waiting.put((question, answer))
        if self._closed:
            self.close()
        return answer.result()

    def answer_waiting(self) -> None:
        """Ask what is waiting; to be called by the thread that may."""
        while not self._waiting.empty():
            question, answer = self._waiting.get()
            try:
                answer.set_result(self._ask(question))
            finally:
                if not answer.done():  # interrupted, or the front end's input failed
                    answer.set_result("no")

    def close(self) -> None:
        """Answer no to all that waits and will wait: the thread that may ask goes on to other things."""
        self._closed = True
        with contextlib.suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()[1].set_result("no")


def deny(question: str) -> str:
    """Answer no where nobody can be asked, and say so in the cell."""
    sys.stderr.write(f"{question}denied: nobody can be asked here\n")
    return "no"


async def _confirm_by(ask: Ask, execution: Execution) -> None:
    from nbsession.events import ConfirmationRequested

    async for event in execution:
        if isinstance(event, ConfirmationRequested):
            question = event.message or f"Allow {event.call.name}({_arguments(event.call.input)})?"
            answer = await threads.beside(partial(ask, f"{question} [y/N] "))
            approved = answer.strip().lower() in ("y", "yes")
            reason = None if approved else "nobody could be asked" if ask is deny else "the user said no"
            execution.confirm(event.call.id, approved, reason=reason)


def _arguments(given: Any) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in given.items()) if isinstance(given, dict) else ""


def _look_at(waiter: asyncio.Future[Any]) -> None:
    """Look at the outcome of what nobody waits for any more: its view has shown it."""
    if not waiter.cancelled():
        waiter.exception()


async def _outcome(work: Handle[T] | asyncio.Task[T]) -> T:
    return await work


def _unless_stopped(ended: T) -> T:
    stop_reason = getattr(
        ended, "stop_reason", None
    )  # of a sweep and of a run there is a reason where it was stopped
    if stop_reason == "aborted" or (stop_reason is None and ended.reason):
        raise SessionInterrupted(f"{ended.reason or 'stopped'}; what came is kept")
    return ended


def _rewind(session: Session, cell: str) -> None:
    for entry in session.timeline:
        if entry.metadata.get("cell") == cell:
            session.rewind(entry.parent)
            return
