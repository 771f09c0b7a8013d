"""The tool calls of a tick: one after another, or together where they are parallel-safe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nbsession.content import Text, ToolCall, ToolResult, result_content
from nbsession.errors import did_you_mean
from nbsession.events import Event, PermissionDecided, ToolEnd, ToolProgress, ToolStart
from nbsession.hooks import encode
from nbsession.session.confirming import Approval
from nbsession.session.questions import told
from nbsession.tools import Outcome, Pause, Tool, ToolContext, needs_confirmation, run_tool
from nbsession.tree import acting

if TYPE_CHECKING:
    from nbsession.session.confirming import Confirming
    from nbsession.session.core import SessionCore
    from nbsession.session.door import Turn
    from nbsession.session.permissions import Permissions
    from nbsession.session.questions import Answer, Questions
    from nbsession.timeline import ToolRun
    from nbsession.tools import Verdict


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
    permissions: Permissions
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
    answer = None if asked is None else scope.questions.answered(asked, scope.answer)
    if asked is not None and answer is None:
        return  # it waits on
    context = scope.context_for(run.call)
    if answer is not None:
        scope.questions.close(answer, scope.emit)
        if answer.question.kind == "pause" and not answer.question.again:
            run.value = answer.value
            run.result = ToolResult(run.id, run.name, result_content(answer.value))
            scope.emit(ToolEnd(run.result, value=run.value))
            await scope.keep(run)
            return
    if await _may_run(run, tool, context, answer, scope):
        await _run(run, tool, context, scope)
    elif run.result is not None:
        await scope.keep(run)


async def _may_run(
    run: ToolRun, tool: Tool, context: ToolContext, answer: Answer | None, scope: ToolScope
) -> bool:
    """Say whether a call may run; one that may not has its result, or waits for somebody."""
    verdict = scope.permissions.verdict_on(tool, run.call)
    if _denied(run, verdict, scope):
        return False
    if answer is None:
        question = await needs_confirmation(tool, run.call, context, verdict)
        if verdict is not None and (question is not None or verdict.action == "allow"):
            _tell(run, verdict, scope)
        if question is None:
            return not scope.confirming.halting
        rule = None if verdict is None else verdict.rule
        approval = await scope.confirming.ask(scope.tick, tool, run.call, question, verdict)
    elif answer.question.kind == "pause":
        context.answer = answer.value
        return True
    else:
        rule, approval = answer.question.rule, Approval.of(answer.value)
    if approval is None:
        return False
    if not approval.approved:
        why = f": {approval.reason}" if approval.reason else ""
        _refuse(run, scope, f"the user declined this call{why}", "denied")
        return False
    if approval.always:
        scope.permissions.always(tool.name, rule)
    if approval.input is None:
        return True
    run.call = ToolCall(run.call.id, run.call.name, dict(approval.input))
    return not _denied(run, scope.permissions.verdict_on(tool, run.call), scope)


def _denied(run: ToolRun, verdict: Verdict | None, scope: ToolScope) -> bool:
    """Refuse a call that a rule denies; say whether one does."""
    if verdict is None or verdict.action != "deny":
        return False
    _tell(run, verdict, scope)
    _refuse(run, scope, verdict.refusal, "denied")
    return True


def _tell(run: ToolRun, verdict: Verdict, scope: ToolScope) -> None:
    """Put a rule's decision on record, once."""
    if run.decision != verdict.decision:
        run.decision = verdict.decision
        scope.emit(PermissionDecided(run.id, *verdict.decision))


async def _run(run: ToolRun, tool: Tool, context: ToolContext, scope: ToolScope) -> None:
    run.started = True
    await scope.keep(run)
    scope.emit(ToolStart(run.call))
    try:
        with acting(f"the tool {run.name} in tick {scope.tick}"):
            outcome: Outcome = await run_tool(tool, run.call, context, user_loop=scope.user_loop)
    except Pause as pause:
        question = scope.questions.ask(
            pause.question, run.call, "pause", pause.schema, scope.tick, again=pause.again
        )
        await scope.keep(run)  # whoever hears of it finds it, also after a crash
        scope.emit(told(question))
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
