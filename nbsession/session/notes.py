"""What the user of a session should be told: state that was lost, knobs that nobody has, what is not stored or may not stay so."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.session.core import SessionCore


class Notes:
    """The notes of one session."""

    def __init__(self, core: SessionCore) -> None:
        self._core = core
        self._told: set[str] = set()

    def take(self) -> list[str]:
        """Give what happened since the last time that the user should be told."""
        notes = self.untold
        self._told.update(self._lost(), self._at_risk())
        self._core.mount.root.notes.clear()
        self._core.knobs.notes.clear()
        self._core.room.notes.clear()
        return notes

    @property
    def untold(self) -> list[str]:
        """What the user should be told and has not been."""
        core = self._core
        lost = [text for text in (*self._lost(), *self._at_risk()) if text not in self._told]
        unstored = [trouble] if (trouble := core.journal.trouble) else []
        if core.journal.held_by:
            unstored.append(
                f"{core.journal.held_by} runs session {core.session.id!r}: what is here is as of its opening; "
                "open it again to see more"
            )
        return [*core.mount.root.notes, *core.knobs.notes, *core.room.notes, *lost, *unstored]

    def _at_risk(self) -> Sequence[str]:
        """What the store says of how it keeps things."""
        store = self._core.journal.store
        return store.notes if store is not None else ()

    def _lost(self) -> list[str]:
        """Name the kept state for which no hook has mounted, and the knobs that none has declared."""
        core = self._core
        if not core.mount.mounted:
            return []
        return [
            *[f"kept state at {address} fits no component now" for address in core.mount.root.unrestored],
            *[
                f"knob {name!r} was set to {value!r} and no component has it now"
                for name, value in core.knobs.unclaimed.items()
            ],
        ]
