"""The text in a file: how its bytes are read and written back, and how its lines are shown."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from nbsession.errors import ToolError

LINES = 2000
"""Lines that are shown at once where nobody asks for fewer."""

CHARACTERS = 24_000
"""That are shown at once."""

LINE = 2000
"""Characters of one line that are shown."""

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Text:
    """A file's text with plain line ends, and what it takes to write it back: byte order mark, encoding, line end."""

    text: str
    encoding: str = "utf-8"
    mark: bytes = b""
    newline: str = "\n"

    @classmethod
    def of(cls, data: bytes) -> Text | None:
        r"""Read bytes, ``None`` where they are no text: a mark tells the encoding, else it is UTF-8, or else Windows-1252.

        Line ends are made plain only where all are ``\r\n``, so that nothing is lost in a file with both.
        """
        mark, encoding = next((found for found in _MARKS if data.startswith(found[0])), (b"", "utf-8"))
        text = _decoded(data[len(mark) :], encoding)
        if text is None and not mark and not _CONTROL.search(data):
            encoding = "cp1252"
            text = _decoded(data, encoding)
            if text is None:
                encoding, text = "latin-1", data.decode("latin-1")
        if text is None or "\0" in text:
            return None
        if 0 < text.count("\n") == text.count("\r\n"):
            return cls(text.replace("\r\n", "\n"), encoding, mark, "\r\n")
        return cls(text, encoding, mark)

    def with_text(self, text: str) -> bytes:
        """Return the bytes of another text in the same form; ``ToolError`` where the encoding has no letter for it."""
        try:
            return self.mark + text.replace("\n", self.newline).encode(self.encoding)
        except UnicodeEncodeError as error:
            raise ToolError(
                f"the file is written in {self.encoding}, which has no {error.object[error.start]!a}; write the text without it"
            ) from error

    @property
    def lines(self) -> list[str]:
        """The lines, without their ends."""
        lines = self.text.split("\n")
        return lines[:-1] if lines[-1] == "" else lines


def numbered(lines: list[str], first: int, most: int = LINES) -> tuple[str, int]:
    """Return lines from ``first`` (from 1) on with their numbers, as many as fit, and the number of the line after them."""
    shown: list[str] = []
    room = CHARACTERS
    at = first
    for line in lines[first - 1 : first - 1 + most]:
        if len(line) > LINE:
            line = f"{line[:LINE]} … [{len(line) - LINE:,} more characters in this line]"
        row = f"{at:>6}\t{line}"
        if len(row) > room and shown:
            break
        shown.append(row)
        room -= len(row) + 1
        at += 1
    return "\n".join(shown), at


def listed(rows: Iterable[str], most: int) -> tuple[str, int]:
    """Return rows as lines, as many as fit, at most ``most``, and how many those are."""
    shown: list[str] = []
    room = CHARACTERS
    for row in islice(rows, most):
        room -= len(row) + 1
        if room < 0:
            break
        shown.append(row)
    return "\n".join(shown), len(shown)


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None
