"""Runs: taken, asked after, stopped."""

from __future__ import annotations

from nbsession.protocol import Abort, RunAnswer, Send
from nbsession.server.route import Call, Route


async def take(call: Call) -> RunAnswer:
    """Take a message to be answered later; it is stored when this is answered, and runs after a restart too."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        answer = await call.service.runs.take(session, call.body(Send), call.user)
    call.answered["location"] = f"/sessions/{answer.session}/runs/{answer.id}"
    return answer


async def read(call: Call) -> RunAnswer:
    """Ask how a run stands."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        return call.service.runs.tell(session, call.path["run"], call.request_id)


async def abort(call: Call) -> RunAnswer:
    """Stop a run, also one that has not begun."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        call.service.runs.tell(session, call.path["run"])
        return await call.service.runs.abort(session, call.path["run"], call.body(Abort).reason)


ROUTES = [
    Route("POST", "/sessions/{id}/runs", take, RunAnswer, body=Send, status=202),
    Route("GET", "/sessions/{id}/runs/{run}", read, RunAnswer),
    Route("POST", "/sessions/{id}/runs/{run}/abort", abort, RunAnswer, body=Abort),
]
