"""The difference of two texts, by lines, and by words within a line that changed."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_LINES = 5000
"""Lines beyond which texts are not compared; 5,000 take about 12 ms."""

MOST_WORDS = 600
MOST_TEXT = 1_500
"""Characters of a line that stand in a difference; of a longer one stands what differs."""

AROUND = 120
"""Characters that stand around what differs in a long line."""

SHOWN = 60

_WORD = re.compile(r"\s+|\w+|[^\w\s]")


class Piece(NamedTuple):
    """A run of characters in a line; ``changed`` says that the other line has another."""

    text: str
    changed: bool


class Line(NamedTuple):
    """One line of a difference: ``sign`` is ``"+"``, ``"−"``, ``" "`` (context) or ``"…"`` (lines left out)."""

    sign: str
    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """The line without its sign."""
        return "".join(piece.text for piece in self.pieces)


def compare(old: str, new: str, *, shown: int = SHOWN) -> tuple[Line, ...]:
    """Return the changed lines with one line of context around them, at most ``shown`` of them.

    Texts that differ over more than ``MOST_LINES`` lines are given as replaced altogether.
    """
    before, after = old.splitlines(), new.splitlines()
    start = shared(before, after)
    end = shared(before[start:][::-1], after[start:][::-1])
    # One line around the difference stays, to be shown as its context.
    first, last = max(0, start - 1), max(0, end - 1)
    before, after = before[first : len(before) - last], after[first : len(after) - last]
    if len(before) + len(after) > MOST_LINES:
        lines = [*(_plain("−", line) for line in before), *(_plain("+", line) for line in after)]
    else:
        lines = list(_compared(before, after))
    if len(lines) <= shown:
        return tuple(_trimmed(lines))
    return (*_trimmed(lines[:shown]), _plain("…", f"{len(lines) - shown:,} more lines of this difference"))


def shared(before: Sequence[str], after: Sequence[str]) -> int:
    """Count the lines, or characters, at the front that are the same."""
    for count, (old, new) in enumerate(zip(before, after, strict=False)):
        if old != new:
            return count
    return min(len(before), len(after))


def _compared(before: Sequence[str], after: Sequence[str]) -> Iterator[Line]:
    matcher = difflib.SequenceMatcher(None, before, after)
    for number, group in enumerate(matcher.get_grouped_opcodes(1)):
        if number:
            yield _plain("…", "")
        for kind, i, i_end, j, j_end in group:
            if kind == "equal":
                # A blank line tells nothing of where a difference stands.
                yield from (_plain(" ", line) for line in before[i:i_end] if line.strip())
            elif kind == "replace" and i_end - i == j_end - j:
                pairs = [_words(*pair) for pair in zip(before[i:i_end], after[j:j_end], strict=True)]
                yield from (Line("−", old) for old, _ in pairs)
                yield from (Line("+", new) for _, new in pairs)
            else:
                yield from (_plain("−", line) for line in before[i:i_end])
                yield from (_plain("+", line) for line in after[j:j_end])


def _words(old: str, new: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Mark the words in which two lines differ; lines with little in common stay unmarked."""
    a, b = _WORD.findall(old), _WORD.findall(new)
    if len(a) + len(b) > MOST_WORDS:
        return (Piece(old, False),), (Piece(new, False),)
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    if matcher.ratio() < 0.4:
        return (Piece(old, False),), (Piece(new, False),)
    left: list[Piece] = []
    right: list[Piece] = []
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        changed = kind != "equal"
        if i < i_end:
            left.append(Piece("".join(a[i:i_end]), changed))
        if j < j_end:
            right.append(Piece("".join(b[j:j_end]), changed))
    return tuple(left), tuple(right)


def _trimmed(lines: Sequence[Line]) -> Iterator[Line]:
    """Keep of long lines what differs, and a little around it: a prompt may be one line of many pages."""
    waiting = list(lines)
    while waiting:
        old = waiting.pop(0)
        new = waiting[0] if waiting and old.sign == "−" and waiting[0].sign == "+" else None
        if new is None or max(len(old.text), len(new.text)) <= MOST_TEXT:
            yield old if len(old.text) <= MOST_TEXT else _around(old.sign, old.text)
            continue
        waiting.pop(0)
        front = shared(old.text, new.text)
        shorter = min(len(old.text), len(new.text)) - front
        end = min(shorter, shared(old.text[::-1], new.text[::-1]))
        for line in (old, new):
            yield _around(
                line.sign, line.text[: len(line.text) - end], front, line.text[len(line.text) - end :]
            )


def _around(sign: str, text: str, front: int = 0, end: str = "") -> Line:
    """Make a line of a text whose first characters, and ``end``, stand in the other line, too."""
    if not front and not end:
        return Line(sign, (Piece(cut(text), False),))
    before, differs = text[:front], cut(text[front:])
    shown = ("…" if front > AROUND else "") + before[-AROUND:]
    after = end[:AROUND] + ("…" if len(end) > AROUND else "")
    pieces = (Piece(shown, False), Piece(differs, True), Piece(after, False))
    return Line(sign, tuple(piece for piece in pieces if piece.text))


def cut(text: str) -> str:
    """Return as much of a text as stands in a row, with what is left out of it in words."""
    left = len(text) - MOST_TEXT
    return text if left <= 0 else f"{text[:MOST_TEXT]}… ({left:,} more characters)"


def _plain(sign: str, text: str) -> Line:
    return Line(sign, (Piece(text, False),))
