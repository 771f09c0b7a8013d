"""Messages that wait for the next tick; kept in the session's state, so that a restart has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.content import Draft, block_from_dict
from nbsession.errors import SessionError
from nbsession.hooks import GONE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAIL = "mail:"

MOST = 1_000
"""Messages that may wait."""


class Mail:
    """The messages of one session that wait, in the order they came; what is steered goes before what is queued."""

    def __init__(self, state: Mapping[str, Any], note: Callable[[list[tuple[str, Any]]], None]) -> None:
        self._note = note
        kept = {address: data for address, data in state.items() if address.startswith(MAIL)}
        numbers = sorted(int(address.removeprefix(MAIL)) for address in kept)
        self._waiting = {number: _read(kept[f"{MAIL}{number}"]) for number in numbers}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def post(self, drafts: Sequence[Draft], *, steered: bool) -> None:
        """Let messages wait; they are stored with what comes next. ``SessionError`` where too many do."""
        if len(self._waiting) + len(drafts) > MOST:
            raise SessionError(
                f"{len(self._waiting):,} messages wait for the next tick already, and {MOST:,} may; send one, so that "
                "they are read"
            )
        first = max(self._waiting, default=-1) + 1
        new = {number: (steered, draft) for number, draft in enumerate(drafts, first)}
        self._waiting.update(new)
        self._note([(f"{MAIL}{number}", _kept(*each)) for number, each in new.items()])

    def take(self) -> list[Draft]:
        """Take the messages out, those that are steered first."""
        waiting = sorted(self._waiting.values(), key=lambda each: not each[0])
        if self._waiting:
            self._note([(f"{MAIL}{number}", GONE) for number in self._waiting])
            self._waiting = {}
        return [draft for _, draft in waiting]


def _kept(steered: bool, draft: Draft) -> dict[str, Any]:
    content = [block.to_dict() for block in draft.content]
    return {"steered": steered, "role": draft.role, "content": content}


def _read(kept: Mapping[str, Any]) -> tuple[bool, Draft]:
    return kept["steered"], Draft(kept["role"], tuple(map(block_from_dict, kept["content"])))
