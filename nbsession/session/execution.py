"""An execution: from one ``send`` or ``render`` until the loop stops."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from functools import partial
from typing import TYPE_CHECKING, Any

from nbsession.content import Text, digest_of, new_id
from nbsession.errors import BudgetError, ModelError, NbsessionError, RenderError, SessionError
from nbsession.events import Done, Error, Event, ExecutionEnd, ExecutionStart
from nbsession.record import EventLog
from nbsession.session.awaited import awaited
from nbsession.session.confirming import Approval
from nbsession.session.loop import Work, output_of
from nbsession.session.options import Options
from nbsession.session.result import Result, StopReason, result_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence

    from nbsession.content import Draft
    from nbsession.session.breakpoints import Stopped
    from nbsession.session.core import SessionCore
    from nbsession.session.door import Door
    from nbsession.session.questions import Answer
    from nbsession.session.request_ids import Left
    from nbsession.timeline import Tick
    from nbsession.tools import Output

EVENTS = 100_000
"""Events that an execution keeps for late readers; the oldest go first."""
PATIENCE = 3.0
"""Seconds that a cancelled execution gets to wind up before nobody waits for it any more."""
LOOP_CLOSED = "its event loop was closed"


class Execution:
    """A running, queued or finished execution.

    Its ``status`` is ``"queued"``, ``"running"``, ``"stopped at a breakpoint"`` or ``"done"``. One of an earlier process that ended in the middle of it is ``"interrupted"``.

    Await it (or ``.result``) for its ``Result``: a failed one raises its error, an
    aborted one gives what there is. Iterate it asynchronously for its events;
    late and second readers get all of them. Both work from any loop. Cancelling
    the task that awaits it aborts it; cancelling a reader does not.
    """

    def __init__(
        self,
        session: Door,
        core: SessionCore,
        drafts: Sequence[Draft],
        options: Options,
        answer: Answer | None = None,
    ) -> None:
        self.id = new_id("ex")
        self.session = session
        self.status = "queued"
        self.max_ticks = options.max_ticks or core.max_ticks
        self.drafts = drafts
        self.options = options
        self.answer = answer
        self.log = EventLog(limit=EVENTS)
        self._core = core
        self._work = Work(core, self)
        self.outcome: concurrent.futures.Future[Result] = concurrent.futures.Future()
        self.outcome.set_running_or_notify_cancel()
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[None] | None = None
        self._driver: asyncio.Task[None] | None = None
        self._abort_reason: str | None = None
        self._told = False
        self._past = False
        self.withdrawn = False

    # What users call

    def __await__(self) -> Generator[Any, None, Result]:
        return self._wait().__await__()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._core.feed.of(self.id) if self._past else self.log.read()

    @property
    def result(self) -> Execution:
        """The execution itself, to be awaited for its ``Result``."""
        return self

    if not TYPE_CHECKING:  # or a type checker would take every name

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("_") and hasattr(Result, name):
                raise AttributeError(
                    f"an execution has no {name!r}: that is its result's, which is there by awaiting it: "
                    f"(await session.send(…)).{name}"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def ticks(self) -> list[Tick]:
        """Its ticks so far."""
        return self._work.ticks

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.outcome.done()

    @property
    def error(self) -> BaseException | None:
        """The error it failed with, ``None`` while it runs or when it did not fail."""
        return self.outcome.exception() if self.done else None

    @property
    def partial(self) -> Result:
        """What there is of the result now; also of a failed or running execution."""
        return self._work.result()

    def abort(self, reason: str | None = None) -> None:
        """Stop it; what was said so far is kept. A second call, or one after the end, does nothing."""
        self._core.home.post(lambda: self._abort(reason or "stopped by the user"))

    def confirm(
        self,
        call_id: str,
        approved: bool,
        reason: str | None = None,
        input: Mapping[str, Any] | None = None,
        *,
        always: bool = False,
    ) -> None:
        """Answer a ``ConfirmationRequested``; ``input`` replaces what the model asked to call the tool with.

        An input that the tool does not take goes back to the model as an error; ``check`` tells before. With
        ``always``, what the same rule (or this tool itself) asks is allowed for the rest of the session; see
        ``session.permissions``.
        """
        approval = Approval(approved, reason or "", input, always)
        self._core.home.post(lambda: self._work.confirming.answer(call_id, approval))

    def pause(self) -> bool:
        """Let a confirmation wait that nobody gives now, in ``session.waiting``; say whether there is one.

        The execution ends with ``StopReason.paused``; elsewhere it goes on, and this does nothing.
        """
        return self._core.home.call(self._work.confirming.halt)

    @property
    def stopped(self) -> Stopped | None:
        """The breakpoint that it stands at, with the ``context`` that it is about to send; ``None`` elsewhere."""
        return self._work.stopped

    def resume(self, texts: Mapping[Any, str] | None = None) -> None:
        """Go on from a breakpoint; ``texts`` replace parts of the context, as those of ``Session.edit`` do.

        Knobs and state that were set meanwhile count. Raises ``SessionError`` where it does not stand at one, and
        for a part that is not there; then it goes on standing.
        """
        self._core.home.call(lambda: self._work.resume(texts or {}))

    def check(self, call_id: str, input: Mapping[str, Any]) -> None:
        """Raise ``ToolError``, with a line per fault, where the tool that waits for an answer does not take ``input``."""
        self._core.home.call(lambda: self._work.confirming.check(call_id, input))

    def __repr__(self) -> str:
        return f"<Execution {self.id} {self.status}, {len(self.ticks)} ticks>"

    async def _wait(self) -> Result:
        self._refuse_deadlock()
        return await awaited(self.outcome, self.abort, PATIENCE)

    def _refuse_deadlock(self) -> None:
        """Refuse to wait inside an execution for one that cannot begin, or end, before that one ends."""
        for outer in _inside.get():
            if not outer.done and not self.done and outer.session is self.session:
                raise SessionError(
                    f"session {self.session.id!r} is awaited inside its own execution, which would wait for itself; "
                    "what was sent is queued and runs next: do not await it here, or spawn a session instead"
                )

    # What the session calls, on the home loop

    def take_answer(self, answer: Answer) -> bool:
        """Take an answer to what it asks at this moment; say whether it does."""
        return self._work.confirming.answer(answer.question.call.id, Approval.of(answer.value))

    @classmethod
    def again(cls, core: SessionCore, id: str, row: Mapping[str, Any]) -> Execution:
        """Return an execution that has ended, also in an earlier process, by its row; one that failed fails again."""
        execution = cls(core.session, core, (), Options.again(row.get("options", {})))
        cut = row["status"] == "interrupted"
        execution.id, execution.status, execution._past = id, "interrupted" if cut else "done", True
        ticks = [tick for tick in core.ticks if tick.execution == id]
        result = result_of(ticks, StopReason(row["stop_reason"]), row["reason"])
        work = execution._work
        work.ticks, work.stop, work.reason = list(result.ticks), result.stop_reason, result.reason
        if result.stop_reason is StopReason.error:
            failed = next((tick.error for tick in result.ticks if tick.error is not None), None)
            execution.outcome.set_exception(failed or SessionError(result.reason))
        else:
            execution.outcome.set_result(result)
        execution.log.close()
        return execution

    def read_as(self, output: Output) -> None:
        """Read an answer of before as the type asked for: which one it was is not kept."""
        if self._past and self.error is None:
            result = self.outcome.result()
            result.output = output_of(result.ticks[-1], output) if result.ticks else None

    @property
    def request(self) -> tuple[str, str] | None:
        """The request id it was sent with and the digest of its message, if it has an id."""
        if self.options.request_id is None:
            return None
        return self.options.request_id, digest_of(self.drafts)

    @property
    def asked(self) -> Mapping[str, Any]:
        """What it was asked for besides its message, as far as that can be kept."""
        return self.options.kept()

    @property
    def left(self) -> Left | None:
        """Where its message stands, if it may be sent again because nothing of it went to a model."""
        return self._work.left

    @property
    def stranded(self) -> bool:
        """Whether its event loop was closed under it, so that it can never end by itself."""
        return not self.done and self._driver is not None and self._driver.get_loop().is_closed()

    def start(self) -> None:
        """Commit the message and begin to run; the session calls it when its turn has come."""
        self.status = "running"
        self._context.run(self._enter)
        self._work.commit_message()
        outbox = self._core.outbox
        outbox.add(outbox.execution(self, "running"))
        self._begin(self._drive())

    def _enter(self) -> None:
        """Begin in the context of who sent it, also where the one before it in the line starts it."""
        _inside.set((*_inside.get(), self))
        self.emit(ExecutionStart(self.id, self.session.id, "\n\n".join(map(_text, self.drafts))))

    def bury(self) -> None:
        """End an execution whose event loop was closed under it, on the loop that runs now."""
        self._stopped_by(LOOP_CLOSED)
        self._begin(self._end(None))

    def withdraw(self, reason: str) -> None:
        """End an execution that has not begun: nothing of it is in the timeline, and no hook hears of it."""
        self.withdrawn = True
        self._work.stop, self._work.reason = StopReason.aborted, reason
        for event in (
            ExecutionStart(self.id, self.session.id, "\n\n".join(map(_text, self.drafts))),
            ExecutionEnd(str(StopReason.aborted), reason),
            Done(),
        ):
            event.sequence = self._core.feed.sequence
            self.log.append(event)
        self._core.questions.take_back(self.answer)
        self._settle(None)

    def refuse(self, error: Exception) -> None:
        """Fail an execution that could not even be queued."""
        self.withdrawn = True
        self._work.stop, self._work.reason = StopReason.error, str(error)
        self._core.questions.take_back(self.answer)
        self._settle(error)

    def emit(self, event: Event) -> None:
        """Give an event a sequence number and keep it, here and in the session's feed."""
        self._core.feed.emit(event, self.log)

    def checkpoint(self) -> None:
        """Stop here if it was aborted, even where a tool or a hook swallowed the cancellation."""
        if self._abort_reason is not None:
            raise asyncio.CancelledError

    async def settled(self) -> None:
        """Wait for the end, however it ends."""
        waiter = asyncio.wrap_future(self.outcome)
        waiter.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.wait({waiter})

    def _abort(self, reason: str) -> None:
        if self.outcome.done() or self._abort_reason is not None:
            return
        self._abort_reason = reason
        if self._driver is None:
            self._core.line.drop(self)
            self.withdraw(reason)
        elif self._task is not None:
            self._task.cancel()

    def _stopped_by(self, reason: str) -> None:
        """Note why it stops; the first reason stays."""
        if self._abort_reason is None:
            self._abort_reason = reason

    def _begin(self, steps: Any) -> None:
        loop = asyncio.get_running_loop()
        self._driver = loop.create_task(steps, name=f"nbsession {self.id}", context=self._context)
        self._driver.add_done_callback(self._driven)

    def _driven(self, driver: asyncio.Task[None]) -> None:
        """Finish what a loop that winds up cancelled before its first step."""
        if not self.outcome.done():
            self._core.line.withdraw(LOOP_CLOSED)
            self._finish(None if driver.cancelled() else driver.exception())
        if not driver.cancelled():
            driver.exception()

    async def _drive(self) -> None:
        """Run the work in a task of its own, and end the execution properly however that ends."""
        error: BaseException | None = None
        if self._abort_reason is None:
            self._task = asyncio.create_task(self._work.run(), context=self._context)
            try:
                await asyncio.wait({self._task})
            except asyncio.CancelledError:
                self._stopped_by(LOOP_CLOSED)
                self._core.line.withdraw(LOOP_CLOSED)
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=PATIENCE)
            error = self._failure(self._task)
        await self._end(error)

    def _failure(self, task: asyncio.Task[None]) -> BaseException | None:
        """Return what the work failed with; being stopped is no failure."""
        if not task.done() or task.cancelled():
            self._stopped_by("cancelled")
            return None
        error = task.exception()
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            # The task has raised it out of the loop already, to whoever runs that.
            self._stopped_by(f"stopped by {type(error).__name__}")
            return None
        return error

    async def _end(self, error: BaseException | None) -> None:
        """Close the tick, call the end hooks, store: each of them whatever became of the one before."""
        steps: tuple[Callable[[BaseException | None], Awaitable[None]], ...] = (
            self._close_work,
            self._call_end_hooks,
            self._store_end,
        )
        try:
            for step in steps:
                try:
                    await step(error)
                except asyncio.CancelledError:
                    # Its loop winds up in the middle of the end, which goes on: nothing is left undone.
                    continue
                except Exception as failure:  # noqa: BLE001  # whatever a hook raises becomes the outcome
                    error = error or failure
        finally:
            self._finish(error)

    async def _close_work(self, error: BaseException | None) -> None:
        self._core.stop_children(self)
        self._work.close(error)

    async def _call_end_hooks(self, error: BaseException | None) -> None:
        self._say_why(error)
        if not self._work.held_elsewhere:  # then nothing of the tree runs here, not even its effects
            await self._core.end_execution(self._work.result())

    async def _store_end(self, error: BaseException | None) -> None:
        """Store the end and its events in one: who reads along is told of it when it is durable."""
        self._say_why(error)
        outbox, work = self._core.outbox, self._work
        rows = [outbox.tick_ended(tick) for tick in work.ticks[-1:]]
        with self._core.feed.held():
            self._tell_end(error)
            await outbox.keep(*rows, outbox.execution(self, "ended", work.stop, work.reason))

    def _say_why(self, error: BaseException | None) -> None:
        work = self._work
        if isinstance(error, BudgetError):
            work.stop, work.reason = StopReason.budget, str(error)
        elif error is not None:
            work.stop, work.reason = StopReason.error, str(error) or type(error).__name__
        elif self._abort_reason is not None:
            work.stop, work.reason = StopReason.aborted, self._abort_reason

    def _tell_end(self, error: BaseException | None) -> None:
        """Emit the last events, once."""
        if self._told:
            return
        self._told = True
        self._say_why(error)
        if error is not None and not isinstance(error, BudgetError):
            self.emit(_error_event(error))
        result = self._work.result()
        self.emit(ExecutionEnd(str(result.stop_reason), result.reason, result.usage, result.cost))
        self.emit(Done(result.usage, len(result.ticks)))

    def _finish(self, error: BaseException | None) -> None:
        """Let the next one begin, and those who wait for this one go on."""
        self._tell_end(error)
        self._core.line.next(self)
        self._settle(None if isinstance(error, BudgetError) else error)

    def _settle(self, error: BaseException | None) -> None:
        if self.outcome.done():
            return
        self.status = "done"
        self.log.close()
        row = {"status": "ended", "stop_reason": self._work.stop, "reason": self._work.reason}
        self._core.requests.end(self, partial(Execution.again, self._core, self.id, row))
        if error is None:
            self.outcome.set_result(self._work.result())
        else:
            self.outcome.set_exception(error)


_inside: contextvars.ContextVar[tuple[Execution, ...]] = contextvars.ContextVar(
    "nbsession_inside", default=()
)
"""The executions that the present code runs in, the outermost first."""


def _text(draft: Draft) -> str:
    return "\n\n".join(str(block) for block in draft.content if isinstance(block, Text))


def _error_event(error: BaseException) -> Error:
    message = str(error) if isinstance(error, NbsessionError) else f"{type(error).__name__}: {error}"
    if isinstance(error, ModelError):
        return Error(message, error.kind, retryable=error.retryable)
    path = getattr(error, "path", "")
    kind = "render" if isinstance(error, RenderError) else "error"
    return Error(message, kind, path=path)
