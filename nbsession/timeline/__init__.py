"""What happened: the record of entries, the ticks, the forks' history, and the policies that choose what is shown.

It stands above the compiled context, because a tick holds the one it sent.
"""

from nbsession.timeline.cause import Cause, causes_of, net, upwards, why
from nbsession.timeline.history import Branch, ForkPoint, History
from nbsession.timeline.policies import Answer, Policies, Policy, entries_of, row_of
from nbsession.timeline.record import Record
from nbsession.timeline.tick import Response, Tick, ToolRun, interrupted, unknown
from nbsession.timeline.twigs import leads

__all__ = [
    "Answer",
    "Branch",
    "Cause",
    "ForkPoint",
    "History",
    "Policies",
    "Policy",
    "Record",
    "Response",
    "Tick",
    "ToolRun",
    "causes_of",
    "entries_of",
    "interrupted",
    "leads",
    "net",
    "row_of",
    "unknown",
    "upwards",
    "why",
]
