"""The tool ``shell``."""

from __future__ import annotations

import signal
import time
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING

from nbsession.errors import ToolError
from nbsession.workdir.process import CommandGroup
from nbsession.workdir.surroundings import of_commands

if TYPE_CHECKING:
    from nbsession.workdir.folder import Folder

SECONDS = 120
MOST_SECONDS = 600

HEAD = 8_000
TAIL = 16_000
"""Bytes that are kept of the beginning and the end of an output."""

_TOLD_EVERY = 0.25
_TOLD = 2_000
"""Bytes of what came last that are told as progress, so often (seconds)."""


class Shell:
    """Running commands in a folder. ``environment`` is added to that of this process, which is passed on without keys."""

    def __init__(self, folder: Folder, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)

    def shell(self, command: str, timeout: int = SECONDS) -> Generator[str | None, None, str]:
        """Run a command in bash (sh where there is none), in the working folder. There is no input to read.

        Each command starts anew: cd and variables do not last. What it leaves in the background is stopped at its end. Of a
        long output the middle is left out.

        Args:
            command: The command line.
            timeout: Seconds until it is stopped, at most 600.
        """
        if not 1 <= timeout <= MOST_SECONDS:
            raise ToolError(f"timeout is 1 to {MOST_SECONDS} seconds, got {timeout}; split what takes longer")
        output = _Output()
        with CommandGroup(command, self._folder.path, of_commands(self._environment)) as group:
            for piece in group.output(time.monotonic() + timeout):
                yield output.add(piece)
            code = group.code
            was_left = group.end()
        if code is None:
            raise ToolError(
                f"{output.text}\n(stopped after {timeout} s, with all that it had started)".lstrip("\n")
            )
        notes = [_ended(code)]
        if was_left:
            notes.append("what it left running in the background was stopped")
        if not output.size:
            notes.insert(0, "no output")
        return f"{output.text}\n({'; '.join(notes)})".lstrip("\n")


class _Output:
    """The beginning and the end of an output."""

    def __init__(self) -> None:
        self.size = 0
        self._head = bytearray()
        self._tail = bytearray()
        self._news = bytearray()
        self._told = 0.0

    def add(self, piece: bytes) -> str | None:
        """Add a piece; return what came since something was returned last, if it is time to tell."""
        self.size += len(piece)
        room = HEAD - len(self._head)
        self._head += piece[:room]
        self._tail += piece[room:]
        self._news += piece
        del self._tail[:-TAIL], self._news[:-_TOLD]
        if not self._news or time.monotonic() - self._told < _TOLD_EVERY:
            return None
        self._told = time.monotonic()
        news, self._news = self._news, bytearray()
        return _said(news)

    @property
    def text(self) -> str:
        left_out = self.size - len(self._head) - len(self._tail)
        if not left_out:
            return _said(self._head + self._tail).rstrip("\n")
        note = f"\n… [{left_out:,} of {self.size:,} bytes left out; write the output to a file to read all of it] …\n"
        return _said(self._head) + note + _said(self._tail).rstrip("\n")


def _said(output: bytes | bytearray) -> str:
    """Return bytes as text; what is none, and NUL, which not every store takes, is shown as a mark."""
    return output.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"
