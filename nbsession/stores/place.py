"""Where this user's sessions are kept if nothing else is said."""

from __future__ import annotations

import os
from pathlib import Path

REDIS_SCHEMES = ("redis", "rediss", "unix")
"""How the URLs of Redis servers begin."""


def default_file() -> Path:
    """Return where this user's sessions are kept if nothing else is said; makes nothing."""
    import platformdirs

    return platformdirs.user_data_path("nbsession", appauthor=False) / "sessions.db"


def default_is_there(url: str | None = None) -> bool:
    """Say whether ``default_store(url)`` would open what exists; a server is taken to. Makes nothing, connects to nothing."""
    url = url or os.environ.get("NBSESSION_STORE")
    if not url:
        return default_file().is_file()
    scheme, _, path = url.partition(":///")
    return (
        not scheme.startswith("sqlite")
        or Path(path.partition("?")[0].removeprefix("file:")).expanduser().is_file()
    )
