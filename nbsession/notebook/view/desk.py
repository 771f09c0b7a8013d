"""What a reader does with ticks that are over: fork there, edit and ask again, copy as Python, look at the source.

A finished output is static, for ever the same. While the kernel is there, one widget that shows nothing
itself, the desk, brings the outputs of its kernel to life: its script finds them in the page and puts
buttons beneath their ticks. No output holds a button, nor a widget, so nothing of it is saved.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from nbsession.content import new_id
from nbsession.errors import NbsessionError, SessionError
from nbsession.events import ConfirmationRequested
from nbsession.notebook.view import edit_form, templates
from nbsession.notebook.view.ledger import ledger_of
from nbsession.notebook.view.live import Ui
from nbsession.notebook.view.python import as_python

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anywidget import AnyWidget
    from markupsafe import Markup

    from nbsession.session import Session


class Desk:
    """The desk of one kernel. What the page asks is done on the home loop of the session that it asks about."""

    def __init__(self, sessions: Any = None) -> None:
        self.key = new_id("desk")
        self.widget = _widget(self.key)
        self.widget.on_msg(self._on_message)
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()
        self._named = sessions
        self._cell = contextvars.copy_context()
        self._tasks: set[asyncio.Task[None]] = set()
        self._does: Mapping[str, Callable[[Session, Mapping[str, Any]], str]] = {
            "source": self._source,
            "fork": self._fork,
            "python": self._python,
            "edit": self._edit,
            "compare": self._compare,
            "send": self._send,
            "stop": self._stop,
            "view": self._view,
        }

    def knows(self, session: Session) -> Markup:
        """Take a session in, and write the attributes by which the page knows its outputs."""
        from markupsafe import Markup

        self._sessions[session.id] = session
        return Markup(' data-x={} data-of="{}"').format(self.key, session.id)

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

    def _reply(self, message: Mapping[str, Any], html: str) -> None:
        reply = {"k": "reply", "n": message.get("n"), "html": str(html)}
        self._cell.copy().run(self.widget.send, reply)

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
        at = _number(message)
        fork = session.fork(at=at)
        self._name(fork, session)
        return _macro("forked")(session.id, at, f"%session use {fork.id}")

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
        task = asyncio.get_running_loop().create_task(self._see(session, fork, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _macro("sending")(fork.id)

    async def _see(self, session: Session, fork: Session, message: Mapping[str, Any]) -> None:
        """Ask again in a fork, and put the two answers side by side."""
        execution = fork.render()
        error = ""
        try:
            async for event in execution:
                if isinstance(event, ConfirmationRequested):
                    execution.confirm(
                        event.call.id, False, "nobody is asked in a fork that is sent from a view"
                    )
            await execution
        except NbsessionError as failed:
            error = str(failed)
        before = edit_form.answer_of(session, _number(message))
        after = edit_form.answer_of(fork, _number(message))
        html = _macro("answers")(Ui(), session.id, before, fork.id, after, error)
        self._reply(message, html)

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
            "_css": templates.source("desk.css"),
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
