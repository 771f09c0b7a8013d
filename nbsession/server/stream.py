"""Events as a stream of server-sent events.

A stream is pulled: nothing is buffered for a reader that rests, which goes on from what the session
and its store keep. One that takes nothing for long is cut off, and comes back with the id of the
last event that it had. Where what it missed is kept nowhere, it is told ``resync_required``. A
frame has its number only once that is stored, so that after a crash, too, one goes on from it without a gap. A line
with a comment now and then shows proxies that the connection lives.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from sse_starlette import EventSourceResponse

from nbsession.errors import NbsessionError, SessionError
from nbsession.events import Done, Error
from nbsession.protocol import ResyncRequired, frame_of
from nbsession.server.discretion import FAILED, told
from nbsession.server.fault import LOG, fault_of
from nbsession.server.following import followed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from nbsession.events import Event
    from nbsession.protocol import Frame
    from nbsession.server.gateway import Gateway
    from nbsession.session import Execution, Session

HEARTBEAT = 15
"""Seconds between two comments."""

RETRY = b"retry: 1000\n\n"
"""How long a reader is to wait before it comes back, in milliseconds."""


def response(
    gateway: Gateway, frames: AsyncGenerator[Frame], headers: Mapping[str, str] | None = None
) -> EventSourceResponse:
    """Answer with a stream of frames, until they end, the reader goes or the server closes."""
    return EventSourceResponse(
        _encoded(until_closed(gateway, frames)),
        sep="\n",
        ping=HEARTBEAT,
        send_timeout=gateway.limits.stalled,
        headers=headers,
    )


async def _encoded(frames: AsyncGenerator[Frame]) -> AsyncIterator[bytes]:
    async with aclosing(frames):
        yield RETRY
        async for frame in frames:
            yield frame.encode()


async def until_closed(gateway: Gateway, frames: AsyncGenerator[Frame]) -> AsyncGenerator[Frame]:
    """Give frames until they end or the server closes."""
    try:
        async with asyncio.timeout(None) as limit, aclosing(frames):
            gateway.streams.add(limit)
            try:
                async for frame in frames:
                    yield frame
            finally:
                gateway.streams.discard(limit)
    except TimeoutError:
        if not gateway.closing:
            raise


async def of_execution(
    gateway: Gateway, user: str, execution: Execution, *, detach: bool
) -> AsyncGenerator[Frame]:
    """Give the events of an execution, all of them. Unless ``detach``, it is stopped when its reader goes."""
    async with gateway.using(user, execution.session.id) as session:
        try:
            last: Event | None = None
            async for last in execution:
                if execution.withdrawn and gateway.closing:
                    return  # it may be sent again, to whoever serves next
                yield await _frame(session, last)
            if not isinstance(last, Done) and execution.error is not None:  # it could not even begin
                yield frame_of(Error(FAILED, "error"))
                yield frame_of(Done())
            if execution.error is not None:
                fault_of(execution.error, execution.id)  # to the log
        finally:
            if not detach and not execution.done:
                execution.abort("its reader went away")


async def of_session(
    gateway: Gateway, user: str, session: Session, after: int | None
) -> AsyncGenerator[Frame]:
    """Give a session's events after a number, and then as they come."""
    if after is not None and after > session.sequence:
        yield frame_of(ResyncRequired(f"the last event is number {session.sequence}", session.sequence))
        return
    try:
        async with aclosing(followed(gateway, user, session, after)) as events:
            async for opened, event in events:
                yield await _frame(opened, event)
    except SessionError as error:
        yield frame_of(ResyncRequired(str(error)))


async def _frame(session: Session, event: Event) -> Frame:
    """Return an event as it is sent, with its number only once it is stored."""
    frame = frame_of(told(event, session.ticks))
    if frame.id is None or frame.id <= session.stored or frame.id <= await last_stored(session):
        return frame
    return frame._replace(id=None)


async def last_stored(session: Session) -> int:
    """Store what waits, if it can be, and return the number of the last event that is stored.

    A process that is killed takes what it had not stored with it, and the next one counts on from there.
    So who is told a number has it for good.
    """
    if session.stored < session.sequence:
        try:
            await session.keep()
        except NbsessionError as error:
            LOG.warning("the last events of session %s are not stored: %s", session.id, error)
    return session.stored
