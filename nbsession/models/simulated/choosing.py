"""Which tool a sentence asks for, and which knob it wants set."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.models.simulated.arguments import ARITHMETIC, DATE, fill, numbers
from nbsession.models.simulated.parameters import parameters
from nbsession.models.simulated.words import plain, spelled, stem, stems, word_set, words

if TYPE_CHECKING:
    from nbsession.content import ToolSpec
    from nbsession.models.simulated.reading import Knob, Reading

SURE = 1.0
"""The score from which a tool is chosen even where something is missing for it."""

_EXPRESSIONS = word_set("expression formula equation")
_GENERIC = word_set("get fetch do run use tool call")
_ASKING = word_set("get list show read lookup find search view check tell")
CHANGING = word_set(
    """add append book buy cancel change clear close create delete drop edit insert keep make move note open order
    post put remove rename reset save send set start stop store update write"""
)
_SYNONYMS = {
    "remember": "note keep save store memo memory remember",
    "memorize": "note keep save store memo memory remember",
    "jot": "note keep write",
    "store": "save keep",
    "delete": "remove",
    "remove": "delete",
    "create": "add new",
    "plus": "add sum",
    "minus": "subtract",
    "times": "multiply",
    "divided": "divide",
}
INTERROGATIVE = re.compile(
    r"^(?:who|whom|whose|what|when|where|which|why|how|did|do|does|have|has|had|was|were|is|are|am)\b"
    r"|^(?:what|who|where|when|how)['’]s\b",
    re.IGNORECASE,
)
_DECLARATIVE = re.compile(r"^(?:my|i|i['’]m|i['’]ve|we|it|he|she|they|this|that|these)\b", re.IGNORECASE)
_WISH = re.compile(r"\b(?:want|need|would like|['’]d like|please|wish)\b", re.IGNORECASE)
_REFUSED = re.compile(r"\b(?:don['’]t|do not|never|without using|no need to)\b", re.IGNORECASE)
_PAST = re.compile(r"^(?:did|have|has|had|was|were|why|who)\b", re.IGNORECASE)
_ABOUT_TOOLS = re.compile(
    r"\b(?:what (?:does|is|do)|how (?:does|do)|explain|describe|which|tell me about)\b", re.IGNORECASE
)
_SETTING = re.compile(
    r"^(?:set|turn|change|switch|make|put|use|move|adjust|be|speak|answer|enable|disable)\b", re.IGNORECASE
)
_GENERAL_SETTING = re.compile(
    r"^(?:set|turn|change|switch)\s+(?:the\s+)?(?:knob\s+)?[`\"“']?(\w+)[`\"”']?\s+(?:to|=)\s*(.+)$",
    re.IGNORECASE,
)


class Choice(NamedTuple):
    """A tool, its arguments, what is missing for it, and why it was chosen."""

    tool: str
    input: dict[str, Any]
    missing: list[str]
    why: str


def choose(reading: Reading, sentence: str) -> Choice | None:
    """Choose the tool that a sentence asks for, with its arguments; ``None`` where it asks for none."""
    sentence = plain(sentence)[:2000]
    if not sentence or _REFUSED.search(sentence):
        return None
    if reading.tool("set_knob") and (choice := set_knob(reading, sentence)):
        return choice
    fits = [
        (fit, spec)
        for spec in reading.tools
        if spec.name != "set_knob" and (fit := _fit(spec, sentence)) is not None
    ]
    if not fits:
        return None
    fits.sort(key=lambda item: item[0].score, reverse=True)
    fit, spec = fits[0]
    best = Choice(spec.name, *fill(spec, sentence), fit.why)
    if not best.missing:
        return best
    for other, spec in fits[1:]:
        if other.score >= SURE and other.shared > fit.shared:
            choice = Choice(spec.name, *fill(spec, sentence), other.why)
            if not choice.missing:
                return choice
    return best if fit.score >= SURE else None


class _Fit(NamedTuple):
    """How well a tool fits a sentence, how many words they share, and why."""

    score: float
    shared: int
    why: str


def _fit(spec: ToolSpec, sentence: str) -> _Fit | None:
    literal = re.search(rf"(?<!\w){re.escape(spec.name)}(?!\w)", sentence)
    if literal and (len(words(spec.name)) > 1 or "`" in sentence):
        return None if _ABOUT_TOOLS.search(sentence) else _Fit(9, 9, f"“{spec.name}” is named")
    name = words(spec.name.lower())
    first = next(iter(words(sentence.lower())), "")
    asks = INTERROGATIVE.match(sentence) is not None or (first in _ASKING and first not in name)
    counts = [parameter.kind in ("number", "integer") for parameter in parameters(spec)]
    if not name or _PAST.match(sentence) or (asks and name[0] in CHANGING and not (counts and all(counts))):
        return None
    if _EXPRESSIONS.intersection(_names(spec)) and ARITHMETIC.search(DATE.sub("", sentence)):
        return _Fit(3, 1, "there is something to calculate")
    if _DECLARATIVE.match(sentence) and not _WISH.search(sentence) and not _asks_to_remember(sentence):
        return None
    idle = _GENERIC | _ASKING if asks else _GENERIC
    named = frozenset([stem(word) for word in name if word not in idle]) or stems(spec.name)
    return _by_words(spec, sentence, named, asks=asks)


def _by_words(spec: ToolSpec, sentence: str, named: frozenset[str], *, asks: bool) -> _Fit | None:
    """Compare a sentence with a tool's name (``named``: the stems that count) and with its description."""
    said = _expanded(sentence)
    hits = said & named
    more = (said & stems(f"{spec.description} {' '.join(_names(spec))}")) - named
    shared = hits | more
    shown = spelled(sentence, shared) or spelled(f"{spec.name} {spec.description}", shared)
    begins = _begins_with(sentence, named)
    if hits == named:
        score = 2 + len(hits) + len(more) / 4
    elif hits and (more or begins):
        score = (SURE if begins or not asks else SURE / 2) + len(hits) / 2 + len(more) / 8
    elif len(more) >= 2:
        score = SURE / 2
    else:
        return None
    return _Fit(score, len(shared), f"“{shown}” in the sentence and in `{spec.name}`")


def _names(spec: ToolSpec) -> list[str]:
    properties = spec.input_schema.get("properties")
    return [str(name) for name in properties] if isinstance(properties, dict) else []


def _expanded(sentence: str) -> frozenset[str]:
    said = {stem(word) for word in words(sentence)} & stems(sentence)
    more = [
        stem(other) for word, others in _SYNONYMS.items() if stem(word) in said for other in others.split()
    ]
    return frozenset([*said, *more])


def _asks_to_remember(sentence: str) -> bool:
    return re.search(r"\b(?:remember|note|keep|save|jot)\b", sentence, re.IGNORECASE) is not None


def _begins_with(sentence: str, named: frozenset[str]) -> bool:
    first = next(iter(words(sentence)), "")
    return stem(first) in named or bool(_expanded(first) & named)


def set_knob(reading: Reading, sentence: str) -> Choice | None:
    """Read a wish for a knob: its name and a value, or one of its options after "be"."""
    if INTERROGATIVE.match(sentence):
        return None
    for knob in reading.knobs.values():
        label = r"[\s_-]".join(re.escape(word) for word in words(knob.name))
        named = re.search(rf"(?<!\w){label}(?!\w)", sentence, re.IGNORECASE)
        if named and (_SETTING.match(sentence) or _starts(sentence, named.start())):
            value = _knob_value(knob, sentence, named.end())
            if value is None and not (_SETTING.match(sentence) or "knob" in sentence.lower()):
                continue
            return _knob_choice(knob, value, f"the knob “{knob.name}” is named")
    if not _SETTING.match(sentence):
        return None
    for knob in reading.knobs.values():
        if (value := _only_option(knob, sentence)) is not None:
            return _knob_choice(knob, value, f"“{value}” is an option of the knob “{knob.name}”")
    match = None if reading.knobs else _GENERAL_SETTING.match(sentence)
    if match is None:
        return None
    given = match[2].strip(" .!`\"'“”")
    return Choice(
        "set_knob", {"name": match[1], "value": _plain_value(given)}, [], "a name and a value are given"
    )


def _starts(sentence: str, position: int) -> bool:
    """Whether a knob's name stands at the front, as in "verbosity 3"."""
    return not stems(sentence[:position]) and len(words(sentence)) <= 6


def _knob_choice(knob: Knob, value: Any, why: str) -> Choice:
    if value is None:
        return Choice("set_knob", {"name": knob.name}, ["value"], why)
    return Choice("set_knob", {"name": knob.name, "value": value}, [], why)


def _knob_value(knob: Knob, sentence: str, after: int) -> Any:
    if knob.is_switch:
        return _switch_value(sentence)
    if knob.options:
        return _only_option(knob, sentence)
    found = numbers(sentence)
    if knob.is_number:
        return found[0].value if found else None
    match = re.match(r"\s*(?:to|=|:|is)\s*[\"“`']?(.+?)[\"”`']?[\s.!]*$", sentence[after:])
    return match[1] if match else None


def _switch_value(sentence: str) -> bool | None:
    said = {word.lower() for word in words(sentence)}
    if said & {"off", "false", "no", "disable"}:
        return False
    return True if said & {"on", "true", "yes", "enable"} else None


def _only_option(knob: Knob, sentence: str) -> Any:
    label = {word.lower() for word in words(knob.name)}
    named = [
        option
        for option in knob.options
        if option.lower() not in label
        and re.search(rf"(?<![\w.]){re.escape(option)}(?:ly)?(?![\w]|\.\d)", sentence, re.IGNORECASE)
    ]
    return _plain_value(named[0]) if len(named) == 1 else None


def _plain_value(text: str) -> Any:
    if re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    if re.fullmatch(r"-?\d{1,18}\.\d{1,18}", text):
        return float(text)
    return {"on": True, "true": True, "off": False, "false": False}.get(text.lower(), text)
