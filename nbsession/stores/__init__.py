"""Where sessions are kept: in memory, or in a SQL database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nbsession.stores.base import Row, SessionInfo, SessionStore
from nbsession.stores.memory import MemoryStore

if TYPE_CHECKING:
    from nbsession.stores.sql import SqlStore

__all__ = [
    "MemoryStore",
    "Row",
    "SessionInfo",
    "SessionStore",
    "SqlStore",
    "default_file",
    "default_is_there",
    "default_store",
]


def default_store() -> SessionStore:
    """Open the store that ``$NBSESSION_STORE`` names by its URL, else the SQLite file of this user."""
    from nbsession.stores.sql import SqlStore

    return SqlStore(os.environ.get("NBSESSION_STORE") or None)


def default_file() -> Path:
    """Return where this user's sessions are kept if nothing else is said; makes nothing."""
    import platformdirs

    return platformdirs.user_data_path("nbsession", appauthor=False) / "sessions.db"


def default_is_there() -> bool:
    """Say whether ``default_store`` would open what exists; a server is taken to. Makes nothing, connects to nothing."""
    url = os.environ.get("NBSESSION_STORE")
    if not url:
        return default_file().is_file()
    scheme, _, path = url.partition(":///")
    return (
        not scheme.startswith("sqlite")
        or Path(path.partition("?")[0].removeprefix("file:")).expanduser().is_file()
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    # SQLAlchemy takes longer to import than all of the core, and a session in memory never needs it.
    if name == "SqlStore":
        from nbsession.stores.sql import SqlStore

        return SqlStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
