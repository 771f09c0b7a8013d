"""Figures as they stand in a sentence."""

from __future__ import annotations

import math
from typing import Any


def figure(value: float) -> str:
    """Write a number with two decimals, or with as many as it takes to tell it from 0; thousands whole."""
    size = abs(value)
    if size >= 100:
        said = f"{size:,.0f}"
    elif size >= 10:
        said = f"{size:.1f}"
    elif size >= 0.005 or not size:
        said = f"{size:.2f}"
    else:
        said = f"{size:.1g}"
    return f"−{said}" if value < 0 else said


def signed(value: float) -> str:
    """Write a difference: ``"+0.12"``, ``"−3.40"``; 0 has no sign."""
    return f"+{figure(value)}" if value > 0 else figure(value)


def shown(value: Any) -> str:
    """Write what is no score, in at most 80 characters; of a whole number that is too long to be written, its size."""
    try:
        return f"{value!r:.80}"
    except ValueError:
        return f"a {type(value).__name__} that cannot be written"


def about(count: int) -> str:
    """Write a count that is only roughly known, with two digits that say something."""
    digits = len(str(count)) - 2
    step = 10 ** max(digits, 0)
    return f"{math.ceil(count / step) * step:,}"
