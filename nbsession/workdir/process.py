"""A command as a process group: all that it starts ends with it."""

from __future__ import annotations

import atexit
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from nbsession.errors import ToolError

if TYPE_CHECKING:
    from types import TracebackType

GRACE = 2.0
"""Seconds between asking a group to end (SIGTERM) and killing it (SIGKILL)."""

STEP = 0.05
"""Seconds between two looks at a silent command."""

_PIPE = 1024 * 1024
"""Bytes that a pipe may still hold once a command has ended."""


class CommandGroup:
    """A shell command that runs in a session of its own, with no input and its two outputs as one.

    As a context manager it ends whatever is left of the group. A process that makes a session of its own (``setsid``) leaves it.
    Raises ``ToolError`` where it cannot be started.
    """

    def __init__(self, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        shell = shutil.which("bash") or "/bin/sh"
        try:
            self._process = subprocess.Popen(  # noqa: S603  # to run what it is given is what it is for
                [shell, "-c", command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ToolError(f"the command could not be started in {folder}: {reason}") from error
        assert self._process.stdout is not None
        self._out = self._process.stdout
        os.set_blocking(self._out.fileno(), False)
        # At the interpreter's end nobody is left to wait for it.
        atexit.register(self._signal, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def code(self) -> int | None:
        """The shell's exit code, negative for a signal; ``None`` while it runs."""
        return self._process.poll()

    def output(self, until: float) -> Iterator[bytes]:
        """Give what is printed, piece by piece, and ``b""`` in silence, until the shell ends or ``until`` is past (``time.monotonic``).

        It is the shell that is waited for, and not the end of the output, which a process in the background may keep open.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            while self.code is None and time.monotonic() < until:
                if not selector.get_map():  # it has closed its output, and works on
                    time.sleep(STEP)
                elif selector.select(STEP) and (piece := self._read()) is not None:
                    if piece:
                        yield piece
                        continue
                    selector.unregister(self._out)
                yield b""
        left = _PIPE
        while left > 0 and (piece := self._read()):
            left -= len(piece)
            yield piece

    def _read(self) -> bytes | None:
        """Return what there is, ``b""`` at the end and ``None`` for nothing yet."""
        return self._out.read(65536)

    def end(self) -> bool:
        """End what is left of the group, first asking, then by force; say whether there was anything."""
        if self._out.closed:
            return False
        was_there = False
        if self._signal(0):
            was_there = self._runs()
            self._signal(signal.SIGTERM)
            until = time.monotonic() + GRACE
            while self._runs() and time.monotonic() < until:
                time.sleep(STEP / 5)
            self._signal(signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # what runs as another user cannot be killed
            self._process.wait(GRACE)
        self._out.close()
        atexit.unregister(self._signal)
        return was_there

    def _runs(self) -> bool:
        """Say whether any process of the group runs; one that has ended, and was not waited for by its parent, does not."""
        if not self._signal(0):
            return False
        processes = list(Path("/proc").glob("[0-9]*/stat")) if sys.platform == "linux" else []
        return not processes or any(map(self._is_running, processes))

    def _is_running(self, process: Path) -> bool:
        """Read a process's line (proc(5)): its state and its group stand behind the name in parentheses."""
        with suppress(OSError):
            state, _, group = process.read_bytes().rpartition(b")")[2].split()[:3]
            return int(group) == self._process.pid and state not in (b"Z", b"X")
        return False

    def _signal(self, number: int) -> bool:
        """Send a signal to the group; say whether there is one to send it to."""
        self._process.poll()  # a shell that has ended is not to count
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
            return True
        return False
