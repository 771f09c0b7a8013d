"""A PostgreSQL server of the tests' own: real, on a socket in a temporary folder, and gone with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Nothing here has to outlive a power cut.
SETTINGS = "-c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off"


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; Debian keeps it off the path."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if there := shutil.which("initdb") or shutil.which("postgres"):
        found.append(Path(there).resolve())
    if not found:
        raise RuntimeError(
            "the tests need PostgreSQL's server: install it (Debian: apt-get install postgresql; "
            "macOS: brew install postgresql)"
        )
    return found[-1].parent


@contextmanager
def server() -> Iterator[Path]:
    """Start a server and give the folder of its socket; its superuser is ``postgres``, without a password."""
    # Not pytest's own folder: that is closed to others, and the server refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="nbsession-pg-"))
    user = None
    if os.getuid() == 0:
        user = "postgres"
        shutil.chown(folder, user)
    try:
        control: list[str | Path] = [programs() / "pg_ctl", "-D", folder / "data"]
        _run(folder, user, programs() / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust",
             "--no-sync", "-E", "UTF8", "--locale=C")  # fmt: skip
        _run(folder, user, *control, "-w", "-l", folder / "log", "-o", f"{SETTINGS} -k {folder}", "start")
        try:
            yield folder
        finally:
            _run(folder, user, *control, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def url(folder: Path, database: str = "postgres") -> str:
    """Return the URL of a database of the server whose socket is in ``folder``."""
    return f"postgresql+psycopg://postgres@/{database}?host={folder}"


def _run(folder: Path, user: str | None, *command: str | Path) -> None:
    # Its output goes to a file, which the server may keep open longer than a pipe is read.
    with (folder / "output").open("a+") as output:
        done = subprocess.run(command, cwd=folder, user=user, stdout=output, stderr=output, check=False)
        output.seek(0)
        assert done.returncode == 0, output.read()
