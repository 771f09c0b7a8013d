"""What a notebook shows already, so that it need not be shown twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from nbsession.context import CompiledContext


Choice: TypeAlias = Literal["list", "tree"]
"""A context as it is sent, or as the tree that it came from."""


@dataclass(slots=True)
class _Place:
    tick: int
    cell: str


@dataclass(slots=True)
class Ledger:
    """What this notebook already shows of one session.

    Texts are known by their hash. Running a cell again takes away what its
    output showed, so those texts are written anew. ``latest`` is the last
    tick's context, ``choice`` the view of contexts that its reader chose last.
    """

    latest: CompiledContext | None = None
    choice: Choice = "list"
    places: dict[int, _Place] = field(default_factory=dict)

    def forget(self, cell: str) -> None:
        """Drop what the output of ``cell`` showed: it is being replaced."""
        self.places = {text: place for text, place in self.places.items() if place.cell != cell}

    def note(self, text: str, tick: int, cell: str) -> None:
        """Keep that ``text`` is shown at ``tick``, in the output of ``cell``."""
        self.places.setdefault(hash(text), _Place(tick, cell))

    def tick_of(self, text: str) -> int | None:
        """Return the tick at which ``text`` is shown, if it is."""
        place = self.places.get(hash(text))
        return place.tick if place is not None else None


STYLED_FIRST = 4
STYLED_EVERY = 16

_styled: dict[str, bool] = {}
_ledgers: dict[str, Ledger] = {}


def ledger_of(session: str) -> Ledger:
    """Return what this kernel's notebook shows of the session of that id."""
    return _ledgers.setdefault(session, Ledger())


def carries_style(cell: str) -> bool:
    """Whether the output of ``cell`` is to bring the style sheet along, which any one output does for all.

    The first outputs of a notebook all do, so that none depends on another; of
    many outputs every sixteenth, because each sheet adds 5 kB to the file. A cell
    that runs again does as it did before.
    """
    count = len(_styled)
    return _styled.setdefault(cell, count < STYLED_FIRST or count % STYLED_EVERY == 0)
