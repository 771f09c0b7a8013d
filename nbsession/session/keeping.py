"""What a session keeps: its state, its knobs and what was sent, noted as they change and stored in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from nbsession.context import Sent
from nbsession.hooks import GONE
from nbsession.session.mount import HOOK, STATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.hooks import StateLog
    from nbsession.record import Outbox
    from nbsession.session.home import Home
    from nbsession.session.mount import Mount

KNOB = "knob:"
SENT = "sent:"


class Kept(Protocol):
    """What is kept of a session, as its keeper needs to know it; ``SessionCore`` is one."""

    state: StateLog
    outbox: Outbox
    home: Home
    mount: Mount

    @property
    def current(self) -> object | None:
        """The execution that runs now."""


class Keeper:
    """Notes the changes of one session in its state log, and has them stored."""

    def __init__(self, core: Kept) -> None:
        self.storing: asyncio.Task[None] | None = None
        self._core = core
        self._sent = sent_in(core.state.current)

    # Noting

    def changes(self, changes: list[tuple[str, Any]]) -> None:
        """Note new values by address; they are stored with what comes next."""
        if not changes:
            return
        core = self._core
        known = core.state.current.keys()
        begun = all(address.startswith((STATE, HOOK)) and address not in known for address, _ in changes)
        new = core.state.record(changes)
        if new:
            core.outbox.changes(core.state.version, new, due=not begun)

    def note(self, changes: list[tuple[str, Any]]) -> None:
        """Note new values by address, and store them soon where nothing runs."""
        self.changes(changes)
        self.soon()

    def sent(self, sent: tuple[Sent, ...]) -> None:
        """Note the trailing parts that stay where they were sent: each by itself, for a long execution has many."""
        kept, self._sent = self._sent, sent
        if sent is kept:
            return
        new = [(n, item) for n, item in enumerate(sent) if n >= len(kept) or kept[n] is not item]
        gone = [(f"{SENT}{n}", GONE) for n in range(len(sent), len(kept))]
        self.changes([*[(f"{SENT}{n}", item.to_dict()) for n, item in new], *gone])

    def drain(self) -> None:
        """Note what changed in the tree's kept state; what cannot be kept is a ``SessionError``."""
        self.tree()
        for refused in self._core.mount.refused.values():
            raise refused

    def tree(self) -> None:
        """Note what changed in the tree's kept state; ``drain`` says what of it cannot be kept."""
        self.changes(self._core.mount.drain())

    # Storing

    async def progress(self, *, sure: bool = True) -> None:
        """Store how far an execution has come, before any function of the author's is called.

        Where there is none, it waits for what has to be stored next anyhow (a context before the model is called, a tool
        before it is, the end), though not long. Where it is not ``sure`` that it can be stored, it does not wait.
        """
        core = self._core
        if core.mount.calls_back or not sure:
            await core.outbox.keep()
        else:
            core.outbox.keep_soon()

    def soon(self) -> None:
        """Store what was changed between executions, without waiting for it."""
        core = self._core
        if not core.outbox.keeps or core.current is not None or self.storing is not None:
            return
        if core.home.here:
            self.storing = asyncio.get_running_loop().create_task(self._go_on(), name="nbsession keep")
        else:  # no loop runs: nobody else touches the session
            self.at_once()

    def at_once(self) -> None:
        """Store what was changed between executions before this returns, and block for it."""
        core = self._core
        if core.outbox.keeps and core.current is None:
            self.tree()
            core.outbox.keep_now()

    async def last(self) -> None:
        """Store what waits before the session closes, and wait for it."""
        self.tree()
        outbox = self._core.outbox
        # Who only looked is not told that another process writes.
        await (outbox.keep() if outbox.due else outbox.try_keep())

    async def _go_on(self) -> None:
        outbox = self._core.outbox
        try:
            self.tree()
            while outbox:
                await outbox.try_keep()
                self.tree()
        finally:
            self.storing = None


def sent_in(state: Mapping[str, Any]) -> tuple[Sent, ...]:
    """Return the trailing parts that were noted as sent, in order."""
    numbers = sorted(int(address.removeprefix(SENT)) for address in state if address.startswith(SENT))
    return tuple(Sent.from_dict(state[f"{SENT}{number}"]) for number in numbers)


def knobs_in(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the noted knob values by name."""
    return {address.removeprefix(KNOB): value for address, value in state.items() if address.startswith(KNOB)}
