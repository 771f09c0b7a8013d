"""The server of a kernel: its live sessions over HTTP, with the functions that were defined in its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.errors import SessionError
from nbsession.notebook.opened import opened_of
from nbsession.notebook.remote import far_of

if TYPE_CHECKING:
    from nbsession.app import App
    from nbsession.notebook.sessions import Sessions


def serve(sessions: Sessions, port: int, *, token: bool) -> str:
    """Serve the apps of the kernel's sessions, the current one's first, and return what is to be told.

    What is only looked at here, and what is at another server, is not served.
    A cell that is run again ends the server that it began, and begins another.
    """
    end(sessions)
    current = sessions.current
    own = [(name, session) for name, session in sessions if not (far_of(session) or opened_of(session))]
    own.sort(key=lambda each: each[1] is not current)
    if not own:
        raise SessionError(
            f"%session serve needs a session that is here, not {current}: %session new COMPONENT"
        )
    apps: dict[int, tuple[str, Any]] = {}
    for name, session in own:
        apps.setdefault(id(session.app), (name, session.app))
    named: dict[str, App] = {}
    for session_name, app in apps.values():
        name = sessions.target_of(session_name) or session_name
        named[name if name not in named else f"{name}-{len(named) + 1}"] = app
    (name, first), *others = named.items()
    sessions.server = first.serve(port, token=token, name=name, also=dict(others), background=True, say=None)
    return sessions.server.greeting


def end(sessions: Sessions) -> str:
    """End the server, and return what is to be told."""
    server, sessions.server = sessions.server, None
    if server is None or server.closed:
        return "nothing is served"
    server.close()
    return f"what was served at {server.url} is served no more; the sessions are here as before"
