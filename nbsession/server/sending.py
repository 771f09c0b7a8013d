"""A message on its way into a session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from nbsession.content import drafts_of
from nbsession.errors import ModelError, SessionError
from nbsession.models import resolve
from nbsession.protocol import message_from_wire
from nbsession.server.fault import Refusal, closing
from nbsession.server.limits import later
from nbsession.tools import Output

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nbsession.protocol import Send
    from nbsession.server.gateway import Gateway
    from nbsession.session import Execution, Session

NOT_BY_NAME = ("recorded",)
"""Models that nobody names from afar: what follows the colon is a file of the server's."""


def check(gateway: Gateway, session: Session, body: Send) -> None:
    """Refuse what cannot be sent, or is for another app."""
    content(body.message)
    _model(body.model)
    if body.output is not None:
        try:
            Output(body.output)
        except SessionError as error:
            raise Refusal(422, "output", str(error)) from None
    if body.agent_id is not None or body.component is not None:
        asked = gateway.pick(body.agent_id, body.component)
        if asked is not gateway.served_of(session):
            raise Refusal(409, "app", f"this session is not one of the app {asked.name!r}; make one with it")


def check_line(gateway: Gateway, waiting: int) -> None:
    """Refuse what would wait for its turn behind too many of one session."""
    if waiting >= gateway.limits.line:
        raise later(10, f"{waiting:,} messages of this session wait for their turn already")


def begin(session: Session, body: Send, *, request_id: str | None = None) -> Execution:
    """Send a message that was checked."""
    return session.send(
        content(body.message),
        model=_model(body.model),
        max_ticks=body.max_ticks,
        budget=body.budget,
        output=body.output,
        metadata=body.metadata,
        request_id=request_id or body.request_id,
    )


def content(message: Any) -> Any:
    """Read a message; refuse what is none."""
    try:
        read = message_from_wire(message)
        drafts_of(read)
    except SessionError as error:
        raise Refusal(422, "message", str(error)) from None
    return read


def _model(name: str | None) -> Any:
    if name is None:
        return None
    if name.strip().partition(":")[0] in NOT_BY_NAME:
        raise Refusal(422, "model_name", "a recording cannot be named from afar")
    try:
        return resolve(name)
    except ModelError as error:
        raise Refusal(422, "model_name", str(error)) from None


async def ended(
    gateway: Gateway, gone: Callable[[], Awaitable[None]], execution: Execution, *, detach: bool
) -> None:
    """Wait for the end of an execution, which unless ``detach`` is stopped when ``gone`` returns: who asked went away.

    Refuse what did not even begin because the server closes: it may be asked of the next one.
    """
    await (execution.settled() if detach else _settled_or_gone(gone, execution))
    if execution.withdrawn and gateway.closing:
        raise closing()


async def _settled_or_gone(gone: Callable[[], Awaitable[None]], execution: Execution) -> None:
    going, settled = asyncio.ensure_future(gone()), asyncio.ensure_future(execution.settled())
    await asyncio.wait({going, settled}, return_when=asyncio.FIRST_COMPLETED)
    going.cancel()
    if not settled.done():
        execution.abort("who asked went away")
        await settled
