"""What stands in the timeline: facts the user told, and who said what when."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from nbsession.models.simulated.words import STOP_WORDS, plain, sentences, stem, stems, words

if TYPE_CHECKING:
    from nbsession.models.simulated.reading import Reading, Utterance

_THING = r"\bmy\s+([\w][\w '’-]{0,60}?)"
_OWNED = re.compile(rf"{_THING}\s+(?:is|are|was|were|will be)\s+(.+)$", re.IGNORECASE | re.DOTALL)
_OWNED_SHORT = re.compile(rf"{_THING}['’]s\s+(.+)$", re.IGNORECASE | re.DOTALL)
_CALLED = re.compile(
    r"\b(?:i['’]m|i am|they|people|please|you can|everyone)?\s*(?:called|call(?:s)? me)\s+(.+)$",
    re.IGNORECASE,
)
_I_AM = re.compile(r"^i(?:['’]m| am)\s+([A-ZÀ-Þ][\w’'-]+)[\s.!]*$", re.IGNORECASE)
_VERBS = (
    "live|work|like|love|hate|prefer|enjoy|have|own|study|speak|play|drive|eat|drink|need|want|come|use|write|plan"
    "|work(?:ed)?|was born|am from|am"
)
_DOES = re.compile(rf"\bi(?:['’]m|\s+(?:really\s+|also\s+)?({_VERBS}))\s+(.+)$", re.IGNORECASE | re.DOTALL)
_CLAUSES = re.compile(r",?\s+(?:and|but)\s+(?=(?:i|i['’]m|my)\b)", re.IGNORECASE)
_ASKED_OWNED = re.compile(
    r"\b(?:what|who|when|where|which|how (?:old|many|much|tall))?\b(?:['’]s|\s+(?:is|are|was|were))?\s*\bmy\s+"
    r"([\w][\w '’-]{0,60}?)(?:\s+(?:again|called|please|now|is|are))*[\s?.!]*$",
    re.IGNORECASE,
)
_ASKED_DOES = re.compile(
    rf"\b(?:do|did|am|was)\s+i\s*(?:really\s+)?({_VERBS}|from|born|called)?\b(.*)$", re.IGNORECASE | re.DOTALL
)
_ASKS_TO_KNOW = re.compile(
    r"^(?:what|who|when|where|which|how|do you (?:know|remember|recall)|tell me|remind me|say)\b",
    re.IGNORECASE,
)
_WHO_AM_I = re.compile(r"\bwho am i\b|\bwhat am i called\b|\bhow am i called\b", re.IGNORECASE)
_POSITION = re.compile(
    r"\b(?:(?P<verb>did|have)\s+(?P<who>i|you)\s+(?:just\s+)?(?:say|said|ask|asked|tell|told|write|written|wrote|answer|send|sent)"
    r"|(?P<owner>my|your|the)\s+(?:very\s+)?(?P<which>first|last|previous|latest)"
    r"\s+(?:message|question|sentence|answer|reply|words?|thing i said))\b",
    re.IGNORECASE,
)
_FIRST = re.compile(r"\b(?:first|begin|beginning|start|in the beginning)\b", re.IGNORECASE)
_LAST = re.compile(r"\b(?:last|previous|previously|before|just|latest|again|recently)\b", re.IGNORECASE)


class Fact(NamedTuple):
    """Something the user told: of what (stems), the value, and the sentence and message it stands in."""

    subject: frozenset[str]
    value: str
    sentence: str
    number: int


def facts(heard: Utterance) -> list[Fact]:
    """The facts that one thing said holds."""
    found = []
    for sentence in sentences(heard.text):
        if sentence.endswith("?") or _ASKS_TO_KNOW.match(sentence):
            continue
        for clause in _CLAUSES.split(plain(sentence)):
            told = _told(clause)
            if told and told[0] and _tidy(told[1]):
                found.append(Fact(told[0], _tidy(told[1]), sentence, heard.number))
    return found


def _told(sentence: str) -> tuple[frozenset[str], str] | None:
    if match := _OWNED.search(sentence) or _OWNED_SHORT.search(sentence):
        return _subject(match[1]), match[2]
    if match := _I_AM.match(sentence) or _CALLED.search(sentence):
        return frozenset(["nam"]), match[1]
    if match := _DOES.search(sentence):
        return frozenset([_verb(match[1] or "am")]), match[2]
    return None


def asked_for(sentence: str) -> frozenset[str]:
    """The subject that a question about the user asks for, as stems; empty where it asks for none."""
    sentence = plain(sentence)
    if _WHO_AM_I.search(sentence):
        return frozenset(["nam"])
    if not (_ASKS_TO_KNOW.match(sentence) or sentence.endswith("?")):
        return frozenset()
    if re.match(r"how old am i\b", sentence, re.IGNORECASE):
        return frozenset(["am", "old", "ag"])
    if match := _ASKED_OWNED.search(sentence):
        return _subject(match[1])
    if match := _ASKED_DOES.search(sentence):
        verb = (match[1] or "").lower()
        if verb == "called":
            return frozenset(["nam"])
        return frozenset([_verb(verb)]) if verb else frozenset()
    return frozenset()


def find_fact(reading: Reading, subject: frozenset[str]) -> Fact | None:
    """The latest fact about a subject that the user told in this timeline."""
    told = [fact for heard in reading.earlier if heard.role == "user" for fact in facts(heard)]
    exact = [fact for fact in told if fact.subject == subject]
    near = [
        fact
        for fact in told
        if fact.subject & subject and (fact.subject >= subject or fact.subject <= subject)
    ]
    aged = [fact for fact in told if "ag" in subject and re.match(r"\d+\b.*\bold\b", fact.value)]
    return next((group[-1] for group in (exact, aged, near) if group), None)


def asked_position(reading: Reading, sentence: str) -> tuple[Utterance | None, str] | None:
    """What "what did I say first" and its kin ask for: the utterance and a name for it; ``None`` for other questions."""
    match = _POSITION.search(sentence)
    if match is None:
        return None
    first = bool(_FIRST.search(sentence))
    if match["who"] and not first and not _LAST.search(sentence):
        return None
    owner = (match["who"] or match["owner"]).lower()
    role = "assistant" if owner in ("you", "your") or "answer" in match[0] or "reply" in match[0] else "user"
    said = [heard for heard in reading.earlier if heard.role == role]
    name = f"{'Your' if role == 'user' else 'My'} {'first' if first else 'last'} message"
    return (said[0 if first else -1] if said else None), name


def _subject(text: str) -> frozenset[str]:
    return stems(text) or frozenset([stem(word) for word in words(text) if word.lower() not in STOP_WORDS])


def _verb(text: str) -> str:
    text = " ".join(text.lower().split())
    return {
        "was born": "born",
        "am from": "from",
        "come": "from",
        "love": "lik",
        "enjoy": "lik",
        "own": "hav",
    }.get(text, stem(text))


def _tidy(value: str) -> str:
    value = re.sub(r"[\s.!,;]+$", "", value.strip())
    return value[:1].upper() + value[1:]
