"""Sessions: made, listed, looked at, renamed, forked, ended."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from nbsession.protocol import (
    Fork,
    NewSession,
    SessionAnswer,
    SessionPage,
    Update,
    dumps,
)
from nbsession.server.fault import Refusal
from nbsession.server.listing import page_of
from nbsession.server.note import KEY, Note, own
from nbsession.server.route import Call, Query, Route
from nbsession.server.told import session_answer

if TYPE_CHECKING:
    from nbsession.session import Session


class Page(Query):
    """Which page of a list."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(max_length=500)] | None = None


async def create(call: Call) -> SessionAnswer:
    """Make a session; it is stored when this is answered."""
    session = await call.gateway.create(call.user, call.body(NewSession))
    call.answered["location"] = f"/sessions/{session.id}"
    return _answer(call, session)


async def listed(call: Call) -> SessionPage:
    """List the sessions, the last used first, a page at a time."""
    page = call.query(Page)
    return await page_of(call.gateway, call.user, page.cursor, page.limit)


async def read(call: Call) -> SessionAnswer:
    """Look at a session. Its ETag changes with everything that happens in it."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        return _answer(call, session)


async def update(call: Call) -> SessionAnswer:
    """Replace a session's metadata; with If-Match only if nothing happened in it meanwhile."""
    body = call.body(Update)
    if KEY in body.metadata:
        raise Refusal(422, "invalid", f"the name {KEY!r} in metadata is the server's own")
    async with call.gateway.using(call.user, call.path["id"]) as session:

        def unchanged(note: Note) -> Note:
            _check_match(call, session)
            return note

        await call.gateway.note(session, unchanged, body.metadata)
        return _answer(call, session)


async def delete(call: Call) -> None:
    """Stop a session and delete it for good, unless forks share its past; with If-Match only if nothing happened in it."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        await call.gateway.delete(session, lambda: _check_match(call, session))


async def fork(call: Call) -> SessionAnswer:
    """Make a session that shares this one's past: from now, or from one of its ticks."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        forked = await call.gateway.fork(session, call.body(Fork))
    call.answered["location"] = f"/sessions/{forked.id}"
    return _answer(call, forked)


def _answer(call: Call, session: Session) -> SessionAnswer:
    call.answered["etag"] = etag(session)
    return session_answer(call.gateway, session)


def etag(session: Session) -> str:
    """Return what changes with a session: its last event and what it is known by."""
    known = hashlib.sha256(dumps(own(session.metadata)).encode()).hexdigest()
    return f'"{session.sequence:x}-{known[:12]}"'


def _check_match(call: Call, session: Session) -> None:
    wanted = call.headers.get("if-match")
    if wanted is None or wanted.strip() == "*":
        return
    if etag(session) not in [tag.strip() for tag in wanted.split(",")]:
        raise Refusal(
            412, "stale", "the session is another one by now; read it again", headers={"etag": etag(session)}
        )


ROUTES = [
    Route("POST", "/sessions", create, SessionAnswer, body=NewSession, status=201),
    Route("GET", "/sessions", listed, SessionPage, query=Page),
    Route("GET", "/sessions/{id}", read, SessionAnswer),
    Route("PUT", "/sessions/{id}", update, SessionAnswer, body=Update, matches=True),
    Route("DELETE", "/sessions/{id}", delete, status=204, matches=True),
    Route("POST", "/sessions/{id}/fork", fork, SessionAnswer, body=Fork, status=201),
]
