"""The line of the context that fits a question best."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from nbsession.models.simulated.choosing import CHANGING
from nbsession.models.simulated.words import plain, sentences, stem, stems, word_set, words

if TYPE_CHECKING:
    from nbsession.context import Part
    from nbsession.models.simulated.reading import Reading

ENOUGH = 0.5
"""The share of a question's words that a line must hold."""

_ASKING = frozenset().union(
    *map(
        stems, word_set("tell show know list read give find section content contain there stand written mean")
    )
)


_REQUESTING = word_set("do don don't never tell show turn change switch be use")


class Line(NamedTuple):
    """A line, where it stands, and the words that it shares with the question."""

    text: str
    where: str
    shared: frozenset[str]


def asked_section(reading: Reading, sentence: str) -> Part | None:
    """The section whose title a sentence names and asks for nothing else."""
    wanted = [word for word in words(sentence) if stem(word) in stems(sentence) - _ASKING - {"section"}]
    for part in reading.sections:
        title = words(f"{part.title} {part.key}".lower())
        if wanted and title and all(_names(word.lower(), title) for word in wanted):
            return part
    return None


def _names(word: str, title: list[str]) -> bool:
    """Whether a word stands in a title, or begins one of its words, as "notes" does "notepad"."""
    begin = word.removesuffix("s")
    return any(stem(word) == stem(one) or (len(begin) > 3 and one.startswith(begin)) for one in title)


def best_line(reading: Reading, sentence: str) -> Line | None:
    """The line that holds most of a sentence's words: of sections and system first, then of what was said before."""
    wanted = stems(sentence) - _ASKING
    if not wanted:
        return None
    around = [
        (
            line,
            "the system prompt" if part.kind == "system" or not part.title else f"“{part.title}”",
            stems(part.title),
        )
        for part in reading.sources
        for line in _lines(part.body)
    ]
    said: list[tuple[str, str, frozenset[str]]] = [
        (line, f"{'your' if heard.role == 'user' else 'my'} message {heard.number}", frozenset())
        for heard in reversed(reading.earlier)
        if heard.role == "user"
        for line in sentences(heard.text)
        if not line.endswith("?") and not _is_request(line)
    ]
    return _best(around, wanted) or _best(said, wanted)


def _is_request(line: str) -> bool:
    first = next(iter(words(plain(line).lower())), "")
    return first in CHANGING or first in _REQUESTING


def _best(lines: list[tuple[str, str, frozenset[str]]], wanted: frozenset[str]) -> Line | None:
    """Weigh rare words more than frequent ones; the first of equals wins."""
    held = [(text, where, stems(text), title) for text, where, title in lines]
    weight = {word: 1 / (1 + sum(word in inside for _, _, inside, _ in held)) for word in wanted}
    best, best_score = None, 0.0
    for text, where, inside, title in held:
        shared = wanted & inside
        score = sum(weight[word] for word in shared) + sum(weight[word] for word in wanted & title) / 2
        if shared and len(wanted & (inside | title)) >= ENOUGH * len(wanted) and score > best_score:
            best, best_score = Line(text, where, shared), score
    return best


def _lines(text: str) -> list[str]:
    """The lines of a text, without list marks and headings; long lines are taken by sentences."""
    found = []
    for line in text.splitlines():
        line = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", line).strip()
        if not line.startswith("#"):
            found += sentences(line) if len(line) > 200 else [line] if line else []
    return found
