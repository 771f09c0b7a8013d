"""What a process that ended in the middle left behind, brought to a valid end."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from nbsession.context import origin_of
from nbsession.events import Done, ExecutionEnd, TickEnd
from nbsession.models.playback import estimated_usage
from nbsession.record import tell_answer
from nbsession.session.execution import Execution
from nbsession.session.request_ids import Again, Left
from nbsession.session.result import StopReason, result_of
from nbsession.session.spending import price_of
from nbsession.stores.base import Row
from nbsession.timeline import unknown
from nbsession.tools import Decision
from nbsession.usage import calibrated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.record import Past
    from nbsession.session.core import SessionCore
    from nbsession.session.questions import Questions
    from nbsession.timeline import Tick

CUT = {"status": "interrupted", "stop_reason": "aborted", "reason": "the process ended while it ran"}
"""What becomes of an execution whose process ended."""


def recover(core: SessionCore, past: Past) -> None:
    """Take up what is known of the past; what was cut ends as far as it came.

    What another process runs at this moment is left to it, and shown as it stands.

    Then the answer is kept, every call is answered and readers of events are told.
    Nothing is run again: a tool that had started without a result that was kept is
    *unknown*, and a request that was sent is not sent again under its id.
    """
    core.policies.take_over(past.policies)
    core.feed.sequence = core.outbox.stored = past.sequence
    if past.held_by:
        _show_running(core, past)
        return
    for key, data in past.executions.items():
        if data["status"] == "running":
            _end_execution(core, key, data, past)
    if past.untold and past.executions:
        _tell_end(core, *next(reversed(past.executions.items())))
    if core.questions.open:
        tell_results(core.ticks[-1], core.questions)
    core.outbox.due = False  # it can be worked out again: who only looks at a session need not write
    for key, data in past.executions.items():
        again = Again(partial(Execution.again, core, key, data))
        core.line.past.append(cache(again))  # made when it is asked for, and once
        if data.get("request"):
            request_id, digest = data["request"]
            if data.get("left"):
                core.requests.leave(request_id, digest, Left(*data["left"]))
            else:
                core.requests.remember(request_id, digest, again)


def _show_running(core: SessionCore, past: Past) -> None:
    tick = core.ticks[-1] if core.ticks else None
    if tick is not None and tick.ended is None:
        tick.interrupted, tick.reason = False, f"{past.held_by} runs it"
        tick.response = tick.response or past.partials.get(tick.number, ())


def _end_execution(core: SessionCore, key: str, data: Mapping[str, Any], past: Past) -> None:
    tick = core.ticks[-1] if core.ticks else None
    waits = tick is not None and bool(core.questions.open)
    past.executions[key] = {**data, **(paused(core) if waits else CUT)}
    if tick is not None and waits:
        _wait_on(core, tick, past)
    elif tick is not None and (tick.ended is None or _has_open_calls(core)):
        _end_tick(core, tick, past)
    core.outbox.add(Row("execution", key, past.executions[key]))
    past.untold = True
    if not waits:
        core.end_cut_execution()


def _has_open_calls(core: SessionCore) -> bool:
    return bool(len(core.record) and core.record[-1].tool_calls)


def paused(core: SessionCore) -> dict[str, Any]:
    """Say what becomes of an execution whose process ended while somebody was asked."""
    reason = f"waits for an answer: {core.questions.open[0].text}"
    return {"status": "ended", "stop_reason": "paused", "reason": reason}


def _wait_on(core: SessionCore, tick: Tick, past: Past) -> None:
    """Let the tick wait on whose calls wait: of the others, those that had started have what is known of them."""
    tick.head_after = core.record.head
    tell_answer(tick, core.record)
    tell_results(tick, core.questions)
    for run in tick.tool_calls:
        if run.result is None and run.id in past.tool_calls and core.questions.about(run.id) is None:
            run.result = past.tool_calls[run.id] or unknown(run.call)
    core.questions.keep_results(tick.tool_calls)
    tick.reason, tick.interrupted = paused(core)["reason"], False
    core.finish_tick(tick)
    core.outbox.add(core.outbox.tick_ended(tick))
    core.feed.emit(TickEnd(tick.number, tick.usage, tick.cost, False, tick.reason))


def tell_results(tick: Tick, questions: Questions) -> None:
    """Give the calls of a tick that waits the results that they have, and say which rule asks about the others."""
    for run in tick.tool_calls:
        run.result = run.result or questions.results.get(run.id)
        question = questions.about(run.id)
        if question is not None and question.rule is not None:
            run.decision = Decision("asked", str(question.rule), question.rule.by)


def _tell_end(core: SessionCore, key: str, data: Mapping[str, Any]) -> None:
    """Tell readers of events how the last execution ended."""
    ticks = [tick for tick in core.ticks if tick.execution == key]
    result = result_of(ticks, StopReason(data["stop_reason"]), data["reason"])
    core.feed.emit(ExecutionEnd(data["stop_reason"], data["reason"], result.usage, result.cost))
    core.feed.emit(Done(result.usage, len(ticks)))


def _end_tick(core: SessionCore, tick: Tick, past: Past) -> None:
    tick.reason = CUT["reason"]
    partial = past.partials.get(tick.number)
    if partial and core.record.head == tick.head_before:
        # Its row has the name of the adapter: what a model says of itself comes with the end.
        metadata = origin_of(partial, tick.context, tick.model)
        core.append("assistant", partial, status="interrupted", metadata=metadata)
    core.heal({**past.tool_calls, **core.questions.results})
    core.questions.drop_results()
    tick.interrupted = True
    tick.head_after, tick.state_after = core.record.head, core.state.version
    tell_answer(tick, core.record)
    if not tick.usage.total_tokens:
        # Nobody heard what it used; the provider charges it all the same.
        tick.usage = estimated_usage(calibrated(tick.model).apply(tick.context.tokens), tick.response)
        tick.cost = price_of(tick)
        core.spending.recount()
    core.outbox.add(core.outbox.tick_ended(tick))
    core.feed.emit(TickEnd(tick.number, tick.usage, tick.cost, False, tick.reason))
