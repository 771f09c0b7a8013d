"""A tick that is run again, in a fork that leaves some components out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from nbsession.context import NOTHING_SENT
from nbsession.errors import NbsessionError
from nbsession.events import ConfirmationRequested
from nbsession.notebook.view.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.session import Session
    from nbsession.timeline import Tick

NOBODY = "nobody is asked while a tick is run again"


class Trial:
    """Runs in ``fork``, from where the tick was compiled, without the components at ``paths``; ``without`` names them.

    ``over`` is set at the end, ``error`` says why it failed.
    """

    def __init__(self, session: Session, tick: int, paths: Sequence[str], without: str) -> None:
        self.fork = session.fork(tick, before=True, without=paths)
        self.without = without
        self.tick = tick
        self.over = asyncio.Event()
        self.error = ""

    async def run(self) -> None:
        """Call the model, to the end; a tool that asks for confirmation is denied it."""
        try:
            execution = self.fork.render()
            async for event in execution:
                if isinstance(event, ConfirmationRequested):
                    execution.confirm(event.call.id, False, NOBODY)
            await execution
        except NbsessionError as error:
            self.error = str(error)
        finally:
            self.over.set()

    @property
    def aftermath(self) -> Transcript:
        """What came of it."""
        return aftermath(self.fork.ticks[self.tick :], f"{self.fork.id}-")


def aftermath(ticks: Sequence[Tick], key: str) -> Transcript:
    """Return what came of ticks, their answers and tools; ``key`` is what the keys of their pieces begin with."""
    run = Transcript.of([replace(tick, context=NOTHING_SENT) for tick in ticks])
    for tick in run.ticks:
        tick.card = None  # What was sent stands beside it.
        for piece in tick.pieces:
            piece.key = f"{key}{piece.key}"
    return run
