"""An execution: from one ``send`` or ``render`` until the loop stops."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.content import Block, Text, ToolCall, new_id
from nbsession.context import PREFIX
from nbsession.errors import BudgetError, ModelError, NbsessionError, RenderError, SessionError
from nbsession.event_log import EventLog
from nbsession.events import (
    ConfirmationRequested,
    Done,
    Error,
    Event,
    ExecutionEnd,
    ExecutionStart,
    TickContext,
    TickEnd,
    TickStart,
)
from nbsession.message import digest_of
from nbsession.result import Continue, Result, Stop, StopReason, result_of
from nbsession.thinking import signed
from nbsession.tick import (
    Approval,
    Response,
    Tick,
    ToolRun,
    ToolScope,
    call_model,
    call_tools,
    interrupted,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Mapping, Sequence

    from nbsession.budget import Budget
    from nbsession.core import SessionCore
    from nbsession.fragment import ToolUse
    from nbsession.message import Draft
    from nbsession.session import Session
    from nbsession.tools import ToolContext


FLUSH = 0.4
"""Seconds between two writes of a response that is coming in."""


OUTPUT = "output_schema"
"""The model setting that asks for an answer of a JSON schema."""


class Options(NamedTuple):
    """What ``send`` was asked for, besides its message."""

    model: Any = None
    max_ticks: int | None = None
    tools: tuple[ToolUse, ...] = ()
    metadata: Mapping[str, Any] = {}  # a mapping nobody writes to
    request_id: str | None = None
    output: Any = None
    budget: Budget | None = None


class Execution:
    """A running, queued or finished execution.

    Await it (or ``.result``) for its ``Result``: a failed one raises its error, an
    aborted one gives what there is. Iterate it asynchronously for its events;
    late and second readers get all of them. Both work from any loop. Cancelling
    the task that awaits it aborts it; cancelling a reader does not.
    """

    def __init__(
        self, session: Session, core: SessionCore, drafts: Sequence[Draft], options: Options
    ) -> None:
        self.id = new_id("ex")
        self.session = session
        self.status = "queued"
        self.ticks: list[Tick] = []
        self.max_ticks = options.max_ticks or core.max_ticks
        self._core = core
        self._drafts = drafts
        self._options = options
        self._log = EventLog()
        self._outcome: concurrent.futures.Future[Result] = concurrent.futures.Future()
        self._outcome.set_running_or_notify_cancel()
        self._context = contextvars.copy_context()
        self._work: asyncio.Task[None] | None = None
        self._driver: asyncio.Task[None] | None = None
        self._abort_reason: str | None = None
        self._stop = StopReason.end_turn
        self._reason = ""
        self._response: Response | None = None
        self._confirmations: dict[str, asyncio.Future[Approval]] = {}
        self._result = Result()
        self._output: Any = None

    # What users call

    def __await__(self) -> Generator[Any, None, Result]:
        return self._wait().__await__()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._log.read()

    @property
    def result(self) -> Execution:
        """The execution itself, to be awaited for its ``Result``."""
        return self

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._outcome.done()

    @property
    def error(self) -> BaseException | None:
        """The error it failed with, ``None`` while it runs or when it did not fail."""
        return self._outcome.exception() if self.done else None

    @property
    def partial(self) -> Result:
        """What there is of the result now; also of a failed or running execution."""
        return self._summary()

    def abort(self, reason: str | None = None) -> None:
        """Stop it; what was said so far is kept. A second call, or one after the end, does nothing."""
        self._core.home.post(lambda: self._abort(reason or "stopped by the user"))

    def confirm(
        self, call_id: str, approved: bool, reason: str | None = None, input: Mapping[str, Any] | None = None
    ) -> None:
        """Answer a ``ConfirmationRequested``; ``input`` replaces what the model asked to call the tool with."""

        def answer() -> None:
            waiting = self._confirmations.get(call_id)
            if waiting is not None and not waiting.done():
                waiting.set_result((approved, reason or "", input))

        self._core.home.post(answer)

    def __repr__(self) -> str:
        return f"<Execution {self.id} {self.status}, {len(self.ticks)} ticks>"

    async def _wait(self) -> Result:
        waiter = asyncio.wrap_future(self._outcome)
        try:
            return await asyncio.shield(waiter)
        except asyncio.CancelledError:
            if not self._outcome.done():
                self.abort("the task that awaited it was cancelled")
                await asyncio.wait({waiter}, timeout=3)
            raise
        finally:
            if waiter.done() and not waiter.cancelled():
                waiter.exception()

    async def _settled(self) -> None:
        """Wait for the end, however it ends."""
        await asyncio.wait({asyncio.wrap_future(self._outcome)})

    # What the session calls, on the home loop

    def start(self) -> None:
        """Begin to run; the session calls it when its turn has come."""
        self.status = "running"
        self._driver = asyncio.get_running_loop().create_task(self._drive(), name=f"nbsession {self.id}")

    def _abort(self, reason: str) -> None:
        if self._outcome.done() or self._abort_reason is not None:
            return
        self._abort_reason = reason
        if self._work is not None:
            self._work.cancel()
        elif self._driver is None:
            self._core.drop(self)
            self.start()

    @classmethod
    def ended(cls, session: Session, core: SessionCore, id: str, result: Result) -> Execution:
        """Return an execution of an earlier process, with what is kept of it."""
        execution = cls(session, core, (), Options())
        execution.id, execution.status, execution.ticks = id, "done", list(result.ticks)
        execution._stop, execution._reason = result.stop_reason, result.reason
        execution._outcome.set_result(result)
        execution._log.close()
        return execution

    @property
    def request(self) -> tuple[str, str] | None:
        """The request id it was sent with and the digest of its message, if it has an id."""
        if self._options.request_id is None:
            return None
        return self._options.request_id, digest_of(self._drafts)

    def emit(self, event: Event) -> None:
        """Give an event a sequence number and keep it, here and in the session's feed."""
        self._core.emit(event, self._log)

    async def _drive(self) -> None:
        """Run the loop in a task of its own, and end the execution properly however that ends."""
        loop = asyncio.get_running_loop()
        error: BaseException | None = None
        self.emit(
            ExecutionStart(self.id, self.session.id, "\n\n".join(_text(draft) for draft in self._drafts))
        )
        self._work = loop.create_task(self._run(), context=self._context)
        if self._abort_reason is not None:
            self._work.cancel()
        try:
            await asyncio.wait({self._work})
        except asyncio.CancelledError:
            self._abort_reason = self._abort_reason or "its event loop was closed"
            self._work.cancel()
            await asyncio.wait({self._work}, timeout=3)
        if self._work.cancelled():
            self._stop, self._reason = StopReason.aborted, self._abort_reason or "cancelled"
        else:
            error = self._work.exception()
        await self._end(error)

    async def _run(self) -> None:
        core = self._core
        core.heal()
        for draft in self._drafts:
            core.append(draft.role, draft.content, log=self._log, metadata=self._options.metadata)
        await core.keep(core.execution_row(self, "running"))
        await core.settle()
        await core.announce(self.session)
        await core.mount.fire("on_execution_start", self, self.session)
        while True:
            tick = await self._tick()
            if not tick.should_continue:
                self._output = self._read_output(tick)
                return
            if len(self.ticks) >= self.max_ticks:
                self._stop = StopReason.max_ticks
                self._reason = f"it reached the limit of {self.max_ticks} ticks"
                return

    async def _tick(self) -> Tick:
        core = self._core
        tick = Tick(len(core.ticks), self.id)
        core.deliver(self._log)
        self.emit(TickStart(tick.number))
        await core.mount.fire("on_tick_start", tick, self.session)
        await core.settle()
        await core.announce(self.session)
        output = self._options.output
        compiled = core.compile(
            self._options.tools,
            needs_timeline=bool(self._drafts),
            settings=None if output is None else {OUTPUT: output.model_json_schema()},
        )
        await core.mount.fire("after_compile", compiled.context, self.session)
        model = core.choose_model(self._options.model, compiled.model)
        core.check_budget(self, self._options.budget, compiled.context, model.name)
        tick.context, tick.model, tick.source = compiled.context, model.name, model.source
        core.begin_tick(tick)
        self.ticks.append(tick)
        await core.keep(core.tick_row(tick))
        self.emit(TickContext(tick.number, compiled.context, model.name, model.source))
        self._response = Response()
        flusher = (
            asyncio.create_task(self._keep_partials(tick, self._response)) if core.journal.keeps else None
        )
        try:
            await call_model(model, compiled.context, tick, self._response, self.emit)
        finally:
            if flusher is not None:
                flusher.cancel()
        self._commit_response(tick)
        await core.keep()
        if tick.stop_reason == "tool_use" and tick.tool_calls:
            await call_tools(tick.tool_calls, self._scope(tick, compiled.toolbox))
        self._commit_results(tick)
        await self._end_tick(tick)
        return tick

    def _read_output(self, tick: Tick) -> Any:
        """Read the answer as the pydantic model that was asked for."""
        output = self._options.output
        if output is None or tick.stop_reason != "end_turn":
            return None
        try:
            return output.model_validate_json(tick.text)
        except ValueError as error:
            raise ModelError(
                f"{tick.model} did not answer with a {output.__name__}: {error}; the answer is kept, ask again",
                retryable=True,
                kind="other",
            ) from error

    async def _keep_partials(self, tick: Tick, response: Response) -> None:
        """Store what has come of a response twice a second, so that a crash loses no more than that."""
        kept: tuple[Block, ...] = ()
        while True:
            await asyncio.sleep(FLUSH)
            content = response.content()
            if content != kept:
                kept = content
                await self._core.keep(self._core.partial_row(tick, content))

    async def _end_tick(self, tick: Tick) -> None:
        core = self._core
        core.price(tick)
        self._decide(tick)
        await core.announce(self.session)
        await core.mount.fire("on_tick_end", tick, self.session)
        for opinion in await core.mount.fire("continuation", tick, self.session):
            self._hear(tick, opinion)
        core.finish_tick(tick)
        self.emit(TickEnd(tick.number, tick.usage, tick.cost, tick.should_continue, tick.reason))
        await core.keep(core.tick_row(tick, end=True))

    def _decide(self, tick: Tick) -> None:
        """Decide whether another tick follows, before the continuations are asked."""
        if tick.stop_reason == "tool_use" and tick.tool_calls:
            tick.should_continue, tick.reason = True, "tool results to read"
        elif tick.stop_reason == "pause_turn":
            tick.should_continue, tick.reason = True, "the model paused its turn"
        elif tick.stop_reason in ("max_tokens", "refusal", "context_window"):
            self._stop, self._reason = StopReason(tick.stop_reason), tick.detail
        elif self._core.waiting:
            tick.should_continue, tick.reason = True, "messages are waiting"

    def _hear(self, tick: Tick, opinion: Any) -> None:
        """Take a continuation's opinion; the last one wins."""
        if opinion is None:
            return
        go_on = isinstance(opinion, Continue) or opinion is True
        if not go_on and not (isinstance(opinion, Stop) or opinion is False):
            raise SessionError(
                f"a continuation returned {opinion!r}; return None, a bool, Stop(reason) or Continue(reason)"
            )
        said = getattr(opinion, "reason", "")
        if go_on != tick.should_continue or said:
            tick.reason = said or ("a continuation said to go on" if go_on else "a continuation said to stop")
        if not go_on and (tick.should_continue or isinstance(opinion, Stop)):
            self._stop, self._reason = StopReason.stopped, tick.reason
        elif go_on:
            self._stop, self._reason = StopReason.end_turn, ""
        tick.should_continue = go_on

    def _commit_response(self, tick: Tick, *, cut: bool = False) -> None:
        """Put what the model said into the timeline, once."""
        response, self._response = self._response, None
        if response is None:
            return
        tick.response = response.content()
        tick.interrupted = cut
        tick.tool_calls = [ToolRun(block) for block in tick.response if isinstance(block, ToolCall)]
        if tick.response:
            made_under = {PREFIX: tick.context.prefix} if signed(tick.response) else {}
            self._core.append(
                "assistant",
                tick.response,
                log=self._log,
                status="interrupted" if cut else "complete",
                metadata=made_under,
            )

    def _commit_results(self, tick: Tick) -> None:
        """Answer every tool call in the timeline, in call order, once."""
        if not tick.tool_calls or any(run.result is None for run in tick.tool_calls):
            for run in tick.tool_calls:
                run.result = run.result or interrupted(run)
        if tick.tool_calls:
            results = tuple(run.result for run in tick.tool_calls if run.result is not None)
            self._core.append("tool", results, log=self._log)

    def _scope(self, tick: Tick, toolbox: Mapping[str, Any]) -> ToolScope:
        core = self._core

        def context_for(call: ToolCall) -> ToolContext:
            return core.tool_context(self, call)

        async def keep(run: ToolRun) -> None:
            await core.keep(core.tool_row(tick, run))

        return ToolScope(toolbox, self.emit, context_for, self._approve, keep, core.home.user_loop)

    async def _approve(self, call: ToolCall, question: str) -> Approval:
        waiting: asyncio.Future[Approval] = asyncio.get_running_loop().create_future()
        self._confirmations[call.id] = waiting
        self.emit(ConfirmationRequested(call, question))
        try:
            return await waiting
        finally:
            del self._confirmations[call.id]

    async def _end(self, error: BaseException | None) -> None:
        """Leave a valid timeline, call the end hooks once, store, and say how it ended."""
        core = self._core
        core.stop_children(self)
        tick = self.ticks[-1] if self.ticks else None
        if tick is not None and tick.ended is None:
            tick.error = error
            self._commit_response(tick, cut=True)
            if tick.tool_calls and len(core.record) and core.record[-1].role == "assistant":
                self._commit_results(tick)
            core.price(tick)
            core.finish_tick(tick)
        if isinstance(error, BudgetError):
            self._stop, self._reason, error = StopReason.budget, str(error), None
        if error is not None:
            self._stop, self._reason = StopReason.error, str(error)
        self._result = self._summary()
        rows = [core.tick_row(tick, end=True)] if tick is not None else []
        try:
            await core.end_execution(self, self._result)
            await core.keep(*rows, core.execution_row(self, "ended", self._stop, self._reason))
        except Exception as failure:  # noqa: BLE001  # whatever an end hook raises becomes the outcome
            error = error or failure
            self._stop, self._reason = StopReason.error, str(error)
            self._result = self._summary()
        if error is not None:
            self.emit(_error_event(error))
        self.emit(ExecutionEnd(str(self._stop), self._reason, self._result.usage, self._result.cost))
        self.emit(Done())
        self.status = "done"
        self._log.close()
        if error is None:
            self._outcome.set_result(self._result)
        else:
            self._outcome.set_exception(error)
        core.next(self)

    def _summary(self) -> Result:
        result = result_of(self.ticks, self._stop, self._reason)
        result.output = self._output
        return result


def _text(draft: Draft) -> str:
    return "\n\n".join(str(block) for block in draft.content if isinstance(block, Text))


def _error_event(error: BaseException) -> Error:
    message = str(error) if isinstance(error, NbsessionError) else f"{type(error).__name__}: {error}"
    if isinstance(error, ModelError):
        return Error(message, error.kind, retryable=error.retryable)
    path = getattr(error, "path", "")
    kind = "render" if isinstance(error, RenderError) else "error"
    return Error(message, kind, path=path)
