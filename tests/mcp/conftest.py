"""Sessions that are closed when a test ends, so that no server outlives it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from nbsession import App, Session


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Session]]:
    """Open sessions of apps."""
    sessions: list[Session] = []

    def open_(app: App, *arguments: Any, **options: Any) -> Session:
        sessions.append(app.session(*arguments, **options))
        return sessions[-1]

    yield open_
    for session in sessions:
        await session.aclose()
