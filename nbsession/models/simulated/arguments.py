"""A tool's arguments, filled from the user's words and from nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.models.simulated.parameters import Parameter, parameters
from nbsession.models.simulated.words import STOP_WORDS, plain, quotes, stem, stems, word_set, words

if TYPE_CHECKING:
    from nbsession.content import ToolSpec

_NUMBER = re.compile(
    r"(?<![\w.,:/-])(?P<value>[-−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(?![\d:/]|[.,]\d|-\d)\s*(?P<unit>[^\W\d_]+|%)?"
)
_FROM_TWO = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER_WORDS = {word: value for value, word in enumerate(_FROM_TWO, 2)}
_NUMBER_WORD = re.compile(rf"\b(?P<value>{'|'.join(_NUMBER_WORDS)})\b\s*(?P<unit>[^\W\d_]+)?", re.IGNORECASE)
_ISO_DATE = r"\d{4}-\d\d-\d\d"
DATE = re.compile(_ISO_DATE)
_SHAPES = {
    "date": _ISO_DATE,
    "date-time": rf"{_ISO_DATE}[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:?\d\d)?",
    "time": r"\d{1,2}:\d\d(?::\d\d)?",
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "uri": r"https?://[^\s<>\"“”]+[^\s<>\"“”.,!?)]",
}
_DAY = (
    rf"{_ISO_DATE}|\b(?:today|tomorrow|yesterday|tonight|(?:(?:next|this)\s+)?"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b"
    r"|\b\d{1,2}\.?\s+(?:january|february|march|april|may|june|july|august|september|october|november|december)\b"
    r"(?:\s+\d{4})?"
)
_CLOCK = r"\b\d{1,2}(?::\d\d(?:\s?[ap]m)?|\s?[ap]m)\b"
ARITHMETIC = re.compile(r"[-(]?\d[\d\s.,()]*(?:(?:\*\*|[-+*/^%×÷−])[\s(-]*\d[\d\s.,()]*)+")
_BY_NAME = {
    **dict.fromkeys(("expression", "formula", "equation"), ARITHMETIC.pattern),
    **dict.fromkeys(("date", "day", "when", "deadline", "due"), _DAY),
    **dict.fromkeys(("time", "hour"), _CLOCK),
    **dict.fromkeys(("email", "mail"), _SHAPES["email"]),
    **dict.fromkeys(("url", "uri", "link"), _SHAPES["uri"]),
}
_PREPOSITIONS = {
    **dict.fromkeys(("city", "location", "place", "country", "town", "region", "where"), "in|at|for|near|of"),
    **dict.fromkeys(("origin", "source", "start", "departure"), "from"),
    **dict.fromkeys(("destination", "target", "end", "arrival", "recipient", "to"), "to"),
    **dict.fromkeys(("topic", "subject"), "about|on"),
    **dict.fromkeys(("name", "title"), "named|called|titled"),
}
_NAME = r"[^\W\d_a-z][\w’'-]*(?:\s+(?:(?:of|de|la|am|der|the|upon)\s+)?[^\W\d_a-z][\w’'-]*)*"
_WHEN = r"\s+(?:today|tomorrow|tonight|right now|now|currently)"
_REMEMBER = re.compile(
    r"^(?:remember|note|keep in mind|write down|jot down|memori[sz]e)\b(?:\s+(?:that|this)\b)?\s*[:,-]?\s*(.+)$",
    re.IGNORECASE | re.DOTALL,
)
_REMEMBERED = re.compile(
    r"^(.+?)[,;:]\s*(?:(?:please|and)\s+)*(?:remember|note)\s+(?:that|this|it)\W*$", re.IGNORECASE
)
_COLON = re.compile(r":\s+(\S.*)$", re.DOTALL)
_TAIL = re.compile(
    r"(?:[\s,]+(?:please|for me|now|thanks|thank you|too|as well))+\W*$|[\s.!?]+$", re.IGNORECASE
)
_FILL = word_set("a an the my me this new some please to of for another one your our")
_CONNECTORS = word_set("that for about on of to saying with called named up is in at near")
_NOTHING = word_set("it that this something anything one later again them")


class Filled(NamedTuple):
    """Arguments found, and the names of required ones that were not."""

    input: dict[str, Any]
    missing: list[str]


class _Number(NamedTuple):
    start: int
    end: int
    value: int | float
    unit: str


def fill(spec: ToolSpec, sentence: str) -> Filled:
    """Fill a tool's arguments from a sentence; every value stands there in the user's own words."""
    return _Filling(spec, sentence.strip()).run()


def value_for(parameter: Parameter, text: str) -> Any:
    """Read one parameter's value from a text that is all about it; ``None`` where it has none."""
    text = trimmed(text)
    if parameter.kind in ("number", "integer"):
        return next((n.value for n in numbers(text) if _fits(parameter, n.value)), None)
    if parameter.kind == "enum":
        return _option(parameter, text)
    if parameter.kind == "boolean":
        return _switch(text)
    if parameter.kind == "array":
        return _listed(parameter, text)
    if parameter.kind not in ("string", ""):
        return None
    if parameter.format in _SHAPES:
        match = re.search(_SHAPES[parameter.format], text)
        return match[0] if match else None
    marked = quotes(text)
    return marked[0].value if marked else text or None


def numbers(text: str) -> list[_Number]:
    """The numbers of a text in order, in digits or as a word from two to ten, each with the word after it."""
    found = []
    for match in _NUMBER.finditer(text):
        raw = match["value"].replace(",", "").replace("−", "-")
        if len(raw) <= 18:
            value = float(raw) if "." in raw else int(raw)
            found.append(_Number(match.start(), match.end("value"), value, match["unit"] or ""))
    found += [
        _Number(match.start(), match.end("value"), _NUMBER_WORDS[match["value"].lower()], match["unit"] or "")
        for match in _NUMBER_WORD.finditer(text)
    ]
    return sorted(found)


def trimmed(text: str) -> str:
    """Take politeness and final punctuation off a value."""
    before = None
    while text != before:
        before, text = text, _TAIL.sub("", text.strip())
    return text.strip()


class _Filling:
    """One tool's arguments on their way; what a value was taken from is not taken twice."""

    def __init__(self, spec: ToolSpec, sentence: str) -> None:
        self.spec = spec
        self.sentence = sentence
        self.parameters = parameters(spec)
        self.input: dict[str, Any] = {}
        self.numbers = numbers(sentence)
        self.quotes = quotes(sentence)

    def run(self) -> Filled:
        for parameter in self.parameters:
            self._keep(parameter, self._named(parameter))
        for parameter in self._open():
            self._keep(parameter, self._shaped(parameter))
        self._count()
        for parameter in self._open(required=True):
            self._keep(parameter, self._phrase(parameter))
        ordered = {p.name: self.input[p.name] for p in self.parameters if p.name in self.input}
        return Filled(ordered, [p.name for p in self._open(required=True)])

    def _open(self, *, required: bool = False) -> list[Parameter]:
        return [p for p in self.parameters if p.name not in self.input and (p.required or not required)]

    def _keep(self, parameter: Parameter, value: Any) -> None:
        if value is not None and value != "":
            self.input[parameter.name] = value

    def _named(self, parameter: Parameter) -> Any:
        """A value that stands beside the parameter's own name."""
        name = _pattern(parameter.label)
        if parameter.kind in ("number", "integer"):
            link = r"\s*(?:is|=|:|to|of|as|at)?\s*"
            return self._number(
                parameter, lambda n: re.search(rf"\b{name}{link}$", self.sentence[: n.start], re.IGNORECASE)
            )
        if parameter.kind == "boolean":
            return self._switch(parameter)
        if parameter.kind not in ("string", "enum", "array"):
            return None
        link = rf"\b{name}\b\s*(?:(?:is|to|as)\s+|[=:]\s*)"
        match = re.search(rf"{link}(\S.*)$", self.sentence, re.IGNORECASE | re.DOTALL)
        match = match or re.search(
            rf"\b{name}\s+([\"“«`'\u2018].+)$", self.sentence, re.IGNORECASE | re.DOTALL
        )
        if match is None:
            return None
        value = value_for(parameter, self._until_next(parameter, match[1]))
        self.quotes = [quote for quote in self.quotes if quote.start < match.start(1) or quote.value != value]
        return value

    def _until_next(self, parameter: Parameter, text: str) -> str:
        """Cut a value where the next parameter's name begins."""
        others = [_pattern(p.label) for p in self.parameters if p.name != parameter.name]
        if not others:
            return text
        following = rf"\s*(?:,|;|\band\b|\bwith\b)\s*(?:(?:and|the|with)\s+)*\b(?:{'|'.join(others)})\b\s*(?:is\b|to\b|[=:]|[\"“]|\d)"
        return re.split(following, text, maxsplit=1, flags=re.IGNORECASE)[0]

    def _switch(self, parameter: Parameter) -> bool | None:
        name = _pattern(parameter.label)
        text = self.sentence
        if match := re.search(
            rf"\b{name}\b\s*(?:is|=|:|to|as)?\s*\b(on|off|true|false|yes|no)\b", text, re.IGNORECASE
        ):
            return _switch(match[1])
        if match := re.search(
            rf"\b(enable|disable|with|without|turn on|turn off|no)\b\s+(?:the\s+)?{name}\b",
            text,
            re.IGNORECASE,
        ):
            return match[1].lower() in ("enable", "with", "turn on")
        bare = " " in parameter.label and re.search(rf"(?<!not )\b{name}\b", text, re.IGNORECASE)
        return True if bare else None

    def _shaped(self, parameter: Parameter) -> Any:
        """A value known by its looks: an option, a date, an address, a switch."""
        if parameter.kind == "enum":
            return _option(parameter, self.sentence)
        if parameter.kind == "boolean" and parameter.required:
            return _switch(self.sentence)
        if parameter.kind != "string":
            return None
        shape = _SHAPES.get(parameter.format)
        last = parameter.label.rsplit(" ", 1)[-1]
        shape = shape or (None if parameter.format else _BY_NAME.get(last))
        match = re.search(shape, self.sentence, re.IGNORECASE) if shape else None
        return trimmed(match[0]) if match else None

    def _count(self) -> None:
        """Give numbers to the parameters whose unit they carry, then to the required ones in order."""
        numeric = [p for p in self._open() if p.kind in ("number", "integer")]
        for parameter in numeric:
            about = stems(f"{parameter.label} {parameter.description}")
            self._keep(
                parameter, self._number(parameter, lambda n, about=about: n.unit and stem(n.unit) in about)
            )
        for parameter in self._open(required=True):
            if parameter.kind in ("number", "integer"):
                self._keep(parameter, self._number(parameter, lambda _: True))

    def _number(self, parameter: Parameter, fits: Any) -> int | float | None:
        for number in self.numbers:
            if fits(number) and _fits(parameter, number.value):
                self.numbers.remove(number)
                return int(number.value) if parameter.kind == "integer" else number.value
        return None

    def _phrase(self, parameter: Parameter) -> Any:
        """A required text, list or value of any kind: what is quoted, or what the sentence is about."""
        if parameter.kind not in ("string", "array", "") or parameter.format in _SHAPES:
            return None
        if parameter.kind == "array":
            return _listed(parameter, self._rest())
        if parameter.label.rsplit(" ", 1)[-1] in _BY_NAME:
            return None
        if self.quotes:
            return self.quotes.pop(0).value
        prepositions = _PREPOSITIONS.get(parameter.label.rsplit(" ", 1)[-1])
        if prepositions:
            match = re.search(rf"\b(?:{prepositions})\s+({_SHAPES['email']}|{_NAME})", self.sentence)
            match = match or re.search(
                rf"\b(?:{prepositions})\s+([^\W\d_]+)(?:{_WHEN})?\W*$", trimmed(self.sentence)
            )
            if match:
                return trimmed(match[1])
        alone = [p for p in self.parameters if p.required and p.kind in ("string", "")] == [parameter]
        return self._rest() if alone else None

    def _rest(self) -> str:
        """What remains of the sentence when the words that ask for the tool are taken away."""
        text = plain(self.sentence)
        for pattern in (_REMEMBERED, _REMEMBER, _COLON):
            if match := pattern.search(text):
                return _meaningful(match[1])
        asking = stems(self.spec.name)
        tokens = list(re.finditer(r"\S+", text))
        position = 0
        for number, token in enumerate(tokens):
            word = token[0].strip(".,:;!?\"'“”").lower()
            if stem(word) in asking:
                position = number + 1
            elif position and word not in _FILL:
                break
        if not position and len(tokens) > 1 and stems(tokens[0][0]) & stems(self.spec.description):
            position = 1
        if not position:
            return ""
        while position < len(tokens) and tokens[position][0].lower().strip(",:-–") in (*_CONNECTORS, ""):
            position += 1
        return (
            self._without_place(_meaningful(text[tokens[position].start() :]))
            if position < len(tokens)
            else ""
        )

    def _without_place(self, text: str) -> str:
        """Cut "to the shopping list" off where the tool itself speaks of one."""
        match = re.search(
            r"\s+(?:to|on|in|into|from|onto)\s+(?:the|my|our|your)\s+([\w\s]+)$", text, re.IGNORECASE
        )
        about = stems(f"{self.spec.name} {self.spec.description}")
        return text[: match.start()] if match and stems(match[1]) and stems(match[1]) <= about else text


def _meaningful(text: str) -> str:
    text = trimmed(text)
    said = [word.lower() for word in words(text)]
    return "" if not said or all(word in STOP_WORDS or word in _NOTHING for word in said) else text


def _fits(parameter: Parameter, value: float) -> bool:
    return parameter.kind != "integer" or float(value).is_integer()


def _option(parameter: Parameter, text: str) -> Any:
    """The one option that a text names; ``None`` where it names none, or several."""
    named = [
        option
        for option in parameter.options
        if re.search(rf"(?<!\w){_pattern(str(option))}(?!\w)", text, re.IGNORECASE)
    ]
    if not named:
        said = [stem(word) for word in words(text)]
        named = [option for option in parameter.options if isinstance(option, str) and stem(option) in said]
    return named[0] if len(named) == 1 else None


def _switch(text: str) -> bool | None:
    said = {word.lower() for word in words(text)}
    yes, no = said & {"on", "true", "yes", "enable"}, said & {"off", "false", "no", "disable"}
    return bool(yes) if bool(yes) != bool(no) else None


def _listed(parameter: Parameter, text: str) -> list[Any] | None:
    if parameter.items in ("number", "integer"):
        inner = parameter._replace(kind=parameter.items)
        return [n.value for n in numbers(text) if _fits(inner, n.value)] or None
    if parameter.items == "enum":
        return [
            option
            for option in parameter.options
            if re.search(rf"(?<!\w){_pattern(str(option))}(?!\w)", text, re.IGNORECASE)
        ] or None
    if parameter.items not in ("string", ""):
        return None
    marked = [quote.value for quote in quotes(text)]
    return (
        marked
        or [item.strip() for item in re.split(r",\s*(?:and\s+)?|\s+and\s+", text) if item.strip()]
        or None
    )


def _pattern(words_: str) -> str:
    """A pattern for a name whose words may be parted by spaces, hyphens or underscores, in the plural too."""
    return r"[\s_-]".join(re.escape(word) for word in re.split(r"[\s_-]+", words_) if word) + "s?"
