"""An execution at a server: its handle here, and its events however often the connection breaks."""

from __future__ import annotations

import asyncio
import concurrent.futures
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from nbsession.client.ticks import Ticks
from nbsession.errors import ModelError, NbsessionError, RenderError, SessionError
from nbsession.events import (
    ConfirmationRequested,
    Error,
    ExecutionEnd,
    ExecutionStart,
    QuestionAnswered,
    QuestionWithdrawn,
)
from nbsession.record import EventLog
from nbsession.session.loop import output_of
from nbsession.session.result import Result, StopReason, result_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Mapping

    from nbsession.events import Event
    from nbsession.timeline import Tick
    from nbsession.tools import Output


class Far(Protocol):
    """The session at the server, as its executions see it."""

    id: str

    async def exact(self, ticks: list[Tick], execution: str) -> list[Tick]:
        """Return an execution's ticks as the server has them, by those that its events told of."""

    async def abort(self, request_id: str | None, reason: str | None) -> None:
        """Stop what was sent under an id, without one what runs."""

    async def give(self, question: str, value: Any) -> None:
        """Answer a question, and wait for what comes of it."""


class AsyncExecution:
    """What was sent to a server: queued, running or finished there. It has begun when this is made.

    Its ``status`` is ``"queued"``, ``"running"`` or ``"done"``. Await it (or ``.result``) for its ``Result``: a
    failed one raises its error, an aborted one gives what there is. Iterate it asynchronously for its events; late
    and second readers get all of them. Both work from any loop. Cancelling the task that awaits it aborts it;
    cancelling a reader does not, nor does it stop when this program ends.
    """

    def __init__(
        self,
        session: Far,
        events: AsyncGenerator[Event],
        *,
        follow: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        request_id: str | None = None,
        output: Output | None = None,
    ) -> None:
        self.id = ""
        self.session: Far = session
        self.request_id = request_id
        self.status = "queued"
        self.outcome: concurrent.futures.Future[Result] = concurrent.futures.Future()
        self.outcome.set_running_or_notify_cancel()
        self._output = output
        self._log = EventLog()
        self._ticks = Ticks()
        self._end: ExecutionEnd | None = None
        self._failed: NbsessionError | None = None
        self._asked: dict[str, ConfirmationRequested] = {}
        self._loop = asyncio.get_running_loop()
        self._beside: set[asyncio.Task[None]] = set()
        self._task = follow(self._follow(events))

    # What users call

    def __await__(self) -> Generator[Any, None, Result]:
        return self._wait().__await__()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self.events()

    def events(self) -> AsyncGenerator[Event]:
        """Give its events, from the first on; what iterating it does."""
        return self._log.read()

    @property
    def result(self) -> AsyncExecution:
        """The execution itself, to be awaited for its ``Result``."""
        return self

    @property
    def ticks(self) -> list[Tick]:
        """Its ticks so far."""
        return self._ticks.all

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.outcome.done()

    @property
    def error(self) -> BaseException | None:
        """The error it failed with, ``None`` while it runs or when it did not fail."""
        return self.outcome.exception() if self.done else None

    def abort(self, reason: str | None = None) -> None:
        """Stop it; what was said so far is kept. A second call, or one after the end, does nothing."""
        if not self.done:
            self._post(self._abort(reason))

    def confirm(
        self, call_id: str, approved: bool, reason: str | None = None, input: Mapping[str, Any] | None = None
    ) -> None:
        """Answer a ``ConfirmationRequested``; ``input`` replaces what the model asked to call the tool with.

        Raises ``SessionError`` where nothing is asked about that call. An answer that the server refuses is asked
        for again, with why. The ``reason`` stays here: the server's answers have none.
        """
        asked = self._asked.get(call_id)
        if asked is None:
            raise SessionError(f"execution {self.id} asks nothing about the call {call_id!r}")
        self._post(self._confirm(asked, dict(input) if approved and input is not None else approved))

    def check(self, call_id: str, input: Mapping[str, Any]) -> None:
        """Take any input: the server checks it when it is given, and asks again where the tool does not take it."""

    async def settled(self) -> None:
        """Wait for the end, however it ends."""
        waiter = asyncio.wrap_future(self.outcome)
        waiter.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.wait({waiter})

    def __repr__(self) -> str:
        return f"<AsyncExecution {self.id or '…'} {self.status}, {len(self.ticks)} ticks>"

    # On the client's loop

    async def _wait(self) -> Result:
        try:
            return await asyncio.shield(asyncio.wrap_future(self.outcome))
        except asyncio.CancelledError:
            self.abort("the task that awaited it was cancelled")
            raise

    def _post(self, work: Any) -> None:
        def begin() -> None:
            task = self._loop.create_task(work)
            self._beside.add(task)
            task.add_done_callback(self._beside.discard)

        self._loop.call_soon_threadsafe(begin)

    async def _abort(self, reason: str | None) -> None:
        await self.session.abort(self.request_id, reason)

    async def _confirm(self, asked: ConfirmationRequested, value: Any) -> None:
        try:
            await self.session.give(asked.question, value)
        except NbsessionError as error:
            if asked.call.id in self._asked and not self.done:
                self._log.append(replace(asked, message=f"{asked.message} ({error})"))

    async def _follow(self, events: AsyncGenerator[Event]) -> None:
        """Read the events to the last, then have the result made."""
        error: BaseException | None = None
        try:
            async with aclosing(events):
                async for event in events:
                    self._take(event)
        except asyncio.CancelledError:
            error = self._failed or SessionError(
                f"the client was closed before execution {self.id or 'it'} ended; it goes on at the server"
            )
        except NbsessionError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001  # whatever breaks is told to who waits
            error = failure
        await self._finish(error)

    def _take(self, event: Event) -> None:
        if isinstance(event, ExecutionStart):
            self.id, self.status = event.execution, "running"
        elif isinstance(event, ConfirmationRequested):
            self._asked[event.call.id] = event
        elif isinstance(event, (QuestionAnswered, QuestionWithdrawn)):
            self._asked.pop(event.call_id, None)
        elif isinstance(event, ExecutionEnd):
            self._end = event
        elif isinstance(event, Error):
            self._failed = _error_of(event)
        self._ticks.take(event, self.id)
        self._log.append(event)

    async def _finish(self, error: BaseException | None) -> None:
        try:
            if error is None:
                error = self._misread() or self._failed
            if error is None:
                self.outcome.set_result(await self._made())
        except NbsessionError as failure:
            error = failure
        except asyncio.CancelledError:
            error = SessionError("the client was closed before the result was read; the session has it")
        finally:
            self.status = "done"
            self._log.close()
            if not self.outcome.done():
                self.outcome.set_exception(error or SessionError("the stream of events ended too soon"))
                self.outcome.exception()

    def _misread(self) -> ModelError | None:
        """Return why the answer is not what was asked for, which the server does not say in as many words."""
        if self._output is None or not isinstance(self._failed, ModelError) or not self._ticks.all:
            return None
        try:
            output_of(self._ticks.all[-1], self._output)
        except ModelError as error:
            return error
        return None

    async def _made(self) -> Result:
        """Make the result of the ticks as the server has them, each with its context."""
        end = self._end
        if end is None:
            raise SessionError(
                f"the events of execution {self.id or ''} ended before it did; ask the session"
            )
        ticks = await self.session.exact(self._ticks.all, self.id)
        self._ticks.all[:] = ticks
        result = result_of(ticks, StopReason(end.stop_reason), end.reason)
        if self._output is not None and ticks:
            result.output = output_of(ticks[-1], self._output)
        return result


def _error_of(event: Error) -> NbsessionError:
    if event.kind == "render":
        return RenderError(event.message, path=event.path)
    if event.kind == "error":
        return SessionError(event.message)
    return ModelError(event.message, kind=event.kind, retryable=event.retryable)
