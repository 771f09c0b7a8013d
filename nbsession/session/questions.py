"""The questions of one session: asked, waiting, answered; kept in its state, so that a fork and a restart have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nbsession.content import Text, ToolResult, block_from_dict, bounded, new_id
from nbsession.errors import SessionError
from nbsession.events import ConfirmationRequested, QuestionAnswered, QuestionAsked, QuestionWithdrawn
from nbsession.hooks import GONE
from nbsession.tools import Question, checked_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from nbsession.content import ToolCall
    from nbsession.events import Event
    from nbsession.timeline import ToolRun
    from nbsession.tools import Rule

QUESTION = "question:"
DONE = "done:"


class Answer(NamedTuple):
    """What a question was answered with, until the call that waited for it has it."""

    question: Question
    value: Any


class Questions:
    """Who waits for a person's word, and what was said.

    A question is *open* until its answer is noted, which happens in the same transaction as what the answer
    sets off; until then an answer is only *given*, and is given anew after a crash.
    """

    def __init__(
        self, state: Mapping[str, Any], note: Callable[[list[tuple[str, Any]]], None], session: str
    ) -> None:
        self._state = state
        self._note = note
        self._session = session
        self._given: set[str] = set()
        self._open: dict[str, Question] = {}
        self.results: dict[str, ToolResult] = {}
        """The results of the other calls of the tick, by call, until all have one."""
        for address, kept in state.items():
            if address.startswith(QUESTION) and "call" in kept:
                self._open[kept["id"]] = Question.from_dict(kept)
            elif address.startswith(DONE):
                result = block_from_dict(kept)
                assert isinstance(result, ToolResult)
                self.results[result.call_id] = result

    @property
    def open(self) -> list[Question]:
        """Those that have no answer on record, the oldest first."""
        return list(self._open.values())

    @property
    def waiting(self) -> list[Question]:
        """Those that nobody has answered."""
        return [question for question in self.open if question.id not in self._given]

    def about(self, call_id: str) -> Question | None:
        """Return the open question about a call."""
        return next((question for question in self._open.values() if question.call.id == call_id), None)

    def ask(
        self,
        text: str,
        call: ToolCall,
        kind: Literal["pause", "confirmation"],
        schema: Mapping[str, Any],
        tick: int,
        *,
        again: bool = False,
        rule: Rule | None = None,
    ) -> Question:
        """Ask about a call; it is stored with what comes next, and to be told (``told``) after that."""
        question = Question(new_id("qu"), text, call, kind, schema, tick, again, rule)
        self._open[question.id] = question
        self._note([(QUESTION + question.id, question.to_dict())])
        return question

    def give(self, id: str, value: Any) -> Answer:
        """Take an answer; ``SessionError`` where it does not fit, or the question does not wait (any more)."""
        question = self._waiting_one(id)
        if id in self._given:
            raise SessionError(f"question {id!r} ({bounded(question.text, 80)}) was answered just now")
        answer = Answer(question, checked_answer(value, question.schema, bounded(question.text, 80)))
        self._given.add(id)
        return answer

    def answered(self, question: Question, answer: Answer | None) -> Answer | None:
        """Return the answer that a question has by ``answer``, if it has one.

        What is allowed always, is allowed to those that wait beside it, too, and that nobody answered.
        """
        if answer is None or answer.question == question:
            return answer
        always = answer.value == "always" and answer.question.lasting and question.lasting
        alike = question.asked_by == answer.question.asked_by and question.id not in self._given
        return Answer(question, True) if always and alike else None

    def check(self, answer: Answer) -> None:
        """Raise ``SessionError`` where what happened since an answer was given has ended its question."""
        self._waiting_one(answer.question.id)

    def _waiting_one(self, id: str) -> Question:
        kept = self._state.get(f"{QUESTION}{id}")
        if kept is None:
            raise SessionError(f"session {self._session!r} has no question {id!r}{self._others()}")
        if "call" not in kept:
            end = (
                f"answered with {kept['answer']!r}" if "answer" in kept else f"withdrawn: {kept['withdrawn']}"
            )
            raise SessionError(f"question {id!r} ({bounded(kept['text'], 80)}) was {end}{self._others()}")
        return self._open[id]

    def take_back(self, answer: Answer | None) -> None:
        """Let a question wait again whose answer set nothing off."""
        if answer is not None:
            self._given.discard(answer.question.id)

    def close(self, answer: Answer, emit: Callable[[Event], None]) -> None:
        """Note an answer; it is stored with what it sets off."""
        question, value = answer
        self._end(question, answer=value)
        emit(QuestionAnswered(question.id, question.call.id, value))

    @property
    def ended(self) -> dict[str, Mapping[str, Any]]:
        """What became of those that wait no more, by call: its ``text``, and ``answer`` or ``withdrawn``."""
        kept = [kept for address, kept in self._state.items() if address.startswith(QUESTION)]
        return {each["of"]: each for each in kept if "of" in each}

    def withdraw(self, reason: str, emit: Callable[[Event], None]) -> None:
        """Let nothing wait any more: what happened instead is the ``reason``."""
        for question in self.open:
            self._end(question, withdrawn=reason)
            emit(QuestionWithdrawn(question.id, question.call.id, reason))

    def _end(self, question: Question, **how: Any) -> None:
        del self._open[question.id]
        self._given.discard(question.id)
        self._note([(QUESTION + question.id, {"text": question.text, "of": question.call.id, **how})])

    # The calls beside those that wait

    def keep_results(self, runs: Iterable[ToolRun]) -> None:
        """Note the results that the other calls of a tick have."""
        new = {run.id: run.result for run in runs if run.result is not None and run.id not in self.results}
        self.results.update(new)
        self._note([(DONE + call, result.to_dict()) for call, result in new.items()])

    def drop_results(self) -> None:
        """Forget them: they stand in the timeline."""
        if self.results:
            self._note([(DONE + call, GONE) for call in self.results])
            self.results = {}

    def _others(self) -> str:
        waiting = [f"{question.id!r} ({bounded(question.text, 60)})" for question in self.waiting]
        return f"; what waits is {', '.join(waiting)}" if waiting else "; nothing waits"


def unanswered(run: ToolRun, reason: str) -> ToolResult:
    """Return the result that a call gets whose question was withdrawn."""
    return ToolResult(
        run.id, run.name, (Text(f"Nobody answered: {reason}."),), is_error=True, status="interrupted"
    )


def told(question: Question) -> Event:
    """Return the event that tells that somebody is asked."""
    if question.kind == "pause":
        return QuestionAsked(question)
    return ConfirmationRequested(question.call, question.text, question.id)
