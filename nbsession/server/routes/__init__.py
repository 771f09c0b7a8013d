"""All routes: each with what it takes and what it answers."""

from nbsession.server.routes import agents, events, looking, messages, runs, sessions, waiting

ROUTES = [
    *agents.ROUTES,
    *sessions.ROUTES,
    *messages.ROUTES,
    *runs.ROUTES,
    *waiting.ROUTES,
    *events.ROUTES,
    *looking.ROUTES,
]

__all__ = ["ROUTES"]
