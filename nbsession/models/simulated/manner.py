"""How an answer is worded: tersely, at length, friendly; only if the context says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbsession.models.simulated.words import first_sentence, sentences

if TYPE_CHECKING:
    from nbsession.models.simulated.reading import Reading, Reply

_TERSE = re.compile(
    r"\b(?:terse|concise|laconic|succinct)(?:ly)?\b|\bbriefly\b|\b(?:be|stay|very|and|keep it) (?:brief|short)\b"
    r"|\bin (?:one|a single|1) (?:short )?(?:sentence|word|line)\b|\bfew words\b|\bshort answers\b"
    r"|\b(?:one|single)[- ](?:sentence|word|line) answers?\b",
    re.IGNORECASE,
)
_VERBOSE = re.compile(r"\b(?:verbose|verbosely|detailed|elaborate|at length|in detail)\b", re.IGNORECASE)
_FRIENDLY = re.compile(r"\b(?:friendly|warm|warmly|cheerful|cheerfully)\b", re.IGNORECASE)
_ADDRESSED = re.compile(
    r"\b(?:you|your|answer|answers|reply|respond|speak|write|be|tone|style|voice|verbosity)\b", re.IGNORECASE
)
_NEGATED = re.compile(r"\b(?:not|never|no|without|avoid|less|don't|too)\W+(?:\w+\W+)?$", re.IGNORECASE)
_VERBOSITY = re.compile(
    r"\bverbosity\b\W{0,3}(?:is |at |level )?(?:(\d+)(?:\s*(?:of|/|out of)\s*(\d+))?|(low|minimal|high|maximal)\b)",
    re.IGNORECASE,
)
_TONES = ("tone", "style", "voice", "mood", "verbosity", "length")


@dataclass(frozen=True, slots=True)
class Manner:
    """How to answer: ``length`` is ``"terse"``, ``"verbose"`` or ``""``; ``why`` quotes what says so."""

    length: str = ""
    friendly: bool = False
    why: str = ""

    def word(self, reply: Reply) -> str:
        """Give a reply its words: the shortest form, the plain one, or the long one with its reasons."""
        if self.length == "terse":
            return reply.short or first_sentence(reply.text)
        text = reply.text
        if self.friendly and text:
            text = f"{reply.opening}{text}"
        if self.length == "verbose" and text:
            text = f"{text}\n\nI answered by the rule “{reply.rule}”: {reply.why}."
        return text


def manner_of(reading: Reading) -> Manner:
    """Find out how the context wants to be answered; the question itself speaks first, then its surroundings."""
    told = [
        (sentence, part.title or part.kind)
        for part in reading.sources
        for sentence in sentences(part.body)
        if _ADDRESSED.search(sentence)
    ]
    knobs = [
        (f"{knob.name}: {knob.value}", "knobs") for knob in reading.knobs.values() if knob.name in _TONES
    ]
    asked = [(sentence, "the question") for sentence in reading.sentences]
    length, why = _length(asked, numbered=False)
    for group in (told, knobs):
        if not length:
            length, why = _length(group, numbered=True)
    friendly = next((_said(text, where) for text, where in [*told, *knobs] if _says(_FRIENDLY, text)), "")
    return Manner(length, bool(friendly), "; ".join([reason for reason in (why, friendly) if reason]))


def _length(told: list[tuple[str, str]], *, numbered: bool) -> tuple[str, str]:
    if numbered:
        for text, where in told:
            if (match := _VERBOSITY.search(text)) and (length := _level(match)):
                return length, _said(match[0], where)
    for text, where in told:
        if _says(_TERSE, text):
            return "terse", _said(text, where)
        if _says(_VERBOSE, text):
            return "verbose", _said(text, where)
    return "", ""


def _level(match: re.Match[str]) -> str:
    number, top, named = match.groups()
    if named:
        return "terse" if named.lower() in ("low", "minimal") else "verbose"
    if int(number) <= 1:
        return "terse"
    return "verbose" if int(number) >= (int(top) if top else 4) else ""


def _says(pattern: re.Pattern[str], text: str) -> bool:
    return any(not _NEGATED.search(text[: match.start()]) for match in pattern.finditer(text))


def _said(text: str, where: str) -> str:
    return f"“{text[:80]}” in {where}"
