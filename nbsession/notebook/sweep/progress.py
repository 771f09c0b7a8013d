"""How far something is, in one line of a terminal that is written anew in place."""

from __future__ import annotations

import shutil
import sys

TO_THE_END = "\x1b[K"  # what the terminal erases: the rest of the line


class ProgressLine:
    """A line on standard output; nothing where that is no terminal, as in a log or a pipe."""

    def __init__(self) -> None:
        self._stream = sys.stdout
        self._there = self._stream.isatty()

    def __bool__(self) -> bool:
        """Whether there is a terminal."""
        return self._there

    def show(self, *words: str) -> None:
        """Write what there is to say, as much as the line takes; nothing clears the line."""
        if self._there:
            room = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{' · '.join(filter(None, words))[:room]}{TO_THE_END}")
            self._stream.flush()
