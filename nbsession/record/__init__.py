"""A session as rows of a store: what is written, in which order, and how it is read back.

Nothing here decides what a session does.
"""

from nbsession.record.event_log import EventLog
from nbsession.record.event_rows import stored_events
from nbsession.record.journal import Journal, Past, read_past, uncollected
from nbsession.record.outbox import Outbox, Shared
from nbsession.record.seam import Seam
from nbsession.record.stored_ticks import restore_ticks, tell_answer
from nbsession.record.verify import altered

__all__ = [
    "EventLog",
    "Journal",
    "Outbox",
    "Past",
    "Seam",
    "Shared",
    "altered",
    "read_past",
    "restore_ticks",
    "stored_events",
    "tell_answer",
    "uncollected",
]
