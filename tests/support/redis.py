"""A Redis server of the tests' own: real, on a socket in a temporary folder, and gone with them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


LASTING = ("--appendonly", "yes", "--appendfsync", "always")
"""Settings of a server that keeps all it answered for, also when it is killed."""

QUICK = ("--appendonly", "yes", "--appendfsync", "no")


def program() -> str:
    """Return the server's program."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise RuntimeError(
            "the tests need a Redis server: install it (Debian: apt-get install redis-server; macOS: brew install redis)"
        )
    return found


class Server:
    """A server that can be ended and started again with what it had written to disk."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.folder = folder
        self.url = f"unix://{folder}/socket"
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        self._process = subprocess.Popen(
            [program(), "--port", "0", "--unixsocket", "socket", *self._settings],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "accept connections" in line:
                return
        raise RuntimeError("".join(said))

    def kill(self) -> None:
        """End it without another word."""
        if self._process is not None and self._process.stdout is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None


@contextmanager
def server(*settings: str) -> Iterator[Server]:
    """Start a server with these settings; all it has is gone with it."""
    # Not pytest's own folder: its path may be longer than a socket's may be.
    folder = Path(tempfile.mkdtemp(prefix="nbsession-redis-"))
    made = Server(folder, *(settings or QUICK))
    try:
        made.start()
        yield made
    finally:
        made.kill()
        shutil.rmtree(folder)
