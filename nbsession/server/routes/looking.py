"""What a session is about to send, has sent and keeps; its knobs and tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from nbsession.content import Text
from nbsession.errors import CompileError
from nbsession.protocol import (
    ContextAnswer,
    Dispatch,
    KnobsAnswer,
    KnobValues,
    StateAnswer,
    TickAnswer,
    TickPage,
    Value,
    dumps,
)
from nbsession.server.discretion import told_tick
from nbsession.server.fault import not_found
from nbsession.server.route import Call, Query, Route
from nbsession.server.told import knobs_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.content import Block


class Asked(Query):
    """A message that the context is to be compiled with."""

    message: Annotated[str, Field(min_length=1, max_length=2_000)] | None = None


class Page(Query):
    """Which page of a session's ticks."""

    after: Annotated[int, Field(ge=-1)] = -1
    limit: Annotated[int, Field(ge=1, le=500)] = 100


async def context(call: Call) -> ContextAnswer:
    """Compile what would be sent now, or with a message; no model is called."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        return ContextAnswer(**session.compile(call.query(Asked).message).to_dict())


async def state(call: Call) -> StateAnswer:
    """Read the kept component state."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        return StateAnswer(state=session.state)


async def ticks(call: Call) -> TickPage:
    """List a session's ticks, without their contexts, a page at a time."""
    page = call.query(Page)
    async with call.gateway.using(call.user, call.path["id"]) as session:
        first = page.after + 1
        some = session.ticks[first : first + page.limit]
        more = first + page.limit < len(session.ticks)
        return TickPage(ticks=[told_tick(tick) for tick in some], next=some[-1].number if more else None)


async def tick(call: Call) -> TickAnswer:
    """Read a tick, with the context that was sent."""
    number = call.path["number"]
    async with call.gateway.using(call.user, call.path["id"]) as session:
        if not (
            number.isascii() and number.isdigit() and len(number) < 10 and int(number) < len(session.ticks)
        ):
            raise not_found(f"there is no such tick; the session has {len(session.ticks)}, the first is 0")
        return TickAnswer(tick=told_tick(session.ticks[int(number)], context=True))


async def knobs(call: Call) -> KnobsAnswer:
    """Read the knobs."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        return knobs_answer(session)


async def set_knobs(call: Call) -> KnobsAnswer:
    """Set knobs, all of them or none."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        session.knobs.set_many(call.body(KnobValues).root, by="user")
        await session.keep()  # what was answered stands, also after a crash
        return knobs_answer(session)


async def dispatch(call: Call) -> Value:
    """Call a tool of the tree as its user, and return what it gave."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        given = await session.dispatch(call.path["tool"], **call.body(Dispatch).root)
        await session.keep()
        return Value(
            value=json.loads(dumps(_plain(given))), content=[block.to_dict() for block in _blocks(given)]
        )


def _plain(value: Any) -> Any:
    """Return what a tool gave as JSON data, as far as it knows its own form."""
    for name in ("model_dump", "to_dict"):
        if callable(form := getattr(value, name, None)):
            return form()
    return value


def _blocks(value: Any) -> Sequence[Block]:
    from nbsession.content import result_content

    try:
        return result_content(value)
    except CompileError:
        return (Text(str(value)),)


ROUTES = [
    Route("GET", "/sessions/{id}/context", context, ContextAnswer, query=Asked),
    Route("GET", "/sessions/{id}/state", state, StateAnswer),
    Route("GET", "/sessions/{id}/ticks", ticks, TickPage, query=Page),
    Route("GET", "/sessions/{id}/ticks/{number}", tick, TickAnswer),
    Route("GET", "/sessions/{id}/knobs", knobs, KnobsAnswer),
    Route("PATCH", "/sessions/{id}/knobs", set_knobs, KnobsAnswer, body=KnobValues),
    Route("POST", "/sessions/{id}/dispatch/{tool}", dispatch, Value, body=Dispatch),
]
