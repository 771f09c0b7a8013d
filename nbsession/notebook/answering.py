"""What waits for somebody's answer in this kernel, and how a line, or somebody at a terminal, answers it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbsession.errors import SessionError
from nbsession.notebook.remote import far_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.notebook.sessions import Sessions
    from nbsession.session import Session
    from nbsession.tools import Question

LIST = "%session waiting lists what waits"


@dataclass(frozen=True, slots=True)
class Reply:
    """What ``%session answer`` asks for: ``text`` is the answer to the one question, ``None`` where there is none yet."""

    session: Session
    questions: Sequence[Question]
    text: str | None = None

    @property
    def value(self) -> Any:
        """The answer as its question takes it; ``SessionError`` where it does not fit."""
        from nbsession.notebook.view.form import takes, written_answer

        (question,) = self.questions
        try:
            return written_answer(question, self.text or "")
        except ValueError as fault:
            raise SessionError(
                f"{question.text!r} is not answered: {fault}; it takes {takes(question)}"
            ) from None


def waiting(sessions: Sessions) -> list[tuple[Session, Question]]:
    """Return what waits in the sessions that are open here, the current one's first; of a server's what is known."""
    opened = list(dict.fromkeys(session for _, session in sessions))
    opened.sort(key=lambda session: session is not sessions.current)
    return [(session, question) for session in opened for question in session.waiting]


def read(sessions: Sessions, words: Sequence[str]) -> Reply:
    """Read ``[ID] [VALUE]``, quotes included; without an ID it is about the current session.

    Raises ``SessionError`` where nothing waits, where it is not said which question, and for an id that does not wait.
    """
    if (remote := far_of(sessions.current)) is not None:
        remote.update()
    named = words[0] if words and words[0].startswith("qu_") else ""
    rest = words[1:] if named else words
    text = _text(rest) if rest else None
    if named:
        for session, question in waiting(sessions):
            if question.id == named:
                return Reply(session, [question], text)
        sessions.current.answer(named, text)  # raises: it says what became of it
    session = sessions.current
    questions = session.waiting
    if not questions:
        raise SessionError(f"session {session.id!r} waits for no answer")
    if text is not None and len(questions) > 1:
        raise SessionError(
            f"session {session.id!r} waits for {len(questions)} answers, so say which question: "
            f"%session answer {questions[0].id} …; {LIST}"
        )
    return Reply(session, questions, text)


def ask_here(question: Question) -> str:
    """Ask by ``input()`` until what is written fits; ``""`` lets it wait."""
    from nbsession.notebook.view.form import takes, written_answer

    prompt = f"{question.text} ({takes(question)}; nothing lets it wait) "
    while True:
        text = input(prompt)
        if not text.strip():
            return ""
        try:
            written_answer(question, text)
        except ValueError as fault:
            prompt = f"{fault}; {takes(question)}: "
        else:
            return text


def _text(words: Sequence[str]) -> str:
    """Return an answer as it was meant: one that stands in single quotes without them."""
    text = " ".join(words)
    return shlex.split(text)[0] if len(words) == 1 and text.startswith("'") else text
