"""A session and what it is made of: the door, the core behind it, executions and their loop.

Also what one asks of it: forks, previews, sweeps, an outline.
"""

from nbsession.session.bisect import CALLS, Bisection
from nbsession.session.check import Finding, Findings
from nbsession.session.diff import SessionDiff, Ticked, TickPair, answer
from nbsession.session.execution import Execution
from nbsession.session.explain import REPEAT, Explanation, Worth
from nbsession.session.feed import Observer
from nbsession.session.forecast import Forecast, reported_by
from nbsession.session.freeze import Combination, Frozen
from nbsession.session.home import Home
from nbsession.session.mount import Mount
from nbsession.session.options import checked_ticks
from nbsession.session.outline import Fact, Outline, Place
from nbsession.session.prediction import Grade, Prediction
from nbsession.session.preview import Preview
from nbsession.session.result import Continue, Result, Stop, StopReason
from nbsession.session.session import Session
from nbsession.session.sweep import Sweep, SweepRow

__all__ = [
    "CALLS",
    "REPEAT",
    "Bisection",
    "Combination",
    "Continue",
    "Execution",
    "Explanation",
    "Fact",
    "Finding",
    "Findings",
    "Forecast",
    "Frozen",
    "Grade",
    "Home",
    "Mount",
    "Observer",
    "Outline",
    "Place",
    "Prediction",
    "Preview",
    "Result",
    "Session",
    "SessionDiff",
    "Stop",
    "StopReason",
    "Sweep",
    "SweepRow",
    "TickPair",
    "Ticked",
    "Worth",
    "answer",
    "checked_ticks",
    "reported_by",
]
