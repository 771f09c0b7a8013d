"""The parts of many contexts, each kept once: what a page or a panel holds its contexts by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from nbsession.content import visible
from nbsession.context import BUDGET

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nbsession.context import CompiledContext, Part

Run: TypeAlias = tuple[int, int]
"""The first and the last place of parts that follow each other on the shelf."""

DIGITS = 16
"""Of a digest, as a name within one file."""


class Shelf:
    """Parts by their places, texts by their digests; only ever added to.

    Texts are as they may be shown: characters that hide or reorder others are spelled out.
    """

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.parts: list[dict[str, Any]] = []
        self.size = 0
        self._places: dict[tuple[Any, ...], int] = {}

    def place(self, context: CompiledContext) -> tuple[Run, ...]:
        """Return where a context's parts stand, in order, in few runs where most are known."""
        runs: list[Run] = []
        for at in map(self._place, context.parts):
            if runs and runs[-1][1] == at - 1:
                runs[-1] = (runs[-1][0], at)
            else:
                runs.append((at, at))
        self.size += 8 * len(runs)
        return tuple(runs)

    def keep(self, text: str, digest: str) -> str:
        """Keep a text, and return the name that it has here."""
        name = digest[:DIGITS]
        if name not in self.texts:
            self.texts[name] = shown = visible(text)
            self.size += len(shown.encode("utf-8"))
        return name

    def to_dict(self) -> dict[str, Any]:
        return {"texts": self.texts, "parts": self.parts}

    def _place(self, part: Part) -> int:
        known = (part.kind, part.path, part.key, part.digest, part.title)
        if known not in self._places:
            self._places[known] = len(self.parts)
            self.parts.append(self._described(part))
            self.size += 100
        return self._places[known]

    def _described(self, part: Part) -> dict[str, Any]:
        data = {
            "kind": part.kind,
            "path": visible(part.path),
            "title": visible(part.title or part.role or part.kind),
            "tokens": part.tokens,
            "text": self.keep(part.readable, part.digest),
        }
        if part.key:
            data["key"] = visible(part.key)
        if part.edited:
            data["edited"] = True
        return data


def without_room(context: CompiledContext) -> tuple[dict[str, Any], ...]:
    """Return what a budget left out of a context: where it stands, its priority and what it would cost."""
    return tuple(
        {"path": visible(item.path), "priority": item.priority, "tokens": item.tokens}
        for item in context.withheld
        if item.reason == BUDGET
    )


def unfolded(runs: Iterable[Sequence[int]]) -> list[int]:
    """Return the places one by one."""
    return [at for first, last in runs for at in range(first, last + 1)]
