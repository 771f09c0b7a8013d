"""The lines that join what stands below one another in a drawn tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def leads(depths: Sequence[int]) -> list[str]:
    """Return what stands before each line of a tree, whose lines are given by their depths, parents first.

    The topmost line has the depth 0, and a line is at most one deeper than the one before it.
    """
    drawn: list[str] = []
    more: dict[int, bool] = {}  # by depth: whether a line further down has the same parent
    for depth in reversed(depths):
        if not depth:
            drawn.append("")
        else:
            above = ["│  " if more.get(level) else "   " for level in range(1, depth)]
            drawn.append("".join(above) + ("├─ " if more.get(depth) else "└─ "))
        more[depth] = True
        for deeper in [level for level in more if level > depth]:
            del more[deeper]
    return drawn[::-1]
