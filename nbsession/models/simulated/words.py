"""Words and sentences, as plainly as the rules need them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


def word_set(text: str) -> frozenset[str]:
    """The words of a list that is written as text."""
    return frozenset(text.split())


STOP_WORDS = word_set(
    """a about all also am an and any are as at be been but by can could did do does don't for from had has have
    he her here him his how i if i'd i'll i'm i've in into is it its let's ll may me my mine no not now of off ok on
    or our out please say says she should so some than that the their them then there these they this those to too
    up us use was we were what when where which who whom whose why will with would yes you your"""
)

_WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)*")
_BREAK = re.compile(r"(?<=[.!?])\s+|\s*\n+\s*|;\s+")
_QUOTED = re.compile(
    r'"([^"\n]+)"|“([^”\n]+)”|«([^»\n]+)»|`([^`\n]+)`|(?<!\w)[\'\u2018]([^\'’\n]+)[\'’](?!\w)'
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_POLITE = re.compile(
    r"""^(?:(?:hi|hello|hey|ok(?:ay)?|so|well|now|then|and|also|please|kindly|just|thanks|great
    |(?:can|could|would|will)\s+you|i\s+want\s+you\s+to|i(?:'d|\s+would)\s+like\s+you\s+to|let's|go\s+ahead\s+and
    |i\s+(?:want|need)\s+to|i(?:'d|\s+would)\s+like\s+to)(?:\s*[,:!.]\s*|\s+))+""",
    re.IGNORECASE | re.VERBOSE,
)


class Quote(NamedTuple):
    """A quoted string: where it stands, with its marks, and what is in it."""

    start: int
    end: int
    value: str


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """Cut a word lightly, so that note, notes, noted and noting are one."""
    word = re.sub(r"['’]\w*$", "", word.lower())
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for suffix, least in (("ing", 6), ("ed", 5), ("s", 4), ("e", 4)):
        if len(word) >= least and word.endswith(suffix) and not word.endswith("ss"):
            word = word[: -len(suffix)]
            if suffix == "s" and word.endswith("e") and len(word) > 3:
                word = word[:-1]
            break
    return word[:-1] if len(word) > 2 and word[-1] == word[-2] else word


def words(text: str) -> list[str]:
    """The words of a text as they stand; names like ``add_note`` or ``addNote`` are taken apart."""
    return _WORD.findall(_CAMEL.sub(" ", text))


def stems(text: str) -> frozenset[str]:
    """The stems of the words that mean something."""
    found = [word.lower().replace("’", "'") for word in words(text)]
    return frozenset([stem(word) for word in found if word.removesuffix("'s") not in STOP_WORDS])


def spelled(text: str, found: frozenset[str]) -> str:
    """The words of a text whose stems are among ``found``, as they stand there."""
    return ", ".join({word.lower(): word for word in words(text) if stem(word) in found}.values())


def quotes(text: str) -> list[Quote]:
    """The quoted strings of a text, in order."""
    return [
        Quote(match.start(), match.end(), next(group for group in match.groups() if group))
        for match in _QUOTED.finditer(text)
    ]


def sentences(text: str) -> list[str]:
    """Cut a text into sentences and lines; what is quoted is never cut."""
    masked = _QUOTED.sub(lambda match: "x" * len(match[0]), text)
    return [sentence for sentence in _cut(text, masked) if sentence]


def _cut(text: str, masked: str) -> Iterator[str]:
    start = 0
    for match in _BREAK.finditer(masked):
        yield text[start : match.start()].strip()
        start = match.end()
    yield text[start:].strip()


def plain(sentence: str) -> str:
    """Take the polite beginning off a sentence."""
    return _POLITE.sub("", sentence, count=1)


def first_sentence(text: str) -> str:
    """The first sentence of a text, ``""`` of none."""
    return next(iter(sentences(text)), "")


def clip(text: str, limit: int = 600) -> str:
    """Shorten a text, and say by how much (in characters)."""
    return text if len(text) <= limit else f"{text[:limit]}… (the first {limit} of {len(text):,} characters)"


def quoted(text: str) -> str:
    """Put a text in quotation marks, or, where it has lines, in a block quotation."""
    text = clip(text.strip())
    return "\n\n" + "\n".join(f"> {line}" for line in text.splitlines()) if "\n" in text else f"“{text}”"
