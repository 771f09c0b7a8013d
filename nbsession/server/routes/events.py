"""Events: followed as they come, from any number on, or read a page at a time."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from nbsession.errors import SessionError
from nbsession.protocol import HistoryPage, event_to_wire
from nbsession.server.discretion import told
from nbsession.server.fault import Refusal
from nbsession.server.guard import number_in
from nbsession.server.route import Call, Query, Route
from nbsession.server.stream import last_stored, of_session, response

if TYPE_CHECKING:
    from starlette.responses import Response

MOST = 2**53
"""The greatest number that every JSON parser reads as it is."""


class After(Query):
    """The number of the last event that is known; without one they begin with the first that is kept."""

    after: Annotated[int, Field(ge=0, le=MOST)] | None = None


class Page(Query):
    """Which page of a session's events."""

    after: Annotated[int, Field(ge=0, le=MOST)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


async def follow(call: Call) -> Response:
    """Follow a session's events, from ``after`` or the ``Last-Event-ID``: no gap and no duplicate."""
    after = call.query(After).after
    resumed = call.headers.get("last-event-id", "").strip()
    if resumed:
        after = number_in(resumed, MOST)
        if after is None:
            raise Refusal(400, "last_event_id", "Last-Event-ID is none that this server gave")
    async with call.gateway.using(call.user, call.path["id"]) as session:
        return response(call.gateway, of_session(call.gateway, call.user, session, after))


async def history(call: Call) -> HistoryPage:
    """Read a session's events, a page at a time; a block's deltas are one."""
    page = call.query(Page)
    read: list[dict[str, object]] = []
    async with call.gateway.using(call.user, call.path["id"]) as session:
        last = await last_stored(session)
        if page.after >= last:
            return HistoryPage(events=[])
        try:
            async with aclosing(session.subscribe(page.after)) as events:
                async for event in events:
                    read.append(event_to_wire(told(event, session.ticks)))
                    if event.durable and (event.sequence >= last or len(read) >= page.limit):
                        return HistoryPage(
                            events=read, next=event.sequence if event.sequence < last else None
                        )
        except SessionError as error:
            raise Refusal(410, "resync_required", str(error)) from None
    return HistoryPage(events=read)


ROUTES = [
    Route("GET", "/sessions/{id}/events", follow, query=After, stream=True, resumes=True),
    Route("GET", "/sessions/{id}/events/history", history, HistoryPage, query=Page),
]
