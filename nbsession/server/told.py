"""What is there, as it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.protocol import (
    CallAnswer,
    KnobAnswer,
    KnobsAnswer,
    MessageAnswer,
    SessionAnswer,
    SessionEntry,
    UsageAnswer,
)
from nbsession.server.discretion import told_error
from nbsession.server.note import Note, own

if TYPE_CHECKING:
    from nbsession.knobs import KnobSpec
    from nbsession.server.gateway import Gateway
    from nbsession.session import Execution, Session
    from nbsession.stores.base import SessionInfo
    from nbsession.timeline import ToolRun
    from nbsession.usage import Usage


def session_answer(gateway: Gateway, session: Session) -> SessionAnswer:
    """Tell of an open session."""
    note, usage = Note.of(session.metadata), session.usage
    served = gateway.served.get(note.app) or gateway.served_of(session)
    return SessionAnswer(
        id=session.id,
        agent_id=served.name,
        component=served.component,
        status=session.status,
        metadata=own(session.metadata),
        work_dir=note.work_dir,
        parent=session.parent,
        created=note.created,
        entries=len(session.timeline),
        ticks=len(session.ticks),
        waiting=len(session.waiting),
        sequence=session.stored,
        usage=usage_answer(usage.total),
        cost=usage.cost,
    )


def session_entry(gateway: Gateway, info: SessionInfo, session: Session | None) -> SessionEntry:
    """Tell of a session in a list, which is open or not."""
    note = Note.of(info.metadata)
    return SessionEntry(
        id=info.id,
        agent_id=note.app or next(iter(gateway.served)),
        status="stored" if session is None else session.status,
        metadata=own(info.metadata),
        work_dir=note.work_dir,
        parent=info.parent,
        created=info.created,
        updated=info.updated,
    )


def message_answer(execution: Execution) -> MessageAnswer:
    """Tell what came of an execution that has ended; raises what it failed with, as far as it may be told."""
    if execution.error is not None:
        raise told_error(execution.error)
    result = execution.outcome.result()
    return MessageAnswer(
        response=result.text,
        tool_calls=[call_answer(run) for run in result.tool_calls],
        usage=usage_answer(result.usage),
        steps=len(result.ticks),
        stop_reason=str(result.stop_reason),
        reason=result.reason,
        execution=execution.id,
        source=result.source,
        model=result.model,
        cost=result.cost,
        output=result.output,
    )


def call_answer(run: ToolRun) -> CallAnswer:
    """Tell of a tool call."""
    result = run.result
    if result is None:
        return CallAnswer(id=run.id, name=run.name, input=dict(run.input))
    return CallAnswer(
        id=run.id,
        name=run.name,
        input=dict(run.input),
        result=result.text,
        is_error=result.is_error,
        status=result.status,
        duration=result.duration,
    )


def usage_answer(usage: Usage) -> UsageAnswer:
    """Tell of tokens."""
    return UsageAnswer(**usage.to_dict())


def knobs_answer(session: Session) -> KnobsAnswer:
    """Tell of a session's knobs."""
    values = session.knobs.values()
    return KnobsAnswer(
        knobs=[knob_answer(spec, values[name]) for name, spec in session.knobs.specs().items()]
    )


def knob_answer(spec: KnobSpec, value: Any) -> KnobAnswer:
    """Tell of a knob."""
    return KnobAnswer(
        name=spec.name,
        value=value,
        default=spec.default,
        kind=spec.kind,
        min=spec.min,
        max=spec.max,
        step=spec.step,
        options=list(spec.options),
        labels=list(spec.labels),
        max_length=spec.max_length,
        pattern=spec.pattern,
        description=spec.description,
        group=spec.group,
        momentary=spec.momentary,
    )
