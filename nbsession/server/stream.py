"""Events as a stream of server-sent events.

A stream is pulled: nothing is buffered for a reader that rests, which goes on from what the session
and its store keep. One that takes nothing for long is cut off, and comes back with the id of the
last event that it had. Where what it missed is kept nowhere, it is told ``resync_required``. A line
with a comment now and then shows proxies that the connection lives.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from sse_starlette import EventSourceResponse

from nbsession.errors import SessionError
from nbsession.events import Done, Error, Event
from nbsession.protocol import ResyncRequired, frame_of
from nbsession.server.discretion import FAILED, told
from nbsession.server.fault import fault_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from nbsession.server.gateway import Gateway
    from nbsession.session import Execution, Session

HEARTBEAT = 15
"""Seconds between two comments."""

RETRY = b"retry: 1000\n\n"
"""How long a reader is to wait before it comes back, in milliseconds."""


def response(
    gateway: Gateway, events: AsyncGenerator[Event], headers: Mapping[str, str] | None = None
) -> EventSourceResponse:
    """Answer with a stream of events, until they end, the reader goes or the server closes."""
    return EventSourceResponse(
        _frames(until_closed(gateway, events)),
        sep="\n",
        ping=HEARTBEAT,
        send_timeout=gateway.limits.stalled,
        headers=headers,
    )


async def _frames(events: AsyncGenerator[Event]) -> AsyncIterator[bytes]:
    async with aclosing(events):
        yield RETRY
        async for event in events:
            yield frame_of(event).encode()


async def until_closed(gateway: Gateway, events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    """Give events until they end or the server closes."""
    try:
        async with asyncio.timeout(None) as limit, aclosing(events):
            gateway.streams.add(limit)
            try:
                async for event in events:
                    yield event
            finally:
                gateway.streams.discard(limit)
    except TimeoutError:
        if not gateway.closing:
            raise


async def of_execution(
    gateway: Gateway, user: str, execution: Execution, *, detach: bool
) -> AsyncGenerator[Event]:
    """Give the events of an execution, all of them. Unless ``detach``, it is stopped when its reader goes."""
    async with gateway.using(user, execution.session.id):
        try:
            last: Event | None = None
            async for last in execution:
                yield told(last, execution.session.ticks)
            if not isinstance(last, Done) and execution.error is not None:  # it could not even begin
                yield Error(FAILED, "error")
                yield Done()
            if execution.error is not None:
                fault_of(execution.error, execution.id)  # to the log
        finally:
            if not detach and not execution.done:
                execution.abort("its reader went away")


async def of_session(
    gateway: Gateway, user: str, session: Session, after: int | None
) -> AsyncGenerator[Event]:
    """Give a session's events after a number, and then as they come, until it is closed."""
    async with gateway.using(user, session.id):
        if after is not None and after > session.sequence:
            yield ResyncRequired(f"the last event is number {session.sequence}", session.sequence)
            return
        try:
            async with aclosing(session.subscribe(after)) as events:
                async for event in events:
                    yield told(event, session.ticks)
        except SessionError as error:
            yield ResyncRequired(str(error))
