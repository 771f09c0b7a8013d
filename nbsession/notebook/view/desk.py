"""What a reader does with ticks that are over: fork there, edit and ask again, copy as Python, look at the source.

A finished output is static, for ever the same. While the kernel is there, one widget that shows nothing
itself, the desk, brings the outputs of its kernel to life: its script finds them in the page and puts
buttons beneath their ticks. No output holds a button, nor a widget, so nothing of it is saved.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from nbsession.content import new_id
from nbsession.errors import NbsessionError, SessionError
from nbsession.events import ConfirmationRequested
from nbsession.notebook.remote import far_of
from nbsession.notebook.view import edit_form, templates
from nbsession.notebook.view.ledger import ledger_of
from nbsession.notebook.view.live import Ui
from nbsession.notebook.view.posts import Posts
from nbsession.notebook.view.python import as_python
from nbsession.notebook.view.summary import as_markdown, as_text
from nbsession.notebook.view.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from anywidget import AnyWidget
    from markupsafe import Markup

    from nbsession.notebook.remote import Remote
    from nbsession.notebook.view.place import Place
    from nbsession.session import Session


INTERVAL = 0.1
"""Seconds between two looks at an answer that comes in, at least; more where laying it out takes long."""

MOST_PLACES = 100
"""Outputs that can be added to, the latest."""


class Desk:
    """The desk of one kernel. What the page asks is done on the home loop of the session that it asks about."""

    def __init__(self, sessions: Any = None) -> None:
        self.key = new_id("desk")
        self.widget = _widget(self.key)
        self.widget.on_msg(self._on_message)
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()
        self._places: dict[str, Place] = {}
        self._named = sessions
        self._cell = contextvars.copy_context()
        self._tasks: set[asyncio.Task[None]] = set()
        self.posts = Posts(self._tell, self._in_cell)
        self._does: Mapping[str, Callable[[Session, Mapping[str, Any]], str]] = {
            "source": self._source,
            "fork": self._fork,
            "python": self._python,
            "edit": self._edit,
            "compare": self._compare,
            "send": self._send,
            "stop": self._stop,
            "view": self._view,
            "question": self.posts.form,
            "answer": self.posts.answer,
        }

    def knows(self, session: Session, place: Place | None = None) -> Markup:
        """Take in a session, and where an output of it stands; write the attributes by which the page knows it."""
        from markupsafe import Markup

        self._sessions[session.id] = session
        known = Markup(' data-x={} data-of="{}"').format(self.key, session.id)
        if far_of(session) is not None:
            known += Markup(" data-far")  # its contexts are edited where its tree is
        if place is None:
            return known
        place.put = self._put
        self._places[place.key] = place
        for oldest in list(self._places)[:-MOST_PLACES]:
            del self._places[oldest]
        return known + Markup(" data-o={}").format(place.key)

    def answer(self, message: Mapping[str, Any]) -> str:
        """Do what the page asks, on the session's home loop, and return what it is to show."""
        try:
            session = self._session(message)
            return self._does[message["k"]](session, message)
        except NbsessionError as error:
            return _macro("fault")(str(error))
        except LookupError:
            return _macro("fault")("that tick is not in the session any more")

    def _on_message(self, _widget: object, message: Mapping[str, Any], _buffers: object) -> None:
        session = self._sessions.get(str(message.get("of")))
        if session is None or message.get("k") not in self._does:
            self._reply(message, _macro("fault")(_gone(message)))
        else:
            session.app.home.post(lambda: self._reply(message, self.answer(message)))

    def _reply(self, message: Mapping[str, Any], html: str, *, part: str = "") -> None:
        """Show something where the page asked for it, or in the part of it that has that name."""
        self._tell({"k": "reply", "n": message.get("n"), "html": str(html), "part": part})

    def _tell(self, message: Mapping[str, Any]) -> None:
        self._in_cell(lambda: self.widget.send(message))

    def _in_cell(self, do: Callable[[], Any]) -> Any:
        """Call a function as in the cell that made the desk."""
        return self._cell.copy().run(do)

    def _put(self, key: str, was: str, data: Mapping[str, Any]) -> None:
        """Let a page that was loaded since an output was made show what stands there now."""
        self._tell({"k": "put", "key": key, "was": was, "data": data})

    def _session(self, message: Mapping[str, Any]) -> Session:
        session = self._sessions.get(str(message.get("of")))
        if session is None:
            raise SessionError(_gone(message))
        return session

    def _source(self, session: Session, message: Mapping[str, Any]) -> str:
        source = session.sources().get(str(message.get("path")))
        lines = source.lines() if source is not None else ()
        return _macro("source")(lines, source.line if source is not None else 0)

    def _fork(self, session: Session, message: Mapping[str, Any]) -> str:
        if (remote := far_of(session)) is not None:
            self._keep(self._fork_far(remote, message))
            return ""
        return self._forked(session, session.fork(at=_number(message)), message)

    async def _fork_far(self, remote: Remote, message: Mapping[str, Any]) -> None:
        """Fork at the server, and say so once that is done."""
        try:
            fork = await remote.branch_off(_number(message))
            html = self._forked(cast("Session", remote), cast("Session", fork), message)
        except NbsessionError as error:
            html = _macro("fault")(str(error))
        self._reply(message, html)

    def _forked(self, session: Session, fork: Session, message: Mapping[str, Any]) -> str:
        self._name(fork, session)
        return _macro("forked")(session.id, _number(message), f"%session use {fork.id}")

    def _python(self, session: Session, message: Mapping[str, Any]) -> str:
        namespace = self._named.namespace if self._named is not None else {}
        return _macro("python")(as_python(session, _number(message), namespace))

    def _edit(self, session: Session, message: Mapping[str, Any]) -> str:
        form = edit_form.form_of(session, _number(message))
        return _macro("form")(form)

    def _compare(self, session: Session, message: Mapping[str, Any]) -> str:
        tick = session.ticks[_number(message)]
        texts, knobs = edit_form.read(session, message.get("fields") or {})
        context = session.rehearse(tick, texts, **knobs)
        return edit_form.difference(context, tick.context)

    def _send(self, session: Session, message: Mapping[str, Any]) -> str:
        number = _number(message)
        texts, knobs = edit_form.read(session, message.get("fields") or {})
        fork = session.edit(number, texts) if texts else session.fork(at=number, before=True)
        fork.knobs.set_many(knobs)
        self._name(fork, session)
        self._keep(self._see(session, fork, message))
        return _macro("sending")(fork.id)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _see(self, session: Session, fork: Session, message: Mapping[str, Any]) -> None:
        """Ask again in a fork, and put the two answers side by side."""
        execution = fork.render()
        error = ""
        before, run = edit_form.answer_of(session, _number(message)), Transcript()
        self._reply(message, _macro("coming")(Ui(), session.id, before, fork.id, run))
        due = 0.0
        try:
            async for event in execution:
                run.apply(event)
                if (began := time.monotonic()) >= due:
                    self._reply(message, _macro("answer")(Ui(quiet=True), run), part="after")
                    due = began + max(INTERVAL, 10 * (time.monotonic() - began))
                if isinstance(event, ConfirmationRequested):
                    execution.confirm(
                        event.call.id, False, "nobody is asked in a fork that is sent from a view"
                    )
            await execution
        except NbsessionError as failed:
            error = str(failed)
        after = edit_form.answer_of(fork, _number(message))
        self._reply(message, _macro("answers")(Ui(), session.id, before, fork.id, after, error))
        place = self._places.get(str(message.get("o")))
        if place is not None:
            stood = _stood(session.id, _number(message), before, fork.id, after, error)
            # Published from the home loop's thread, it belongs to a cell.
            self._cell.copy().run(place.add, stood)

    def _stop(self, session: Session, _message: Mapping[str, Any]) -> str:
        session.stop()
        return ""

    def _view(self, session: Session, message: Mapping[str, Any]) -> str:
        ledger_of(session.id).choice = "tree" if message.get("view") == "tree" else "list"
        return ""

    def _name(self, fork: Session, parent: Session) -> None:
        """Let ``%session use`` know a fork."""
        self._sessions[fork.id] = fork
        if self._named is not None:
            self._named.add(fork, target=self._named.target_of(parent.id))


def _stood(
    session: str, tick: int, before: Transcript, fork: str, after: Transcript, error: str
) -> dict[str, str]:
    """Return two answers as they stay below an output, in each of its forms."""
    html = _macro("stood")(Ui(), session, tick, before, fork, after, error)
    said = error or as_text(after)
    return {
        "text/html": f"{templates.style('answers')}{html}",
        "text/markdown": f"\n\n*Edited and sent again from tick {tick}, in session {fork}:*\n\n{as_markdown(after)}",
        "text/plain": f"\n\n[edited and sent again from tick {tick}, in session {fork}]\n\n{said}",
    }


def desk() -> Desk:
    """Return the desk of this kernel; it is made at its first use, in a cell."""
    global _desk
    if _desk is None:
        from IPython.core.getipython import get_ipython

        _desk = Desk(getattr(getattr(get_ipython(), "nbsession", None), "sessions", None))
    return _desk


_desk: Desk | None = None


def _widget(key: str) -> AnyWidget:
    from anywidget import AnyWidget
    from traitlets import Unicode

    made: AnyWidget = type(
        "DeskWidget",
        (AnyWidget,),
        {
            "_esm": templates.source("desk.js"),
            "_css": "".join(map(templates.source, ("form.css", "desk.css", "answers.css"))),
            "key": Unicode(key).tag(sync=True),
        },
    )()
    return made


def _number(message: Mapping[str, Any]) -> int:
    return int(message.get("tick") or 0)


def _gone(message: Mapping[str, Any]) -> str:
    id_ = message.get("of")
    return (
        f"session {id_!r} is not open in this kernel any more; %session resume {id_} opens one that is stored"
    )


def _macro(name: str) -> Callable[..., str]:
    return templates.macro("desk", name)
