"""Figures, names and failures of an experiment as they stand in a table or a line."""

from __future__ import annotations

from nbsession.content import bounded, in_a_line

LONGEST_NAME = 80
LONGEST_FAULT = 300


def dollars(amount: float | None) -> str:
    """Write a sum of US dollars; ``None`` is one that is not known."""
    if amount is None:
        return "price unknown"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}" if amount else "$0"


def named(name: str) -> str:
    """Write a name that somebody gave: on one line, not long, nothing hidden."""
    return in_a_line(name, LONGEST_NAME)


def fault(said: str) -> str:
    """Write what went wrong where it stands among other things: on one line, not long, nothing hidden."""
    return in_a_line(said, LONGEST_FAULT)


def failure(error: BaseException) -> str:
    """Say what was raised, as it is kept: of a page of HTML, or a dump, the beginning and the end."""
    return bounded(f"{type(error).__name__}: {error}", 4_000)
