"""Exercises that check themselves: what a lesson claims of its reader's work, and whether it holds.

A check never stops a notebook: what does not hold yet is said, with a hint. Where it is graded, ``require()`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DONE, _OPEN = "✓", "○"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was claimed, and whether it holds; true where all of it does. Displays itself."""

    claims: tuple[tuple[str, bool], ...]
    hint: str = ""

    def __bool__(self) -> bool:
        return all(holds for _, holds in self.claims)

    def require(self) -> None:
        """Raise ``AssertionError`` with what does not hold; for a grader."""
        if not self:
            raise AssertionError("; ".join(claim for claim, holds in self.claims if not holds))

    def __str__(self) -> str:
        lines = [f"{_DONE if holds else _OPEN} {claim}" for claim, holds in self.claims]
        if not self and self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    __repr__ = __str__


def check(claims: Mapping[str, object], *, hint: str = "") -> Checked:
    """Say which of some claims hold: each is a sentence, with what is true when it does.

    ``check({"the tone is in the system text": "terse" in str(context.system)}, hint="read the knob in System(…)")``
    """
    return Checked(tuple((claim, bool(holds)) for claim, holds in claims.items()), hint)
