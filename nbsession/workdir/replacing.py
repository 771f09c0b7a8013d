"""The replacing of one text by another in a file, and what to say where it is not found once."""

from __future__ import annotations

import re
import time
from difflib import SequenceMatcher

from nbsession.errors import ToolError
from nbsession.workdir.text import numbered

_NUMBERED = re.compile(r"^ *\d+\t", re.MULTILINE)
_PLACES = 10
_SECONDS = 1.0
"""That the search for something alike may take."""

_ALIKE = 0.6
"""Of 1, from which on a line is worth showing as what was meant."""


def replaced(text: str, old: str, new: str, *, every: bool) -> tuple[str, list[int]]:
    """Return the text with ``old`` replaced, and the lines where that stood (from 1).

    Raises ``ToolError`` where it stands nowhere, with what is like it, or, without ``every``, more than once.
    """
    if not old:
        raise ToolError(
            "old_string is empty; give the text to be replaced, or write the whole file by write_file"
        )
    if old == new:
        raise ToolError("old_string and new_string are the same; nothing was changed")
    places = _places(text, old)
    if not places:
        raise ToolError(f"old_string was not found; nothing was changed. {_hint(text, old)}")
    if len(places) > 1 and not every:
        where = ", ".join(map(str, places[:_PLACES])) + (", …" if len(places) > _PLACES else "")
        raise ToolError(
            f"old_string was found {len(places)} times, at lines {where}; nothing was changed. "
            "Give more of the text around the one that is meant, or replace_all=true"
        )
    return text.replace(old, new), places


def _places(text: str, old: str) -> list[int]:
    """Return the line of each occurrence."""
    places, line, at = [], 1, 0
    while (found := text.find(old, at)) >= 0:
        line += text.count("\n", at, found)
        places.append(line)
        line += old.count("\n")
        at = found + len(old)
    return places


def _hint(text: str, old: str) -> str:
    """Say what in a text is like ``old``: without the line numbers, with other blanks, or the likest line."""
    bare = _NUMBERED.sub("", old)
    if bare != old and bare in text:
        return "It begins its lines with the numbers that read_file shows; leave these out"
    until = time.monotonic() + _SECONDS
    lines, wanted = text.split("\n"), old.strip("\n").split("\n")
    size = len(wanted)
    stripped, target = [line.split() for line in lines], [line.split() for line in wanted]
    for at in range(len(lines) - size + 1):
        if time.monotonic() > until:
            break
        if stripped[at] == target[0] and stripped[at : at + size] == target:
            found = numbered(lines, at + 1, size)[0]
            return f"It is there with other blanks or line breaks:\n{found}"
    near = _likest(lines, max(wanted, key=lambda line: len(line.strip())).strip(), until)
    if near is None:
        return "Nothing in the file is like it; read the file again"
    first = max(1, near - 2)
    return f"The likest place is:\n{numbered(lines, first, size + 4)[0]}"


def _likest(lines: list[str], wanted: str, until: float) -> int | None:
    """Return the number of the line that is most like the wanted one, if any is."""
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted[:200])
    best, found = _ALIKE, None
    for number, line in enumerate(lines, 1):
        if time.monotonic() > until:
            break
        matcher.set_seq1(line.strip()[:200])
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best:
            ratio = matcher.ratio()
            if ratio > best:
                best, found = ratio, number
    return found
