"""Questions that wait in finished outputs: each has a form there while the kernel is, and is answered in any of them once."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol

from nbsession.content import new_id
from nbsession.errors import NbsessionError, SessionError
from nbsession.events import QuestionAnswered, QuestionWithdrawn
from nbsession.notebook.view import templates
from nbsession.notebook.view.form import answer_of, answered, form_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbsession.notebook.view.transcript import Transcript
    from nbsession.session import Execution, Session
    from nbsession.tools import Question

PROGRAM = "the program"
ELSEWHERE = "in another output"
CELL = "by %session answer"


class Going(Protocol):
    """What shows an execution that goes on."""

    def display(self) -> Any: ...

    async def follow(self) -> None: ...


class Post(Protocol):
    """A finished output in which questions wait."""

    @property
    def session(self) -> Session: ...

    @property
    def run(self) -> Transcript: ...

    def restate(self) -> None:
        """Show anew what is over."""

    def go_on(self, execution: Execution) -> Going:
        """Return a view of what goes on there."""


class Posts:
    """The outputs of one kernel in which questions wait. All is done on the home loops of their sessions.

    ``tell`` sends a message to all pages, ``within`` calls a function as in a cell.
    """

    def __init__(
        self, tell: Callable[[Mapping[str, Any]], None], within: Callable[[Callable[[], Any]], Any]
    ) -> None:
        self._tell = tell
        self._within = within
        self._posts: dict[str, Post] = {}
        self._answered_by: dict[str, str] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put_up(self, post: Post, after: int | None = None) -> str:
        """Take in an output whose questions wait, as of an event's number; return what the page calls it."""
        key = new_id("post")
        self._posts[key] = post
        watch = self._watches.get(post.session.id)
        if watch is None or watch.done():
            task = asyncio.get_running_loop().create_task(self._watch(post.session, after))
            self._watches[post.session.id] = self._keep(task)
        return key

    def form(self, session: Session, message: Mapping[str, Any]) -> str:
        """Return the form of a question, or say what became of it."""
        question = _waiting(session, message)
        return _form(form_of(question), message)

    def answer(self, session: Session, message: Mapping[str, Any]) -> str:
        """Take an answer: the form with what is wrong with it, or nothing, and the output goes on."""
        question = _waiting(session, message)
        value, form = answer_of(form_of(question), message)
        if form.is_faulty:
            return _form(form, message)
        post = self._posts.pop(str(message.get("at")), None)
        execution = self.give(session, question, value, ELSEWHERE)
        if post is not None:
            view = post.go_on(execution)
            self._within(view.display)
            self._keep(asyncio.get_running_loop().create_task(_see(view)))
        return ""

    def give(self, session: Session, question: Question, value: Any, how: str) -> Execution:
        """Answer a question; ``how`` is what its other outputs are told of that."""
        self._answered_by[question.id] = (
            how  # before: what it sets off may be told at once, on another thread
        )

        def forget(_ended: object) -> None:
            if any(waiting.id == question.id for waiting in session.waiting):
                self._answered_by.pop(question.id, None)  # it set nothing off

        try:
            execution = session.answer(question.id, value)
        except SessionError:
            forget(None)
            raise
        execution.outcome.add_done_callback(forget)
        return execution

    async def _watch(self, session: Session, after: int | None) -> None:
        """Tell the outputs of a session's questions what becomes of them, for as long as there are any."""
        async with aclosing(session.subscribe(after)) as events:
            async for event in events:
                if isinstance(event, (QuestionAnswered, QuestionWithdrawn)):
                    self._end(session, event)
                if not any(post.session is session for post in self._posts.values()):
                    return

    def _end(self, session: Session, event: QuestionAnswered | QuestionWithdrawn) -> None:
        by = self._answered_by.pop(event.question, f"by {PROGRAM}")
        for key, post in list(self._posts.items()):
            asked = post.run.asked.get(event.question) if post.session is session else None
            if asked is None:
                continue
            if isinstance(event, QuestionAnswered):
                asked.end = f"answered {by}: {answered(asked.question, event.value)}"
            else:
                asked.end = f"withdrawn: {event.reason}"
            if not post.run.asked:
                del self._posts[key]
            self._within(post.restate)
            html = templates.macro("question", "end")(asked.end)
            self._tell({"k": "told", "at": key, "q": event.question, "html": html})

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _see(view: Going) -> None:
    with contextlib.suppress(NbsessionError):  # shown in the view
        await view.follow()


def _waiting(session: Session, message: Mapping[str, Any]) -> Question:
    wanted = message.get("q")
    question = next((each for each in session.waiting if each.id == wanted), None)
    if question is None:
        raise SessionError("this question does not wait any more")
    return question


def _form(form: Any, message: Mapping[str, Any]) -> str:
    return templates.macro("question", "form")(form, f"{message.get('at')}-{message.get('q')}")
