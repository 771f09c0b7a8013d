"""Questions that wait for a person."""

from __future__ import annotations

from nbsession.protocol import Answering, MessageAnswer, QuestionAnswer, Questions
from nbsession.server.route import Call, Query, Route
from nbsession.server.sending import ended
from nbsession.server.told import message_answer


class Detach(Query):
    """Whether the execution goes on when who answered goes away."""

    detach: bool = True


async def listed(call: Call) -> Questions:
    """List what waits for an answer, also after a restart."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        return Questions(waiting=[QuestionAnswer(**question.to_dict()) for question in session.waiting])


async def answer(call: Call) -> MessageAnswer:
    """Answer a question and wait for the outcome; a second answer is refused with what the first one was."""
    async with call.gateway.using(call.user, call.path["id"]) as session:
        execution = session.answer(call.path["question"], call.body(Answering).value)
        await ended(call.gateway, call.gone, execution, detach=call.query(Detach).detach)
        return message_answer(execution)


ROUTES = [
    Route("GET", "/sessions/{id}/waiting", listed, Questions),
    Route("POST", "/sessions/{id}/waiting/{question}", answer, MessageAnswer, body=Answering, query=Detach),
]
