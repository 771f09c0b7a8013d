"""All routes: each with what it takes and what it answers."""

from nbsession.server.routes import agents, events, looking, messages, sessions

ROUTES = [*agents.ROUTES, *sessions.ROUTES, *messages.ROUTES, *events.ROUTES, *looking.ROUTES]

__all__ = ["ROUTES"]
