"""What a page is sent before its reader asks for it: the ticks next to the one that is shown."""

from __future__ import annotations

NEAR = 2
"""Ticks on either side that a page is to have."""

FAR = 16
"""Ticks on either side beyond which a page forgets what it was sent."""


class Ahead:
    """Which ticks the page has, of one edition: whatever makes ticks look otherwise begins another."""

    def __init__(self) -> None:
        self.edition = 0
        self._there: set[int] = set()

    def begin_anew(self) -> None:
        """What the page has holds no longer."""
        self.edition += 1
        self._there.clear()

    def take(self, number: int, count: int) -> int | None:
        """Return the nearest tick of ``count`` that a page at ``number`` has not got, and take it for sent."""
        self._there = {at for at in self._there if abs(at - number) <= FAR}
        near = (number + side * distance for distance in range(1, NEAR + 1) for side in (-1, 1))
        found = next((at for at in near if 0 <= at < count and at not in self._there), None)
        if found is not None:
            self._there.add(found)
        return found
