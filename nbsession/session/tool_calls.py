"""The tool calls of a tick: one after another, or together where they are parallel-safe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nbsession.content import Text, ToolCall, ToolResult, result_content
from nbsession.errors import did_you_mean
from nbsession.events import Event, ToolEnd, ToolProgress, ToolStart
from nbsession.hooks import encode
from nbsession.session.confirming import Approval
from nbsession.tools import Outcome, Pause, Tool, ToolContext, needs_confirmation, run_tool
from nbsession.tree import acting

if TYPE_CHECKING:
    from nbsession.session.confirming import Confirming
    from nbsession.session.core import SessionCore
    from nbsession.session.door import Turn
    from nbsession.session.questions import Answer, Questions
    from nbsession.timeline import ToolRun


@dataclass(slots=True)
class ToolScope:
    """What running a tick's tools needs from around it; ``answer`` is the one that an execution goes on with."""

    tick: int
    toolbox: Mapping[str, Tool]
    emit: Callable[[Event], None]
    context_for: Callable[[ToolCall], ToolContext]
    confirming: Confirming
    keep: Callable[[ToolRun], Awaitable[None]]
    questions: Questions
    answer: Answer | None = None
    user_loop: asyncio.AbstractEventLoop | None = None


async def call_tools(runs: Sequence[ToolRun], scope: ToolScope) -> None:
    """Run a tick's tool calls and put each result into its run, except those that wait for an answer.

    One after another, in call order; neighbours whose tools are parallel-safe run
    together. Cancelling leaves the results that are there.
    """
    waiting: list[ToolRun] = []
    for run in runs:
        if run.result is not None:
            continue
        tool = scope.toolbox.get(run.name)
        if tool is not None and tool.parallel:
            waiting.append(run)
            continue
        await _together(waiting, scope)
        waiting = []
        await _call(run, scope)
    await _together(waiting, scope)


async def _together(runs: Sequence[ToolRun], scope: ToolScope) -> None:
    if len(runs) == 1:
        await _call(runs[0], scope)
    elif runs:
        try:
            async with asyncio.TaskGroup() as group:
                for run in runs:
                    group.create_task(_call(run, scope))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None


async def _call(run: ToolRun, scope: ToolScope) -> None:
    tool = scope.toolbox.get(run.name)
    if tool is None or tool.audience == "user":
        names = [name for name, item in scope.toolbox.items() if item.audience != "user"]
        _refuse(run, scope, f"there is no tool {run.name!r}{did_you_mean(run.name, names)}", "error")
        return
    asked = scope.questions.about(run.id)
    answer = scope.answer if asked is not None and scope.answer and scope.answer.question == asked else None
    if asked is not None and answer is None:
        return  # it waits on
    context = scope.context_for(run.call)
    if answer is not None and answer.question.kind == "pause":
        scope.questions.close(answer, scope.emit)
        context.answer = answer.value
        if not answer.question.again:
            run.value = answer.value
            run.result = ToolResult(run.id, run.name, result_content(answer.value))
            scope.emit(ToolEnd(run.result, value=run.value))
            await scope.keep(run)
            return
    else:
        approval = await _approval(run, tool, context, answer, scope)
        if approval is None:
            return
        if not approval.approved:
            why = f": {approval.reason}" if approval.reason else ""
            _refuse(run, scope, f"the user declined this call{why}", "denied")
            await scope.keep(run)
            return
        if approval.input is not None:
            run.call = ToolCall(run.call.id, run.call.name, dict(approval.input))
    await _run(run, tool, context, scope)


async def _approval(
    run: ToolRun, tool: Tool, context: ToolContext, answer: Answer | None, scope: ToolScope
) -> Approval | None:
    """Say whether a call may run, by the answer that is there or one that is asked for; ``None`` where it waits."""
    if answer is not None:
        scope.questions.close(answer, scope.emit)
        return Approval.of(answer.value)
    question = await needs_confirmation(tool, run.call, context)
    if question is not None:
        return await scope.confirming.ask(scope.tick, tool, run.call, question)
    return None if scope.confirming.halting else Approval(True)


async def _run(run: ToolRun, tool: Tool, context: ToolContext, scope: ToolScope) -> None:
    run.started = True
    await scope.keep(run)
    scope.emit(ToolStart(run.call))
    try:
        with acting(f"the tool {run.name} in tick {scope.tick}"):
            outcome: Outcome = await run_tool(tool, run.call, context, user_loop=scope.user_loop)
    except Pause as pause:
        scope.questions.ask(
            pause.question, run.call, "pause", pause.schema, scope.tick, scope.emit, again=pause.again
        )
    else:
        run.result, run.value, run.traceback = outcome.result, outcome.value, outcome.traceback
        scope.emit(ToolEnd(outcome.result, outcome.traceback, outcome.value))
    await scope.keep(run)


def context_for(core: SessionCore, execution: Turn, call: ToolCall) -> ToolContext:
    """Make what a tool with a ``ToolContext`` parameter is given."""

    def emit(data: Any) -> None:
        told = encode(data, f"what tool {call.name!r} emits")
        core.home.post(lambda: execution.emit(ToolProgress(call.id, told)))

    session = core.session
    return ToolContext(session=session, call_id=call.id, emit=emit, spawn=session.spawn, name=call.name)


def _refuse(run: ToolRun, scope: ToolScope, text: str, status: Literal["error", "denied"]) -> None:
    run.result = ToolResult(run.id, run.name, (Text(text),), is_error=True, status=status)
    scope.emit(ToolEnd(run.result))
