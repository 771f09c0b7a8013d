"""Sessions of a server, from afar: the surface of ``Session`` as far as it makes sense at a distance.

``AsyncClient`` and ``Client`` (the same, blocking) reach a server that ``app.serve()`` or ``nbsession serve`` runs.
What is sent has the same handle as here: await it for its ``Result``, iterate it for the core's events.
A connection that breaks, and a server that is started again, are no end of it: see ``patience`` in ``AsyncClient``.
"""

from nbsession.client.blocking import Client, Execution, Session
from nbsession.client.client import AsyncClient
from nbsession.client.execution import AsyncExecution
from nbsession.client.session import AsyncSession

__all__ = ["AsyncClient", "AsyncExecution", "AsyncSession", "Client", "Execution", "Session"]
