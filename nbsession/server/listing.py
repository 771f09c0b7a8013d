"""The list of sessions, a page at a time.

A page goes on from the last session of the one before, by when that was used and its id: what is
used meanwhile moves to the top, and none is listed twice. Sessions that no store keeps are on the first page.
"""

from __future__ import annotations

import base64
import json
import math
import time
from typing import TYPE_CHECKING

from nbsession.protocol import SessionPage, dumps
from nbsession.server.fault import Refusal
from nbsession.server.note import Note
from nbsession.server.told import session_entry
from nbsession.stores.base import SessionInfo

if TYPE_CHECKING:
    from nbsession.server.gateway import Gateway
    from nbsession.session import Session

Place = tuple[float, str]


async def page_of(gateway: Gateway, user: str, cursor: str | None, limit: int) -> SessionPage:
    """Return a page of a user's sessions, the last used first."""
    after = None if cursor is None else _read(cursor)
    opened = gateway.opened()
    found: list[SessionInfo] = []
    if gateway.keeps:
        while len(found) <= limit:
            page = await gateway.infos(after, limit + 1)
            found += [info for info in page if gateway.visible(Note.of(info.metadata), user)]
            if len(page) <= limit:
                break
            after = page[-1].place
    unkept = [_info(session) for session in opened.values() if session.app.store is None]
    unkept = [info for info in unkept if gateway.visible(Note.of(info.metadata), user)]
    if not gateway.keeps:
        places = sorted((_order(info), info) for info in unkept)
        found = [info for order, info in places if after is None or order > (-after[0], after[1])]
    elif cursor is None:
        found = sorted([*found[: limit + 1], *unkept], key=_order)
    entries = [session_entry(gateway, info, opened.get(info.id)) for info in found[:limit]]
    more = _encoded(found[limit - 1].place) if len(found) > limit else None
    return SessionPage(sessions=entries, next=more)


def _order(info: SessionInfo) -> Place:
    return -info.updated, info.id


def _info(session: Session) -> SessionInfo:
    """Tell of a session that no store has."""
    note = Note.of(session.metadata)
    used = session.timeline[-1].created if len(session.timeline) else note.created
    made = note.created or used or time.time()
    return SessionInfo(session.id, made, used or made, session.sequence, session.metadata, session.parent)


def _encoded(place: Place) -> str:
    """Return a place as a word for an address."""
    return base64.urlsafe_b64encode(dumps(list(place)).encode()).decode("ascii")


def _read(cursor: str) -> Place:
    """Read what was encoded; refuse anything else."""
    try:
        read = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
        used, last = read
        place = float(used), str(last)
        if not (
            isinstance(read, list) and math.isfinite(place[0]) and last.isprintable()
        ):  # as an id is, and half a character is not
            raise ValueError(cursor)
        return place
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise Refusal(400, "cursor", "the cursor is none that this server gave") from None
