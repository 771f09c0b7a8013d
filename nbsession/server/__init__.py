"""Sessions over HTTP: an ASGI application, thin over the core, and what runs it.

The sessions of an app live on one event loop, and the server runs on that loop: so a handler touches a session as
everybody else there does, and nothing waits for another thread. See ``serve`` for how the loop is found.
"""

from nbsession.server.application import application
from nbsession.server.limits import Limits
from nbsession.server.serve import PORT, Server, serve
from nbsession.server.users import new_token, tokens_of

__all__ = ["PORT", "Limits", "Server", "application", "new_token", "serve", "tokens_of"]
