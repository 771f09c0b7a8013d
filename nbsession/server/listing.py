"""The list of sessions, a page at a time.

A page goes on from the last session of the one before, by when that was used and its id: so a
session that is used meanwhile moves to the top, and none is listed twice or left out.
"""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, NamedTuple

from nbsession.protocol import SessionPage, dumps
from nbsession.server.fault import Refusal
from nbsession.server.note import Note
from nbsession.server.told import session_entry
from nbsession.stores.base import SessionInfo

if TYPE_CHECKING:
    from nbsession.server.gateway import Gateway
    from nbsession.session import Session


class Cursor(NamedTuple):
    """Where a page ended: when its last session was used (negative, so that it sorts), and its id."""

    used: float
    id: str

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Read what ``encode`` gave; refuse anything else."""
        try:
            used, last = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
            return cls(float(used), str(last))
        except (ValueError, TypeError):
            raise Refusal(400, "cursor", "the cursor is none that this server gave") from None

    def encode(self) -> str:
        """Return it as a word for an address."""
        return base64.urlsafe_b64encode(dumps(list(self)).encode()).decode("ascii")


async def page_of(gateway: Gateway, user: str, cursor: str | None, limit: int) -> SessionPage:
    """Return a page of a user's sessions, the last used first."""
    after = None if cursor is None else Cursor.read(cursor)
    opened = gateway.opened()
    infos = {info.id: info for info in await gateway.infos()}
    infos |= {name: _info(session) for name, session in opened.items() if name not in infos}
    places = sorted(
        (Cursor(-info.updated, info.id), info)
        for info in infos.values()
        if gateway.visible(Note.of(info.metadata), user)
    )
    following = [place for place in places if after is None or place[0] > after][: limit + 1]
    entries = [session_entry(gateway, info, opened.get(info.id)) for _, info in following[:limit]]
    more = following[limit - 1][0].encode() if len(following) > limit else None
    return SessionPage(sessions=entries, next=more)


def _info(session: Session) -> SessionInfo:
    """Tell of a session that no store has."""
    note = Note.of(session.metadata)
    used = session.timeline[-1].created if len(session.timeline) else note.created
    made = note.created or used or time.time()
    return SessionInfo(session.id, made, used or made, session.sequence, session.metadata, session.parent)
