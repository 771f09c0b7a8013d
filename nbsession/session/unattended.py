"""Executions before which nobody sits: the rows of a sweep, the trials of an experiment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nbsession.events import ConfirmationRequested

if TYPE_CHECKING:
    from nbsession.session.execution import Execution
    from nbsession.session.result import Result


async def unattended(execution: Execution, *, during: str) -> Result:
    """Await an execution, and answer no where one of its tools asks, since it would wait for ever.

    ``during`` is what goes on, as the model is told it.
    """
    denying = asyncio.create_task(_deny(execution, f"nobody is asked during {during}"))
    try:
        return await execution
    finally:
        denying.cancel()
        await asyncio.gather(denying, return_exceptions=True)


async def _deny(execution: Execution, why: str) -> None:
    async for event in execution:
        if isinstance(event, ConfirmationRequested):
            execution.confirm(event.call.id, False, why)
