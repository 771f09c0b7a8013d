"""Messages: sent and waited for, or their events followed; steered, queued and stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.protocol import Abort, Accepted, ExecutionAnswer, MessageAnswer, Render, Send, Steer
from nbsession.server.fault import Refusal
from nbsession.server.route import Call, Query, Route
from nbsession.server.sending import begin, check, check_line, content, ended
from nbsession.server.served import WORK_DIR
from nbsession.server.stream import of_execution, response
from nbsession.server.told import message_answer

if TYPE_CHECKING:
    from starlette.responses import Response

    from nbsession.session import Execution, Session


class Detach(Query):
    """Whether the execution goes on when who asked goes away."""

    detach: bool = True


async def message(call: Call) -> MessageAnswer:
    """Send a message and wait for its outcome."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        execution = _begin(call, session)
        await ended(call.gateway, call.gone, execution, detach=call.query(Detach).detach)
        return message_answer(execution)


async def stream(call: Call) -> Response:
    """Send a message and follow its events, to the last, which is ``done``."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        execution = _begin(call, session)
        events = of_execution(call.gateway, call.user, execution, detach=call.query(Detach).detach)
        return response(call.gateway, events, {"x-execution": execution.id})


def _begin(call: Call, session: Session) -> Execution:
    body = call.body(Send)
    check(call.gateway, session, body)
    if body.request_id is None or session.sent(body.request_id) is None:
        check_line(call.gateway, len(session.line))
    return begin(session, body)


async def render(call: Call) -> MessageAnswer:
    """Run the session without a new message, and wait for the outcome."""
    props: dict[str, Any] = call.body(Render).props
    if WORK_DIR in props:
        raise Refusal(422, "invalid", "a session's folder is given when it is made, and stays")
    async with call.gateway.using(call.user, call.path["id"]) as session:
        call.gateway.served_of(session).check_props(props)
        check_line(call.gateway, len(session.line))
        execution = session.render(**props)
        await ended(call.gateway, call.gone, execution, detach=call.query(Detach).detach)
        return message_answer(execution)


async def abort(call: Call) -> ExecutionAnswer:
    """Stop what runs; what was said so far is kept. Where nothing runs, nothing happens."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        running = session.current
        if running is None:
            return ExecutionAnswer()
        running.abort(call.body(Abort).reason)
        await running.settled()
        return ExecutionAnswer(execution=running.id, status=running.status)


async def steer(call: Call) -> Accepted:
    """Put a message into the running execution at its next tick; it waits, stored, for the next one where none runs."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        session.steer(content(call.body(Steer).message))
        await session.keep()
    return Accepted()


async def queue(call: Call) -> Accepted:
    """Let a message wait, stored, for the end of what runs, or for the next message."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        session.queue(content(call.body(Steer).message))
        await session.keep()
    return Accepted()


ROUTES = [
    Route("POST", "/sessions/{id}/message", message, MessageAnswer, body=Send, query=Detach),
    Route("POST", "/sessions/{id}/message/stream", stream, body=Send, query=Detach, stream=True),
    Route("POST", "/sessions/{id}/render", render, MessageAnswer, body=Render, query=Detach),
    Route("POST", "/sessions/{id}/abort", abort, ExecutionAnswer, body=Abort),
    Route("POST", "/sessions/{id}/steer", steer, Accepted, body=Steer, status=202),
    Route("POST", "/sessions/{id}/queue", queue, Accepted, body=Steer, status=202),
]
