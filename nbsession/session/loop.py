"""What an execution does: ticks, one after another, until the loop stops."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from nbsession.content import ToolCall
from nbsession.context import origin_of
from nbsession.errors import (
    CompileError,
    MissingKeyError,
    ModelError,
    RecordingMissError,
    SessionBusyError,
    SessionError,
    StoreError,
)
from nbsession.events import (
    BreakpointReached,
    TickContext,
    TickEnd,
    TickStart,
    ToolEnd,
)
from nbsession.hooks import holding
from nbsession.models.base import OUTPUT_SCHEMA, refuse_unfit
from nbsession.session.confirming import Confirming
from nbsession.session.continuation import decide, open_gates
from nbsession.session.edit import changes_of
from nbsession.session.model_call import call_model
from nbsession.session.request_ids import Left
from nbsession.session.result import Result, StopReason, result_of
from nbsession.session.tool_calls import ToolScope, call_tools, context_for
from nbsession.timeline import Response, Tick, ToolRun, interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbsession.content import Block
    from nbsession.context import Compiled
    from nbsession.models.base import ModelAdapter
    from nbsession.session.breakpoints import Stopped
    from nbsession.session.core import SessionCore
    from nbsession.session.door import Turn
    from nbsession.stores.base import Row
    from nbsession.tools import Output, Tool

FLUSH = 0.4
"""Seconds between two writes of a response that is coming in."""

AT_BREAKPOINT = "stopped at a breakpoint"
"""The status of an execution that waits there."""


class Work:
    """The ticks of one execution, and why they stopped.

    ``run`` may be cancelled at any await; ``close`` then leaves a valid timeline.
    """

    def __init__(self, core: SessionCore, execution: Turn) -> None:
        self.ticks: list[Tick] = []
        self.stop = StopReason.end_turn
        self.reason = ""
        self.held_elsewhere = False
        self.left: Left | None = None
        self.stopped: Stopped | None = None
        self.confirming = Confirming(core, execution)
        self._core = core
        self._execution = execution
        self._output: Any = None
        self._sent_up_to: str | None = None
        self._message = Left(None, None)
        self._asked = False
        self._model = ""
        self._refused: ModelError | None = None
        self._tick: Tick | None = None
        self._response: Response | None = None
        self._unanswered: list[ToolRun] = []
        self._waited: Tick | None = None

    def commit_message(self) -> None:
        """Put the message into the timeline, where no earlier try has left it; it and what follows are new to the model.

        Without one, where calls of the last tick wait for an answer, that tick is gone on with.
        """
        core, execution = self._core, self._execution
        if core.questions.open and not execution.drafts:
            self._waited = core.ticks[-1]
            self._sent_up_to = self._waited.head_before
            return
        left = core.requests.left(execution.request)
        if left is None or not core.record.unanswered(left.last):
            before = core.record.head
            core.take(execution.drafts, log=execution.log, metadata=execution.options.metadata)
            left = Left(before, core.record.head)
        self._message, self._sent_up_to = left, left.after

    async def run(self) -> None:
        """Settle the tree, tell that an execution begins, and tick until nothing is left to do."""
        core, execution = self._core, self._execution
        if execution.answer is not None:
            core.questions.check(execution.answer)
        core.spending.begin(execution.options.budget)
        try:
            await core.keeper.progress(sure=core.journal.held)
        except SessionBusyError:
            self.held_elsewhere = True
            raise
        if self._waited is None:
            core.environment.gates.reopen()
        await core.settle()
        await core.announce(execution.session)
        await core.mount.fire("on_execution_start", execution, execution.session)
        tick = await (self._next_tick() if self._waited is None else self._go_on(self._waited))
        while tick.should_continue:
            if len(self.ticks) >= execution.max_ticks:
                self.stop = StopReason.max_ticks
                held = holding(core.mount.gates)
                also = f", and {open_gates(held)}" if held else ""
                self.reason = f"it reached the limit of {execution.max_ticks} ticks{also}"
                return
            tick = await self._next_tick()
        if execution.options.output is not None:
            self._output = output_of(tick, execution.options.output)

    def result(self) -> Result:
        """Sum up what there is so far."""
        result = result_of(self.ticks, self.stop, self.reason)
        result.output = self._output
        return result

    def resume(self, texts: Mapping[Any, str]) -> None:
        """Let an execution that stands at a breakpoint go on, with other texts in place of some parts."""
        stopped = self.stopped
        if stopped is None or stopped.released.done():
            raise SessionError(
                f"execution {self._execution.id} does not stand at a breakpoint, so there is nothing to resume"
            )
        if texts:
            self._core.edit(changes_of(stopped.context, texts))
        stopped.released.set_result(None)

    def close(self, error: BaseException | None) -> None:
        """Leave a valid timeline, whatever cut the work: the answer as far as it came, every call answered."""
        core = self._core
        core.spending.end()
        core.questions.take_back(self._execution.answer)
        if not self._asked and self._waited is None:
            self.left = self._message
        tick, self._tick = self._tick, None
        if tick is None:
            return
        unkept = isinstance(
            error, StoreError
        )  # then what was asked need not be asked again: it can be kept later
        if core.questions.open and (tick is self._waited or unkept):
            tick.error = error
            self._wait_on(tick)
            return
        core.questions.withdraw("the execution was stopped", self._execution.emit)
        tick.error, tick.reason = error, str(error or "")
        try:
            if tick is self._waited or (self.ticks and self.ticks[-1] is tick):
                self._commit_response(tick)
                self._answer_calls()
                core.finish_tick(tick)
                core.outbox.add(core.outbox.tick_ended(tick))
        finally:
            self._execution.emit(TickEnd(tick.number, tick.usage, tick.cost, False, tick.reason))

    async def _next_tick(self) -> Tick:
        core, execution = self._core, self._execution
        execution.checkpoint()
        tick = self._tick = Tick(len(core.ticks), execution.id)
        core.deliver(execution.log)
        execution.emit(TickStart(tick.number))
        try:
            compiled, model = await self._compile(tick)
        except CompileError as too_little:
            if self._refused is None:
                raise
            raise self._refused from too_little
        stood = self._sent_up_to
        response = await self._begin(tick, compiled, model)
        try:
            await self._ask(model, tick, response)
        except ModelError as error:
            if self._refused is not None or not self._make_room(error, tick, compiled, model):
                raise
            self._refused, self._sent_up_to = error, stood
            await core.outbox.keep()
            return await self._next_tick()
        self._refused = None
        return await self._do_calls(tick, compiled.toolbox)

    async def _go_on(self, tick: Tick) -> Tick:
        """Do the calls of a tick that waited, as far as they are answered now."""
        core, execution = self._core, self._execution
        execution.checkpoint()
        toolbox = core.mount.compile(tools=(*execution.options.tools, *core.tools)).toolbox
        answer = execution.answer
        if answer is not None and answer.question.call.name not in toolbox:
            raise SessionError(
                f"the tool {answer.question.call.name!r} that asked is not there now; give it to the app, the tree or the "
                "session again, and answer then"
            )
        self._tick, self._unanswered = tick, tick.tool_calls
        return await self._do_calls(tick, toolbox)

    async def _do_calls(self, tick: Tick, toolbox: Mapping[str, Tool]) -> Tick:
        """Run a tick's tools, and end it: with the answers of all, or waiting for somebody."""
        core = self._core
        if tick.stop_reason == "tool_use" and tick.tool_calls:
            undone = [run for run in tick.tool_calls if run.result is None]
            await call_tools(undone, self._scope(tick, toolbox))
            self._execution.checkpoint()
            if core.questions.open:
                self._wait_on(tick)
                core.keeper.tree()
                await core.outbox.keep()
                return tick
            self._answer_calls()
            self._heed_interrupt(undone)
            core.keeper.tree()
            await core.outbox.keep()  # before any hook: what a tool did is not to be unknown any longer
        self._answer_calls()
        await self._end_tick(tick)
        return tick

    def _wait_on(self, tick: Tick) -> None:
        """End a tick some of whose calls wait for somebody."""
        core, self._tick, self._unanswered = self._core, None, []
        for run in tick.tool_calls:
            if run.started and run.result is None and core.questions.about(run.id) is None:
                run.result = interrupted(run)
                self._execution.emit(ToolEnd(run.result))
        core.questions.keep_results(tick.tool_calls)
        question = core.questions.open[0]
        self.stop, self.reason = StopReason.paused, f"waits for an answer: {question.text}"
        tick.should_continue, tick.reason = False, self.reason
        core.finish_tick(tick)
        self._tell_end(tick)

    def _tell_end(self, tick: Tick) -> None:
        """Tell that a tick ended, in a row and in an event."""
        self._core.outbox.add(self._core.outbox.tick_ended(tick))
        self._execution.emit(TickEnd(tick.number, tick.usage, tick.cost, tick.should_continue, tick.reason))

    def _make_room(
        self, error: ModelError, tick: Tick, compiled: Compiled[ModelAdapter], model: ModelAdapter
    ) -> bool:
        """End a tick that was refused for its length, if the next one can be shorter; say whether it can."""
        core = self._core
        if not error.too_long or compiled.fitted is None or tick.response:
            return False
        known = core.room.refused(model.name, compiled.context.tokens, error)
        if not known:
            return False
        core.keeper.changes(known)
        self._commit_response(tick)
        tick.error, tick.should_continue, tick.reason = error, True, "to be sent once more with less"
        core.finish_tick(tick)
        self._tick = None
        self._tell_end(tick)
        return True

    def _heed_interrupt(self, runs: list[ToolRun]) -> None:
        """Stop where the user's interrupt reached a tool, before whoever waits for the execution."""
        if any(run.result is not None and run.result.status == "interrupted" for run in runs):
            self._execution.abort("stopped by the interrupt")
            self._execution.checkpoint()

    async def _compile(self, tick: Tick) -> tuple[Compiled[ModelAdapter], ModelAdapter]:
        """Bring the tree to rest and compile it; nothing is sent that the budget does not allow."""
        core, execution = self._core, self._execution
        await core.mount.fire_settled("on_tick_start", core.settle, tick, execution.session)
        await core.announce(execution.session)
        options = execution.options
        # A fork's render() sends what waits there, too.
        asked = bool(execution.drafts) or (len(core.record) > 0 and core.record[-1].role == "user")

        def compiling() -> tuple[Compiled[ModelAdapter], ModelAdapter]:
            compiled = core.compile(
                options.tools,
                needs_timeline=asked,
                settings=None if options.output is None else {OUTPUT_SCHEMA: options.output.schema},
                choose=core.model_for(options.model),
                fresh=core.record.since(self._sent_up_to),
            )
            assert compiled.model is not None  # chosen by what ``choose`` returned
            return compiled, compiled.model

        compiled, model = compiling()
        prepare = getattr(model, "prepare", None)
        if prepare is not None and await prepare():
            compiled, model = compiling()
        stopped = core.breakpoints.met(compiled.context, core.room.before)
        if stopped is not None:
            await self._stand_at(stopped, tick)
            await core.settle()
            compiled, model = compiling()
        await core.mount.fire("after_compile", compiled.context, execution.session)
        execution.checkpoint()
        refuse_unfit(compiled.context, model)
        core.spending.check(compiled.context, model.name)
        return compiled, model

    async def _stand_at(self, stopped: Stopped, tick: Tick) -> None:
        """Wait at a breakpoint until somebody lets the execution go on, or stops it."""
        execution = self._execution
        self.stopped, execution.status = stopped, AT_BREAKPOINT
        try:
            execution.emit(BreakpointReached(tick.number, str(stopped.breakpoint), stopped.reason))
            await stopped.released
        finally:
            self.stopped, execution.status = None, "running"

    async def _begin(self, tick: Tick, compiled: Compiled[ModelAdapter], model: ModelAdapter) -> Response:
        """Make the tick one of the session's, and durable, before anything is sent."""
        core = self._core
        tick.context, tick.source = compiled.context, model.source
        tick.asked = tick.model = model.name
        core.begin_tick(tick)
        self._sent_up_to, self._model = tick.head_before, model.name
        self.ticks.append(tick)
        self._response = response = Response()
        await core.outbox.keep(core.outbox.tick_began(tick))
        self._execution.emit(TickContext(tick.number, compiled.context, model.name, model.source))
        return response

    async def _ask(self, model: ModelAdapter, tick: Tick, response: Response) -> None:
        """Stream the model's answer and commit it."""
        core, asked, self._asked = self._core, self._asked, True
        core.outbox.growing = self._growth(tick, response)
        flusher = asyncio.create_task(self._keep_partials()) if core.outbox.keeps else None
        try:
            await call_model(model, tick.context, tick, response, self._execution.emit, core.record.has_call)
        except (MissingKeyError, RecordingMissError):  # found out before anything is sent
            self._asked = asked
            raise
        finally:
            if flusher is not None:
                flusher.cancel()
                await asyncio.wait({flusher})
            core.outbox.growing = lambda: None
        self._commit_response(tick)
        core.outbox.add(core.outbox.tick_answered(tick))
        await core.keeper.progress()

    async def _keep_partials(self) -> None:
        """Store what has come of a response twice a second, so that a crash loses no more than that."""
        while True:
            await asyncio.sleep(FLUSH)
            await self._core.outbox.try_keep()

    def _growth(self, tick: Tick, response: Response) -> Callable[[], Row | None]:
        """Return what gives the row of what has come of a response since it was asked before."""
        kept: tuple[Block, ...] = ()

        def grown() -> Row | None:
            nonlocal kept
            before, kept = kept, response.content()
            return self._core.outbox.partial(tick, before, kept) if kept != before else None

        return grown

    def _commit_response(self, tick: Tick) -> None:
        """Put what the model said into the timeline, once."""
        response, self._response = self._response, None
        if response is None:
            return
        self._core.spending.charge(tick, response)
        tick.response = response.content()
        tick.interrupted = not response.complete
        tick.tool_calls = [ToolRun(block) for block in tick.response if isinstance(block, ToolCall)]
        self._unanswered = tick.tool_calls
        if tick.response:
            self._core.append(
                "assistant",
                tick.response,
                log=self._execution.log,
                status="interrupted" if tick.interrupted else "complete",
                metadata=origin_of(tick.response, tick.context, self._model),
            )

    def _answer_calls(self) -> None:
        """Answer every tool call in the timeline, in call order, once; those that were cut as interrupted."""
        runs, self._unanswered = self._unanswered, []
        results = []
        for run in runs:
            if run.result is None:
                run.result = interrupted(run)
                if run.started:
                    self._execution.emit(ToolEnd(run.result))
            results.append(run.result)
        if results:
            self._core.append("tool", tuple(results), log=self._execution.log)
            self._core.questions.drop_results()

    async def _end_tick(self, tick: Tick) -> None:
        core, execution = self._core, self._execution
        await core.announce(execution.session)
        await core.mount.fire("on_tick_end", tick, execution.session)
        self.stop, self.reason = await decide(core, execution.session, tick)
        core.finish_tick(tick)
        self._tick = None
        self._tell_end(tick)
        if (
            tick.should_continue or tick is self._waited
        ):  # else it is kept with the end of the execution, which follows
            await core.keeper.progress()

    def _scope(self, tick: Tick, toolbox: Mapping[str, Tool]) -> ToolScope:
        core, execution = self._core, self._execution

        async def keep(run: ToolRun) -> None:
            execution.checkpoint()
            row = core.outbox.tool(tick, run)
            if row is not None:
                core.keeper.tree()  # a result is never kept without the state that its tool set
                await core.outbox.keep(row)

        given = partial(context_for, core, execution)
        return ToolScope(
            tick.number,
            toolbox,
            execution.emit,
            given,
            self.confirming,
            keep,
            core.questions,
            core.permissions,
            execution.answer,
            core.home.user_loop,
        )


def output_of(tick: Tick, output: Output) -> Any:
    """Read a tick's answer as the type that was asked for; ``None`` where it was cut."""
    if tick.stop_reason not in ("end_turn", "stop_sequence"):
        return None
    return output.read(tick.response, tick.model)
