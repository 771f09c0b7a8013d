"""Text that is shortened at line ends, and says how much of it is missing."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from nbsession.content import Text
from nbsession.context.part import Part
from nbsession.usage import estimate

if TYPE_CHECKING:
    from nbsession.context.box import Keep


class Shortened(NamedTuple):
    """A part of which ``lines`` are left, and the text that is missing from it."""

    part: Part
    lines: int
    missing: str


def shorten(part: Part, room: int, keep: Keep) -> Shortened | None:
    """Return as many lines of a part as fit into ``room`` tokens, ``None`` where not one does."""
    lines = part.body.splitlines(keepends=True)
    ends = list(accumulate([len(line.encode("utf-8", "surrogatepass")) for line in lines], initial=0))
    frame = part.tokens - estimate(part.body)
    low, high = 0, len(lines) - 1  # most lines that are known to fit, and that might
    while low < high:
        count = (low + high + 1) // 2
        head, tail = _split(count, keep)
        size = ends[head] + ends[-1] - ends[len(lines) - tail]
        note = len(_note(len(lines) - count, (ends[-1] - size) // 4).encode()) + 2
        if frame + -(-(size + note) // 4) + 1 <= room:
            low = count
        else:
            high = count - 1
    return shortened_to(part, low, keep) if low else None


def shortened_to(part: Part, count: int, keep: Keep) -> Shortened | None:
    """Return a part of which so many lines are left, ``None`` where it has no more than that."""
    lines = part.body.splitlines(keepends=True)
    if not 0 < count < len(lines):
        return None
    head, tail = _split(count, keep)
    missing = "".join(lines[head : len(lines) - tail])
    note = _note(len(lines) - count, estimate(missing))
    above, below = "".join(lines[:head]), "".join(lines[len(lines) - tail :])
    body = above + note + ("\n" + below if below else "")
    return Shortened(_with_body(part, body), count, missing)


def _split(count: int, keep: Keep) -> tuple[int, int]:
    """Part the lines that stay into those at the head and those at the tail."""
    if keep == "both":
        return count - count // 2, count // 2
    return (count, 0) if keep == "head" else (0, count)


def _note(lines: int, tokens: int) -> str:
    return f"[… {lines:,} {'line' if lines == 1 else 'lines'} left out, ≈{tokens:,} tokens]"


def _with_body(part: Part, body: str) -> Part:
    before, _, after = part.text.rpartition(part.body)
    text = before + body + after
    if part.kind == "message":
        size = part.tokens - estimate(part.text) + estimate(text)
        made = Part(
            "message", part.path, text, key=part.key, role=part.role, blocks=(Text(text),), tokens=size
        )
    else:
        made = Part(part.kind, part.path, text, key=part.key, title=part.title, body=body)
    made.of, made.edited = part.of or part.digest, part.edited
    return made
