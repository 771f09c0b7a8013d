"""Sessions with MCP servers in them, and what is left of the servers' processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession import App, System, Timeline, component
from nbsession.testing import ScriptedModel

if TYPE_CHECKING:
    from nbsession.content import ToolResult

HERE = Path(__file__).parent


def official(folder: Path) -> list[str]:
    """Return the command of the server that stands on the official SDK."""
    return [sys.executable, str(HERE / "mcp_server.py"), str(folder)]


def plain(folder: Path, *behaviour: str) -> list[str]:
    """Return the command of the server in plain Python."""
    return [sys.executable, str(HERE / "mcp_plain.py"), str(folder), *behaviour]


def app_of(*nodes: Any, says: Any = (), **options: Any) -> App:
    """Return an app with these nodes between its instructions and the conversation; the model says what is scripted."""

    @component
    def Agent() -> Any:
        return [System("You have tools."), list(nodes), Timeline()]

    model = says if isinstance(says, ScriptedModel) else ScriptedModel(*says)
    return App(Agent, model=model, **options)


def results(session: Any) -> list[ToolResult]:
    """Return all tool results of a session."""
    return [block for entry in session.timeline if entry.role == "tool" for block in entry.content]


def pids(folder: Path) -> list[int]:
    """Return the ids of all processes that servers have left there, so far."""
    file = folder / "pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def alive(folder: Path) -> list[int]:
    """Return the processes that still run; one that has ended and was not waited for does not."""
    return [pid for pid in pids(folder) if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
