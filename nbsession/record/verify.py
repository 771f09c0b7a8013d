"""Whether a store still has what was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.record.journal import read_past
from nbsession.record.stored_ticks import as_sent, restore_ticks
from nbsession.timeline import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.stores.base import SessionStore
    from nbsession.timeline import Tick


def altered(store: SessionStore, session: str, ticks: Sequence[Tick]) -> list[int]:
    """Read every tick's context from the store and work its hash out anew; return the numbers that differ.

    Those whose context is not there to be read are among them.
    """
    past = read_past(store, session)
    if past is None:
        return []
    record = Record()
    record.restore(past.entries, past.head)
    sent = {tick.number: tick.context.hash for tick in ticks}
    kept = restore_ticks(past.ticks, record, store)
    return [tick.number for tick in kept if not as_sent(tick, sent.get(tick.number))]
