"""Exercises that check themselves: what a lesson claims of its reader's work, and whether it holds.

A check never stops a notebook: what does not hold yet is said, with a hint. Where it is graded, ``require()`` does.
"""

from __future__ import annotations

import inspect
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

    What was not awaited or not called does not hold, nor does what cannot be told true or false; the claim then says so.
    """
    return Checked(tuple(_judged(claim, value) for claim, value in claims.items()), hint)


def _judged(claim: str, value: object) -> tuple[str, bool]:
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        return f"{claim} (await it)", False
    if callable(value):
        return f"{claim} (call it)", False
    try:
        return claim, bool(value)
    except Exception as error:  # noqa: BLE001 - an array, a frame or an object of the reader's own raises what it likes
        return f"{claim} ({type(error).__name__}: {error})", False
