"""Real kernels for tests, of this environment's ipykernel and of older ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from jupyter_client.manager import start_new_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
SECONDS = 30.0

# What an older ipykernel imports and the present one no longer brings.
OLDER = {"6.29.5": ("nest_asyncio==1.6.0",), "7.0.1": (), "7.3.0": ()}


def older_ipykernel(version: str) -> Path:
    """The folder of an older ipykernel, to be put before the installed one.

    Fetched once from the package index and kept in the user's cache.
    """
    folder = Path(platformdirs.user_cache_dir("nbsession-tests")) / f"ipykernel-{version}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.mkdtemp(dir=folder.parent)
        wanted = [f"ipykernel=={version}", *OLDER[version]]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", scratch, *wanted]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, f"needs the package index once, for {wanted}: {done.stderr}"
        try:
            Path(scratch).rename(folder)
        except OSError:  # another worker was first
            shutil.rmtree(scratch)
    return folder


@dataclass
class Ran:
    """What a cell gave: the messages in order, and from them text, error and displays."""

    id: str
    messages: list[dict[str, Any]] = field(default_factory=list)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message["content"] for message in self.messages if message["msg_type"] == kind]

    @property
    def text(self) -> str:
        return "".join(content["text"] for content in self.of("stream"))

    @property
    def error(self) -> dict[str, Any] | None:
        return next(iter(self.of("error")), None)

    @property
    def shown(self) -> list[str]:
        """Displays as plain text, updates included."""
        kinds = ("display_data", "update_display_data", "execute_result")
        return [m["content"]["data"].get("text/plain", "") for m in self.messages if m["msg_type"] in kinds]


class Kernel:
    """A running kernel and a blocking way to use it."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager = manager
        self.client = client
        self.messages: list[dict[str, Any]] = []
        self.replied: dict[str, str] = {}

    def start(
        self, code: str, *, cell: str | None = None, allow_stdin: bool = True, silent: bool = False
    ) -> str:
        """Begin a cell and return its message's id."""
        content = {
            "code": code,
            "silent": silent,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": allow_stdin,
            # With it, ipykernel 6 also aborts, without an error, what is sent right after a cell's error is told.
            "stop_on_error": False,
        }
        message = self.client.session.msg("execute_request", content)
        if cell is not None:
            message["metadata"]["cellId"] = cell
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def run(self, code: str, *, cell: str | None = None, allow_stdin: bool = True) -> Ran:
        """Run a cell to its end."""
        return self.finish(self.start(code, cell=cell, allow_stdin=allow_stdin))

    def finish(self, id: str) -> Ran:
        """Wait until the cell of that message is idle and replied to."""

        def idle(message: dict[str, Any]) -> bool:
            state = message["content"].get("execution_state")
            return bool(state == "idle" and message["parent_header"].get("msg_id") == id)

        self.until(idle)
        # ipykernel 7.0 can miss a request that comes while it sends a reply; front ends wait for it too.
        while id not in self.replied:
            reply = self.client.get_shell_msg(timeout=SECONDS)
            self.replied[reply["parent_header"].get("msg_id")] = reply["content"].get("status", "")
        return Ran(id, [m for m in self.messages if m["parent_header"].get("msg_id") == id])

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a published message; those that came before count too."""
        for message in self.messages:
            if wanted(message):
                return message
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            message = self.client.get_iopub_msg(timeout=SECONDS)
            self.messages.append(message)
            if wanted(message):
                return dict(message)
        raise TimeoutError("the message did not come")

    def until_text(self, id: str, text: str) -> None:
        """Wait until the cell of that message has printed or shown a text."""

        def shown(message: dict[str, Any]) -> bool:
            of_the_cell = bool(message["parent_header"].get("msg_id") == id)
            return of_the_cell and message["msg_type"] != "execute_input" and text in str(message["content"])

        self.until(shown)

    def comm(self, comm_id: str, data: Mapping[str, Any], *, kind: str = "comm_msg", **more: Any) -> str:
        """Send a widget message as a front end does; return its id."""
        message = self.client.session.msg(kind, {"comm_id": comm_id, "data": dict(data), **more})
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def interrupt(self) -> None:
        """Interrupt as the front end's button does."""
        self.manager.interrupt_kernel()


@contextmanager
def running_kernel(ipykernel: Path | None = None, **environment: str) -> Iterator[Kernel]:
    """Start a kernel that imports this checkout, and an older ipykernel if a folder is given."""
    path = os.pathsep.join(str(part) for part in (ipykernel, ROOT) if part is not None)
    manager, client = start_new_kernel(
        startup_timeout=60, env={**os.environ, "PYTHONPATH": path, **environment}, cwd=str(ROOT)
    )
    try:
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
