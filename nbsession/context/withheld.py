"""What was rendered and is not sent, and why."""

from __future__ import annotations

from typing import NamedTuple

BUDGET = "budget"
"""The reason of what was left out for want of room."""

OUTDATED = "outdated"
"""The reason of an earlier text of a part, which a budget had no room to leave where it was sent."""

LEFT_OUT = "left out"
"""The reason of a component that somebody left out of the tree, to see what it does."""


class Withheld(NamedTuple):
    """Something that was rendered and is not sent, on purpose.

    ``reason`` is ``"user audience"``, ``"collapsed"``, or of a timeline's entries
    ``"policy"``, ``"filtered"``, ``"compacted"`` or ``"rewritten"``, or a sentence;
    ``"budget"`` is what a ``Fit`` had no room for, and then ``priority`` is its priority; ``"outdated"`` is what
    a trailing part said earlier in the execution, which a ``Fit`` had no room to leave where it stood; ``"left out"`` is a
    component that a session was told to leave out.
    ``tokens`` is what it would cost. ``behind`` is the path of what has a higher priority and is too large, where that is why
    this went, though there would be room for it.
    """

    path: str
    reason: str
    text: str = ""
    tokens: int = 0
    priority: float | None = None
    behind: str = ""

    def __str__(self) -> str:
        if self.priority is None:
            return f"{self.path}: {self.reason}"
        return f"{self.path}: {self.reason} (priority {self.priority:g}, ≈{self.tokens:,} tokens{self.along})"

    @property
    def along(self) -> str:
        """What went before it, in words that may follow others."""
        return f"; nothing below {self.behind} stays, which has no room" if self.behind else ""
