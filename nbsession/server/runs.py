"""Runs: messages that were taken, and are answered later, also after a restart.

A run stands in its session's note from when it is taken until it has ended, and is sent under its own id as the
``request_id``. So whoever finds it there after a crash may send it again: a session sends one request once. What
was cut in the middle is *interrupted*, and not begun anew.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from nbsession.content import new_id
from nbsession.errors import NbsessionError, SessionBusyError
from nbsession.protocol import RunAnswer, Send
from nbsession.server.fault import LOG, Refusal, fault_of, not_found
from nbsession.server.note import Note
from nbsession.server.sending import begin, check, check_line
from nbsession.server.told import message_answer

if TYPE_CHECKING:
    from nbsession.server.gateway import Gateway
    from nbsession.session import Execution, Session

REMEMBERED = 1_000
"""Runs that were stopped before they began, of which no session knows."""

PAGE = 50
"""Sessions that are looked at together for runs: what reads a page does so while others wait."""


class Runs:
    """The runs of all sessions."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._withdrawn: OrderedDict[tuple[str, str], RunAnswer] = OrderedDict()
        self._elsewhere: set[tuple[str, str]] = set()
        self._resumed = False

    async def take(self, session: Session, body: Send, user: str) -> RunAnswer:
        """Take a run: it is stored when this returns, and goes on by itself."""
        check(self._gateway, session, body)
        run = new_id("run") if body.request_id is None else _id_of(session.id, body.request_id)
        known = session.sent(run)
        if known is None and run not in Note.of(session.metadata).runs:
            waiting = max(len(Note.of(session.metadata).runs), len(session.line))
            check_line(self._gateway, waiting)
            kept = body.model_dump(exclude_defaults=True)
            await self._gateway.note(
                session, lambda note: note.but(runs={**note.runs, run: note.runs.get(run, kept)})
            )
        self._send(session, run, body, user)
        return self.tell(session, run)

    def tell(self, session: Session, run: str, request_id: str = "") -> RunAnswer:
        """Tell how a run stands."""
        execution = session.sent(run)
        if execution is None:
            if (withdrawn := self._withdrawn.get((session.id, run))) is not None:
                return withdrawn
            if run not in Note.of(session.metadata).runs:
                raise not_found("the session has no such run")
            return RunAnswer(id=run, session=session.id, status="queued")
        answer = RunAnswer(id=run, session=session.id, status=_status(execution))
        if answer.status in ("done", "aborted", "waiting"):
            answer.result = message_answer(execution)
        elif execution.error is not None:
            answer.error = fault_of(execution.error, request_id)[1]
        return answer

    async def abort(self, session: Session, run: str, reason: str | None) -> RunAnswer:
        """Stop a run, also one that has not begun."""
        execution = session.sent(run)
        if execution is not None and not execution.done:
            execution.abort(reason)
            await execution.settled()
            if execution.withdrawn:
                stopped = RunAnswer(id=run, session=session.id, status="aborted")
                self._withdrawn[session.id, run] = stopped
                if len(self._withdrawn) > REMEMBERED:
                    self._withdrawn.popitem(last=False)
        return self.tell(session, run)

    async def resume(self) -> None:
        """Go on with what was taken before a restart; what another server runs is left to it, and asked after later."""
        since = (0.0, "")
        try:
            for _ in range(2):  # what is used meanwhile moves to the front, away from what is still unread
                since = await self._resume_since(since)
        except NbsessionError as error:
            LOG.warning("the runs that were taken before wait: %s", error)
            return
        self._resumed = True

    async def _resume_since(self, since: tuple[float, str]) -> tuple[float, str]:
        """Go on with what was used after a place in the list, and return the place where that begins now."""
        newest, after = since, None
        while page := await self._gateway.infos(after, PAGE):
            newest = max(newest, page[0].place)
            for info in page:
                if info.place <= since:
                    return newest
                note = Note.of(info.metadata)
                if note.runs:
                    await self._resume(info.id, note.user)
            after = page[-1].place
        return newest

    async def ask_again(self) -> None:
        """Take over what another server had, if it has let go, and what the store would not tell of before."""
        if not self._resumed:
            await self.resume()
        for name, user in list(self._elsewhere):
            self._elsewhere.discard((name, user))
            await self._resume(name, user)

    async def _resume(self, name: str, user: str) -> None:
        try:
            async with self._gateway.using(user, name) as session:
                for run, body in Note.of(session.metadata).runs.items():
                    self._send(session, run, Send.model_validate(body), user)
        except (NbsessionError, Refusal, ValueError) as error:
            LOG.warning("runs of session %s wait: %s", name, error)

    def _send(self, session: Session, run: str, body: Send, user: str) -> None:
        execution = begin(session, body, request_id=run)
        self._gateway.start(self._end(session.id, run, execution, user))

    async def _end(self, name: str, run: str, execution: Execution, user: str) -> None:
        """Wait for a run's end, and take it out of the note."""
        async with self._gateway.using(user, name) as session:
            await execution.settled()
            if execution.withdrawn and self._gateway.closing:
                return  # whoever serves next begins it
            if isinstance(execution.error, SessionBusyError):
                self._elsewhere.add((name, user))
                return
            if execution.error is not None:
                fault_of(execution.error, run)  # to the log
            try:
                await self._gateway.note(session, lambda note: note.but(runs=_without(note.runs, run)))
            except NbsessionError as error:
                LOG.warning("run %s ended, which could not be stored: %s", run, error)


def _without(runs: Any, run: str) -> dict[str, Any]:
    return {name: body for name, body in runs.items() if name != run}


def _id_of(session: str, request_id: str) -> str:
    said = f"{session} {request_id}".encode("utf-8", "surrogatepass")  # there is no blank in an id
    return f"run_{hashlib.sha256(said).hexdigest()[:18]}"


def _status(execution: Execution) -> Any:
    if execution.status == "interrupted":
        return "interrupted"
    if not execution.done:
        return "queued" if execution.status == "queued" else "running"
    if execution.error is not None:
        return "failed"
    reason = str(execution.outcome.result().stop_reason)
    return {"aborted": "aborted", "paused": "waiting"}.get(reason, "done")
