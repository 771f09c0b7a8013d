"""Events from afar without gap and without duplicate, however often their stream breaks."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from nbsession.client.connection import LostError
from nbsession.client.pace import Pace
from nbsession.client.received import PartedError, Received
from nbsession.errors import SessionBusyError, SessionClosedError, SessionError, SessionNotFoundError
from nbsession.events import Done, ExecutionStart
from nbsession.protocol import ResyncRequired

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from nbsession.client.connection import Connection
    from nbsession.events import Event


async def of_message(connection: Connection, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Event]:
    """Send a message and give the events of its execution, to the last.

    After the first event of its own the stream is taken up after the last one. Before that, and where the server tells
    another past than before (it was killed before it had stored it), the message is sent again: under its
    ``request_id`` it is the same one.
    """
    received, pace, whole = Received(keep_all=True), Pace(connection.patience), True
    first: float | None = None
    while True:
        received.again()
        try:
            if whole or received.last is None:
                opened = connection.stream("POST", f"{path}/message/stream", body=body)
            else:
                opened = connection.stream("GET", f"{path}/events", headers=_after(received.last - 1))
            async with opened as stream, aclosing(stream.events()) as events:
                async for event in events:
                    first = stream.retry
                    if isinstance(event, ResyncRequired):
                        raise PartedError(event.reason)
                    new = _new(received, event, whole=whole)
                    pace.reset()
                    if new is not None:
                        yield new
                    if isinstance(event, Done):
                        return
            lost = LostError("the stream ended in the middle of the execution")
        except PartedError:
            whole = True
            continue
        except SessionBusyError as error:
            if received.last is None:
                raise
            lost = LostError(str(error))  # a server that was killed holds the session a little longer
        except LostError as error:
            lost = error
        whole = False
        await connection.rest(pace, lost, first)


def _new(received: Received, event: Event, *, whole: bool) -> Event | None:
    """Return what is new of an event. Told from its beginning, an execution that parted goes on as it is told now."""
    try:
        return received.take(event)
    except PartedError:
        if not whole:
            raise
        received.forget(event.sequence)
        return received.take(event)


def _after(number: int) -> dict[str, str]:
    return {"last-event-id": str(max(0, number))}


async def of_session(connection: Connection, path: str, after: int | None) -> AsyncGenerator[Event]:
    """Give a session's events after a number, then those to come, until it is closed or deleted.

    Where some are missing that nobody has any more, ``ResyncRequired`` is one of them: what was known of the session
    is to be read anew, and the events go on from there.
    """
    received, pace, begun = Received(keep_all=False), Pace(connection.patience), False
    first: float | None = None
    while True:
        received.again()
        number = after if received.last is None else received.last - 1
        headers = {} if number is None else _after(number)
        try:
            async with (
                connection.stream("GET", f"{path}/events", headers=headers) as stream,
                aclosing(stream.events()) as events,
            ):
                begun = True
                async for event in events:
                    first = stream.retry
                    if isinstance(event, ResyncRequired):
                        raise PartedError(event.reason)
                    pace.reset()
                    if (new := received.take(event)) is not None:
                        yield new
            lost = LostError("the stream ended")
        except PartedError as parted:
            known = await connection.call("GET", path)
            received.forget(0)
            after = known["sequence"]
            yield ResyncRequired(str(parted), after)
            continue
        except (SessionNotFoundError, SessionClosedError):
            if begun:
                return
            raise
        except SessionBusyError as error:
            if not begun:
                raise
            lost = LostError(str(error))
        except LostError as error:
            lost = error
        await connection.rest(pace, lost, first)


async def of_request(
    connection: Connection,
    path: str,
    after: int,
    asked: asyncio.Future[Any],
    mine: Callable[[Event], bool],
) -> AsyncGenerator[Event]:
    """Give the events of the execution that a request sets off, from its start, or from where it goes on.

    ``asked`` is the request, whose failure is raised; ``mine`` says of an event that it is one of that execution.
    """
    kept: list[Event] = []
    found = False
    async with aclosing(of_session(connection, path, after)) as events:
        while (event := await _next(events, None if found else asked)) is not None:
            if found:
                yield event
            else:
                kept = [event] if isinstance(event, ExecutionStart) else [*kept, event]
                found = mine(event)
                if found:
                    for one in kept:
                        yield one
            if found and isinstance(event, Done):
                return
    raise SessionError("the session was closed before it went on")


async def _next(events: AsyncGenerator[Event], asked: asyncio.Future[Any] | None) -> Event | None:
    """Return the next event, ``None`` after the last; raise what the request failed with, if it fails before."""
    coming = asyncio.ensure_future(anext(events, None))
    try:
        if asked is not None and not asked.done():
            await asyncio.wait({coming, asked}, return_when=asyncio.FIRST_COMPLETED)
        if asked is not None and asked.done() and (error := asked.exception()) is not None:
            raise error
        return await coming
    finally:
        if not coming.done():
            coming.cancel()
            await asyncio.wait({coming})
