"""The way through all that is below a folder, within bounds of time."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nbsession.errors import ToolError

if TYPE_CHECKING:
    from nbsession.workdir.folder import Folder, Parts
    from nbsession.workdir.pattern import Pattern

SECONDS = 10.0
"""That a search may take."""


class Walk:
    """The regular files below a folder that match a pattern, by name; links are not followed.

    ``ended`` says, once it is over, whether that was for want of time.
    """

    def __init__(self, folder: Folder, start: Parts, pattern: Pattern) -> None:
        self._folder = folder
        self._start = start
        self._pattern = pattern
        self.until = time.monotonic() + SECONDS
        self.ended = False

    def __iter__(self) -> Iterator[Parts]:
        waiting = [(self._start, self._pattern.start)]
        while waiting:
            parts, places = waiting.pop()
            try:
                entries = []
                for entry in self._folder.entries(parts):
                    entries.append(entry)
                    if self.is_over():
                        return
            except ToolError:  # it is gone, or another thing by now
                if parts == self._start:
                    raise
                continue
            folders = []
            for name, kind, _ in sorted(entries):
                further = self._pattern.after(places, name)
                if kind == stat.S_IFDIR and further:
                    folders.append(((*parts, name), further))
                elif kind == stat.S_IFREG and self._pattern.is_match(further):
                    yield (*parts, name)
            waiting += reversed(folders)

    def is_over(self) -> bool:
        """Say whether the time is over, and note it."""
        self.ended = self.ended or time.monotonic() > self.until
        return self.ended
