"""How a session's core begins: anew, from what a store kept of it, or as a fork."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.hooks import StateLog
from nbsession.record import Journal, restore_ticks
from nbsession.session.core import SessionCore, Spawned
from nbsession.session.recovery import recover
from nbsession.timeline import Record

if TYPE_CHECKING:
    from nbsession.context import ToolUse
    from nbsession.record import Past
    from nbsession.session.door import Door
    from nbsession.session.fork import Fork
    from nbsession.stores.base import SessionStore


def core_of(
    session: Door,
    node: Any,
    *,
    tools: tuple[ToolUse, ...],
    model: Any,
    store: SessionStore | None,
    past: Past | None,
    fork: Fork | None,
) -> SessionCore:
    """Build the core of a session, with what it begins with; a birth is stored with the first that is."""
    app = session.app
    record, state, ticks = fork[:3] if fork is not None else (Record(), StateLog(), [])
    if past is not None:
        assert store is not None
        record.restore(past.entries, past.head)
        state.record(past.changes)
        ticks = restore_ticks(past.ticks, record, store)
        journal = Journal(
            store, session.id, revision=past.revision, held_by=past.held_by, created=past.created
        )
    else:
        journal = Journal(store, session.id)
    core = SessionCore(
        session,
        node,
        forget=lambda: app.forget(session),
        home=app.home,
        journal=journal,
        record=record,
        state=state,
        ticks=ticks,
        tools=tools,
        model=model,
        max_ticks=app.max_ticks,
        budget=app.budget,
        policies=app.policies,
        permissions=app.permissions,
    )
    if fork is not None:
        core.policies.take_over(fork.answers, fork.older)
    if past is not None:
        recover(core, past)
    elif store is not None:
        shared = fork.shared if fork is not None else None
        core.outbox.birth(session.metadata, session.parent, session.forked, shared)
        if fork is not None:
            core.outbox.begin_fork(shared, state.version, state.changes)
    if fork is not None:
        core.mail.take()  # what waits there is for the parent
    if app.observe is not None:
        core.feed.observer = app.observe(session.id, node.type.name)
    return core


def spawned(child: SessionCore, by: SessionCore) -> None:
    """Let a session be another one's child, with what that one was allowed and may spend."""
    child.depth = by.depth + 1
    child.spending.parent = by.spending
    child.permissions.take_over(by.permissions)
    by.children.append(Spawned(child.session, by.current))
