"""The tools on single files: ``read_file``, ``write_file``, ``edit_file`` and ``list_files``."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from nbsession.content import media
from nbsession.content.picture import sniff
from nbsession.errors import CompileError, ToolError
from nbsession.workdir.folder import MOST_BYTES, Entry, Folder, Parts, kind_of, plain, shown
from nbsession.workdir.replacing import replaced
from nbsession.workdir.text import LINES, Text, listed, numbered

if TYPE_CHECKING:
    from nbsession.tools import ToolContext

MOST_ENTRIES = 500
"""Of a folder that are listed."""

_AROUND = 3
"""Lines that are shown before and after an edited place."""


class Files:
    """Files below a folder, and what each session last read or wrote of them."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._known: WeakKeyDictionary[Any, dict[Parts, bytes]] = WeakKeyDictionary()

    def read_file(self, context: ToolContext, path: str, offset: int = 1, limit: int = LINES) -> Any:
        """Read a file: text with line numbers, a picture or a PDF as itself.

        Args:
            path: The file, relative to the working folder, like "src/main.py".
            offset: The line to begin with; the first is 1.
            limit: How many lines at most.
        """
        if offset < 1 or limit < 1:
            raise ToolError(f"offset and limit count from 1, got offset={offset} and limit={limit}")
        parts = self._folder.parts(path)
        data = self._folder.read(parts)
        self._note(context, parts, data)
        if sniff(data).startswith("image/") or data.startswith(b"%PDF-"):
            try:
                return media(data, alt=path, title=path)
            except CompileError as error:
                raise ToolError(f"{shown(path)} cannot be shown: {error}") from error
        text = Text.of(data)
        if text is None:
            return f"({shown(path)} is a binary file of {len(data):,} bytes, which begins with {data[:16].hex(' ')})"
        return _window(path, text, offset, limit)

    def write_file(self, context: ToolContext, path: str, content: str) -> str:
        """Write a whole file as UTF-8, new or in place of the old one, which has to be read first. Missing folders are made.

        To change a part of a file, use edit_file.

        Args:
            path: The file, relative to the working folder.
            content: All that the file is to hold.
        """
        parts = self._folder.parts(path)
        old = self._folder.read_if_there(parts)
        known = self._known_to(context).get(parts)
        if old is not None and known != _digest(old):
            why = (
                "there already, and was not read"
                if known is None
                else "another by now than when it was last read"
            )
            raise ToolError(
                f"{shown(path)} is {why}; nothing was written. Read it by read_file, then write or edit it"
            )
        try:
            data = content.encode()
        except UnicodeEncodeError as error:
            raise ToolError(
                f"content holds {content[error.start]!a}, which is no letter; leave it out"
            ) from error
        self._folder.write(parts, data, instead_of=old)
        self._note(context, parts, data)
        return f"{'Created' if old is None else 'Replaced'} {shown(path)}, {_counted(len(Text(content).lines), 'line')}."

    def edit_file(
        self, context: ToolContext, path: str, old_string: str, new_string: str, replace_all: bool = False
    ) -> str:
        """Replace a text in a file by another. Read the file first: the text has to be there exactly once, unless replace_all is true.

        Args:
            path: The file, relative to the working folder.
            old_string: The text to be replaced, letter by letter as it stands in the file, without line numbers; long enough to be there only once.
            new_string: What stands there afterwards.
            replace_all: Replace it wherever it stands.
        """
        parts = self._folder.parts(path)
        data = self._folder.read(parts)
        known = self._known_to(context).get(parts)
        if known is not None and known != _digest(data):
            raise ToolError(
                f"{shown(path)} is another by now than when it was last read; nothing was changed. "
                "Read it again by read_file, then edit what is there"
            )
        text = Text.of(data)
        if text is None:
            raise ToolError(f"{shown(path)} is a binary file, and only text can be edited")
        old, new = _plain(old_string, text), _plain(new_string, text)
        if len(text.text) + text.text.count(old or text.text) * (len(new) - len(old)) > MOST_BYTES:
            raise ToolError(f"{shown(path)} would have more than {MOST_BYTES:,} bytes; nothing was changed")
        changed, places = replaced(text.text, old, new, every=replace_all)
        result = text.with_text(changed)
        self._folder.write(parts, result, instead_of=data)
        self._note(context, parts, result)
        begin = max(1, places[0] - _AROUND)
        around = places[0] - begin + new.rstrip("\n").count("\n") + 1 + _AROUND
        seen = numbered(Text(changed).lines, begin, around)[0]
        return f"Replaced it in {_counted(len(places), 'place')} of {shown(path)}; the first is now:\n{seen}"

    def list_files(self, path: str = ".") -> str:
        """List what a folder holds, hidden files too; a name that ends with "/" is a folder.

        Args:
            path: The folder, relative to the working folder, which is ".".
        """
        entries = sorted(self._folder.entries(self._folder.parts(path)))
        rows, count = listed(map(_row, entries), MOST_ENTRIES)
        if count < len(entries):
            rows += f"\n(… and {len(entries) - count:,} more, by name; glob finds those that fit a pattern)"
        return rows or f"({shown(path)} is empty)"

    def _known_to(self, context: ToolContext) -> dict[Parts, bytes]:
        return self._known.setdefault(self if context.session is None else context.session, {})

    def _note(self, context: ToolContext, parts: Parts, data: bytes) -> None:
        self._known_to(context)[parts] = _digest(data)


def _row(entry: Entry) -> str:
    name = plain(entry.name)
    if entry.kind == stat.S_IFDIR:
        return f"{name}/"
    if entry.kind == stat.S_IFREG:
        return f"{name}  ({entry.size:,} bytes)"
    return f"{name}  ({kind_of(entry.kind)})"


def _window(path: str, text: Text, offset: int, limit: int) -> str:
    lines = text.lines
    if not lines:
        return f"({shown(path)} is empty)"
    if offset > len(lines):
        raise ToolError(f"{shown(path)} has {_counted(len(lines), 'line')}, so there is no line {offset:,}")
    shown_lines, following = numbered(lines, offset, limit)
    notes = []
    if following <= len(lines):
        notes.append(
            f"lines {offset:,} to {following - 1:,} of {len(lines):,}; go on with offset={following}"
        )
    if text.encoding != "utf-8":
        notes.append(f"read as {text.encoding}")
    return "\n".join([shown_lines, *(f"({note})" for note in notes)])


def _plain(given: str, text: Text) -> str:
    """Return what a model gave with the line ends that the text has where it is searched."""
    return given.replace("\r\n", "\n") if text.newline == "\r\n" else given


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
