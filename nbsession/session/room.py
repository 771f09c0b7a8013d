"""What a session knows of the room in its models' windows, and what it left out of its contexts for want of it.

All of it stands in the state log, so that a fork, or a session that is opened again,
compiles what was compiled: ``fit:<place>`` is what was decided there (see ``context.fit``),
``factor:<model>`` how the model's tokens were counted for that, ``room:<model>`` what its
provider said that it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.hooks import GONE
from nbsession.usage import calibrated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.context import CompiledContext
    from nbsession.errors import ModelError
    from nbsession.hooks import StateLog
    from nbsession.timeline import Tick

FIT = "fit:"
FACTOR = "factor:"
ROOM = "room:"

DRIFT = 0.1
"""By how much of a factor the model's count has to be off before budgets go by a new one: each change may break the prefix."""

UNSAID = 1.1
"""What a request that was refused is taken for, in units of what there is room for, where the provider did not count it."""


class SessionRoom:
    """The room of one session, as its state log and its last tick say.

    Where it ``renews``, for a tick, a model's factor follows its answers; a look at the session keeps to what is.
    """

    def __init__(self, state: StateLog, ticks: Sequence[Tick], *, renews: bool = False) -> None:
        self._state = state
        self._ticks = ticks
        self._renews = renews
        self.notes: list[str] = []
        self._left: Mapping[str, Any] = {}
        self._version = 0

    @property
    def left(self) -> Mapping[str, Any]:
        """What was decided, by place."""
        if self._version != self._state.version:
            self._version = self._state.version
            self._left = {
                address[len(FIT) :]: value
                for address, value in self._state.current.items()
                if address.startswith(FIT)
            }
        return self._left

    @property
    def before(self) -> CompiledContext | None:
        """The context of the last tick."""
        return self._ticks[-1].context if self._ticks else None

    def factor(self, model: str) -> float:
        kept: float | None = self._state.current.get(FACTOR + model)
        if kept is not None and not self._renews:
            return kept
        found = calibrated(model)
        if kept is None:
            return found.factor
        now = max(found.factor, kept) if self.reported(model) is not None else found.factor
        return kept if found.spread is None or abs(now / kept - 1) <= DRIFT else now

    def reported(self, model: str) -> int | None:
        room: int | None = self._state.current.get(ROOM + model)
        return room

    def renewed(self) -> SessionRoom:
        """Return the room for a tick."""
        return SessionRoom(self._state, self._ticks, renews=True)

    def refused(self, model: str, sent: int, error: ModelError) -> list[tuple[str, Any]]:
        """Return what changes in the state log where a request of ``sent`` estimated tokens was refused for its length.

        Empty where the provider did not say what it takes.
        """
        if error.room is None or error.room <= 0 or not sent:
            return []
        counted = (
            error.counted if error.counted and error.counted > error.room else round(error.room * UNSAID)
        )
        self.notes.append(
            f"{model} refused a request of {counted:,} tokens (estimated: {sent:,}), for it takes {error.room:,}; "
            "its contexts keep to that from now on: see context.withheld"
        )
        return [(ROOM + model, error.room), (FACTOR + model, round(counted / sent, 4))]

    def decided(self, left: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """Return what changes in the state log where ``left`` is what was left out now."""
        known = self.left
        gone = [(FIT + place, GONE) for place in known if place not in left]
        return [*gone, *[(FIT + place, value) for place, value in left.items() if known.get(place) != value]]
