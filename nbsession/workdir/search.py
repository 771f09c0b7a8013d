"""The tools that find files: ``glob`` by their names and ``grep`` by what is in them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Self

from nbsession.errors import ToolError
from nbsession.workdir import matcher
from nbsession.workdir.folder import Folder, Parts, plain, shown
from nbsession.workdir.pattern import Pattern
from nbsession.workdir.text import Text, listed
from nbsession.workdir.walk import SECONDS, Walk

if TYPE_CHECKING:
    from types import TracebackType

MOST_FILES = 200
"""Files that ``glob`` lists."""

MOST_MATCHES = 200
"""Lines that ``grep`` shows."""


class Search:
    """Finding files below a folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def glob(self, pattern: str, path: str = ".") -> Generator[None, None, str]:
        """Find files by their paths: "**/*.py", "src/*.{ts,tsx}"; a pattern without "/" is for names in any folder.

        Hidden files and folders, node_modules and __pycache__ are found only by a pattern that names them (".github/**").

        Args:
            pattern: Relative to path.
            path: The folder to look in, relative to the working folder.
        """
        walk = Walk(self._folder, self._folder.parts(path), Pattern(pattern))
        found = []
        for parts in walk:
            yield
            found.append("/".join(parts))
        rows, count = listed(map(plain, found), MOST_FILES)
        notes = []
        if count < len(found):
            notes.append(f"… and {len(found) - count:,} more files; narrow pattern or path")
        if walk.ended:
            notes.append(f"stopped after {SECONDS:g} seconds, not all folders were looked at; narrow path")
        return _report(rows or f"no file matches {pattern!r}", notes)

    def grep(self, pattern: str, path: str = ".", glob: str = "**") -> Generator[None, None, str]:
        """Find lines in text files by a regular expression (Python's), each shown as path:line: text.

        It is looked for within single lines; begin it with (?i) where upper and lower case are the same. Hidden files and folders,
        node_modules and __pycache__ are passed over unless path or glob names them.

        Args:
            pattern: The regular expression.
            path: The file or folder to look in, relative to the working folder.
            glob: Which files in that folder: "*.py", "tests/**/*.py".
        """
        start = self._folder.parts(path)
        walk = Walk(self._folder, start, Pattern(glob))
        files = [start] if self._folder.is_file(start) else walk
        found = _Found()
        with _Matcher(pattern) as lines:
            for parts in files:
                yield
                if walk.is_over():
                    break
                try:
                    text = Text.of(self._folder.read(parts))
                except ToolError as error:  # too large, not readable, or another thing by now
                    if files is not walk:
                        raise
                    found.unread.append(str(error))
                    continue
                if text is None:
                    continue
                answer = lines.of(text.text)
                if answer is None:
                    found.unread.append(
                        f"stopped at {shown('/'.join(parts))}: it takes too long or too much memory; make the pattern simpler"
                    )
                    break
                found.add(parts, answer)
        return found.report(pattern, stopped=walk.ended)


class _Found:
    """The lines that were found."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.lines = self.files = 0
        self.unread: list[str] = []

    def add(self, parts: Parts, answer: tuple[int, list[tuple[int, str]]] | str) -> None:
        if isinstance(answer, str):
            self.unread.append(f"{shown('/'.join(parts))} could not be searched: {answer}")
            return
        count, lines = answer
        self.lines += count
        self.files += bool(count)
        if len(self.rows) < MOST_MATCHES:
            self.rows += [f"{plain('/'.join(parts))}:{number}: {line}" for number, line in lines]

    def report(self, pattern: str, *, stopped: bool) -> str:
        rows, count = listed(self.rows, MOST_MATCHES)
        notes = []
        if count < self.lines:
            notes.append(
                f"… {count:,} of {self.lines:,} lines in {self.files:,} files; narrow pattern, path or glob"
            )
        if stopped:
            notes.append(
                f"stopped after {SECONDS:g} seconds, not all files were searched; narrow path or glob"
            )
        if self.unread:
            notes.append(
                "; ".join(self.unread[:3]) + (f"; and {len(self.unread) - 3} more" if self.unread[3:] else "")
            )
        return _report(rows or f"no line matches {pattern!r}", notes)


class _Matcher:
    """The process that matches; it is killed once its time is over, and at the end of the block."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def __enter__(self) -> Self:
        # Isolated, without site: only the standard library is there, and nothing of the working folder can be imported.
        command = [sys.executable, "-I", "-S", matcher.__file__, str(int(SECONDS) + 1)]
        try:
            self._process = subprocess.Popen(  # noqa: S603  # it is this Python, and a program of ours
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(f"no process can be started to search in: {error.strerror}") from error
        self._timer = threading.Timer(SECONDS, self._process.kill)
        self._timer.daemon = True
        self._timer.start()
        try:
            fault = self.of(self._pattern)
            if fault is not None:
                raise ToolError(f"{self._pattern!r} is no regular expression that Python takes: {fault}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._process.kill()
        self._process.communicate()

    def of(self, text: str) -> Any:
        """Return what the process answers to a text, ``None`` where it was killed before."""
        data = text.encode("utf-8", "surrogatepass")
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(b"%d\n" % len(data) + data)
            stdin.flush()
        except BrokenPipeError:
            return None
        answer = stdout.readline()
        return json.loads(answer) if answer.endswith(b"\n") else None


def _report(rows: str, notes: list[str]) -> str:
    return "\n".join([rows, *(f"({note})" for note in notes)])
