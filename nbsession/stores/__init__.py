"""Where sessions are kept: in memory, in a SQL database or in a Redis server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nbsession.stores.base import Notifier, Row, SessionInfo, SessionStore
from nbsession.stores.memory import MemoryStore
from nbsession.stores.place import REDIS_SCHEMES, default_file, default_is_there

if TYPE_CHECKING:
    from nbsession.stores.redis import RedisStore
    from nbsession.stores.sql import SqlStore

__all__ = [
    "MemoryStore",
    "Notifier",
    "RedisStore",
    "Row",
    "SessionInfo",
    "SessionStore",
    "SqlStore",
    "default_file",
    "default_is_there",
    "default_store",
]


def default_store(url: str | None = None) -> SessionStore:
    """Open the store at ``url``, else at that of ``$NBSESSION_STORE``, else the SQLite file of this user."""
    named = url or os.environ.get("NBSESSION_STORE") or None
    elsewhere = "set $NBSESSION_STORE to another place"
    if named and named.partition("://")[0] in REDIS_SCHEMES:
        from nbsession.stores.redis import RedisStore

        return RedisStore(named, elsewhere=elsewhere)
    from nbsession.stores.sql import SqlStore

    return SqlStore(named, elsewhere=elsewhere)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    # SQLAlchemy takes longer to import than all of the core, and a session in memory never needs it.
    if name == "SqlStore":
        from nbsession.stores.sql import SqlStore

        return SqlStore
    if name == "RedisStore":
        from nbsession.stores.redis import RedisStore

        return RedisStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
