"""A server, as its clients have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.client.connection import PATIENCE, Connection
from nbsession.client.session import AsyncSession
from nbsession.content import new_id
from nbsession.protocol import AgentAnswer, Health, SessionEntry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from types import TracebackType
    from typing import Self


class AsyncClient:
    """A server at ``url``, such as ``http://127.0.0.1:2323``; nothing is asked before it is used.

    ``token`` is what the server printed at its start, without it ``$NBSESSION_TOKEN``. A server that was reached and is
    lost, because it is started again or a network is down, is waited for and asked again, for ``patience`` seconds;
    one that never was is told of at once. Use it in one event loop, and close it (``async with``, or ``aclose``).
    Raises ``SessionError`` for a URL or a token that cannot be one.
    """

    def __init__(self, url: str, *, token: str | None = None, patience: float = PATIENCE) -> None:
        self._connection = Connection(url, token, patience)

    @property
    def url(self) -> str:
        """The server's address."""
        return self._connection.url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections; what runs at the server goes on there."""
        await self._connection.aclose()

    def session(self, id: str) -> AsyncSession:
        """Return a session of the server by its id; whether there is one shows when it is used."""
        return AsyncSession(self._connection, id)

    async def create(
        self,
        id: str | None = None,
        *,
        agent: str | None = None,
        component: str | None = None,
        work_dir: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncSession:
        """Make a session, of the app called ``agent`` or the one with that root ``component``; it is stored when this returns.

        ``work_dir`` is a folder at the server that its tools work in. Raises ``SessionError`` for an id that is taken.
        """
        body = {
            "id": id or new_id("se"),
            "agent_id": agent,
            "component": component,
            "work_dir": work_dir,
            "metadata": dict(metadata or {}),
        }
        await self._connection.call("POST", "/sessions", body=body, once=True)
        return self.session(str(body["id"]))

    async def sessions(self) -> AsyncGenerator[SessionEntry]:
        """Give the sessions of the server, the last used first; they are read a page at a time."""
        cursor: str | None = None
        while True:
            params = {} if cursor is None else {"cursor": cursor}
            page = await self._connection.call("GET", "/sessions", params=params)
            for entry in page["sessions"]:
                yield SessionEntry.model_validate(entry)
            cursor = page["next"]
            if cursor is None:
                return

    async def agents(self) -> list[AgentAnswer]:
        """Return the apps that are served, each with the knobs and tools of a new session."""
        return [
            AgentAnswer.model_validate(agent)
            for agent in (await self._connection.call("GET", "/agents"))["agents"]
        ]

    async def delete(self, id: str) -> None:
        """Stop a session and delete it for good; ``SessionError`` where forks share its past: they go first."""
        await self.session(id).delete()

    async def health(self) -> Health:
        """Return what the server says of itself, which needs no token."""
        return Health.model_validate(await self._connection.call("GET", "/health"))
