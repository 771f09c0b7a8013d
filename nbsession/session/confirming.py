"""Whether calls may run: asked while the execution runs, and answered, or left to wait."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.session.questions import Answer, told
from nbsession.tools import confirmation_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.content import ToolCall
    from nbsession.session.core import SessionCore
    from nbsession.session.door import Turn
    from nbsession.tools import Question, Rule, Tool, Verdict


LOG = logging.getLogger("nbsession")

PATIENCE = 1.0
"""Seconds after which it is logged that a call waits, where nobody follows the events by which it asks."""


class Approval(NamedTuple):
    """Whether a call is approved, why (not), the input to use instead, and whether others like it are, too."""

    approved: bool
    reason: str = ""
    input: Mapping[str, Any] | None = None
    always: bool = False

    @classmethod
    def of(cls, value: Any) -> Approval:
        """Read it of an answer to a question: a yes or no, ``"always"``, or an input."""
        return cls(value is not False, "", value if isinstance(value, dict) else None, value == "always")

    @property
    def value(self) -> Any:
        """The answer that it is."""
        if self.input is not None:
            return dict(self.input)
        return "always" if self.approved and self.always else self.approved


class _Waiting(NamedTuple):
    """A call that waits to be allowed: ``by`` is the rule that asks, or the name of the tool that does itself."""

    tool: Tool
    by: Rule | str
    lasting: bool
    answer: asyncio.Future[Approval | None]

    def take(self, approval: Approval | None) -> None:
        if not self.answer.done():
            self.answer.set_result(approval)


class Confirming:
    """The calls of one execution that wait to be allowed, each with its tool and where the answer is awaited.

    Once it is ``halting`` nobody waits here any longer, and no further call begins.
    """

    def __init__(self, core: SessionCore, execution: Turn) -> None:
        self.halting = False
        self._core = core
        self._execution = execution
        self._waiting: dict[str, _Waiting] = {}

    async def ask(
        self, tick: int, tool: Tool, call: ToolCall, text: str, verdict: Verdict | None = None
    ) -> Approval | None:
        """Ask whether a call may run, and wait; ``None`` where the execution ends before anybody answers."""
        core, emit = self._core, self._execution.emit
        lasting, rule = (True, None) if verdict is None else (not verdict.doubtful, verdict.rule)
        waiting: asyncio.Future[Approval | None] = asyncio.get_running_loop().create_future()
        self._waiting[call.id] = _Waiting(tool, rule or tool.name, lasting, waiting)
        unheard: asyncio.TimerHandle | None = None
        try:
            schema = confirmation_schema(tool.spec.input_schema, lasting=lasting)
            question = core.questions.ask(text, call, "confirmation", schema, tick, rule=rule)
            await core.outbox.keep()
            emit(told(question))
            unheard = asyncio.get_running_loop().call_later(PATIENCE, self._say, question)
            approval = None if self.halting else await waiting
        finally:
            del self._waiting[call.id]
            if unheard is not None:
                unheard.cancel()
        if approval is not None:
            approval = approval._replace(always=approval.always and lasting)
            core.questions.close(Answer(question, approval.value), emit)
        return approval

    def _say(self, question: Question) -> None:
        """Log that a call waits, where whoever sent the message cannot know."""
        if self._core.feed.followed or self._execution.log.followed:
            return
        session = self._execution.session.id
        LOG.warning(
            "session %r waits for a yes or no to the tool %s, and nobody follows its events. Send from a %%%%session cell, "
            "which asks; or answer from elsewhere by session.answer(%r, True); or stop what waits.",
            session, question.call.name, question.id,
        )  # fmt: skip

    def answer(self, call_id: str, approval: Approval) -> bool:
        """Answer whether a call may run; say whether it is asked here, and was not answered before.

        What is allowed always, is allowed to those that wait beside it, too.
        """
        asked = self._waiting.get(call_id)
        if asked is None or asked.answer.done():
            return False
        asked.take(approval)
        if approval.approved and approval.always and asked.lasting:
            for other in self._waiting.values():
                if other.lasting and other.by == asked.by:
                    other.take(Approval(True))
        return True

    def check(self, call_id: str, input: Mapping[str, Any]) -> None:
        """Raise ``ToolError`` where the tool that waits for an answer does not take ``input``."""
        if (asked := self._waiting.get(call_id)) is not None:
            asked.tool.validate(input)

    def halt(self) -> bool:
        """Let what waits wait elsewhere, in the session; say whether anything does."""
        self.halting = bool(self._waiting)
        for asked in self._waiting.values():
            asked.take(None)
        return self.halting
