"""Figures of an experiment as they stand in a table."""

from __future__ import annotations


def dollars(amount: float | None) -> str:
    """Write a sum of US dollars; ``None`` is one that is not known."""
    if amount is None:
        return "price unknown"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}" if amount else "$0"
