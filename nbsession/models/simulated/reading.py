"""What the rules read: a compiled context, seen as a conversation with something around it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nbsession.content import Text, ToolCall, ToolResult, ToolSpec
from nbsession.models.simulated.words import quotes, sentences

if TYPE_CHECKING:
    from nbsession.context import CompiledContext, Part

LONGEST = 4000
"""Characters of a message that the rules look at."""

_KNOB = re.compile(r"""^[-*•\s]*`?(\w+)`?\s*[=:]\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^\s(]+)(.*)$""")


class Failure(NamedTuple):
    """How an answer fails.

    ``kind`` is that of the ``ModelError``, raised before anything came or
    (``midway``) in the middle of a text; where there is a ``stop`` no error is
    raised, and the answer ends with that stop reason. ``words`` are the request for it.
    """

    kind: str = ""
    midway: bool = False
    stop: Literal["", "refusal", "max_tokens"] = ""
    retryable: bool = True
    words: str = ""


class Utterance(NamedTuple):
    """Something said in the conversation; ``number`` counts what was said, from 1."""

    number: int
    role: str
    text: str


class Knob(NamedTuple):
    """A knob as its line in the context tells it; ``value`` and ``options`` are text."""

    name: str
    value: str
    options: tuple[str, ...]

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off."""
        return self.value.lower() in ("true", "false")

    @property
    def is_number(self) -> bool:
        """Whether its value is a number."""
        return not self.options and re.fullmatch(r"-?\d+(\.\d+)?", self.value) is not None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a rule answers, and why. ``short`` is the answer in its shortest form."""

    rule: str
    why: str
    text: str
    short: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    opening: str = "Of course! "
    """What a friendly answer begins with; ``""`` where the text is polite as it is."""
    failure: Failure | None = None


class Reading:
    """A compiled context as the rules see it.

    ``asked`` is the last thing the user said (``None`` where there is none),
    ``outcomes`` are the tool results after it, each with its call where the
    context holds it; ``sources`` are the system parts and sections, ``knobs`` the
    knobs that are listed there.
    """

    def __init__(self, context: CompiledContext) -> None:
        self.context = context
        self.tools: tuple[ToolSpec, ...] = context.tools
        self.spoken: list[Utterance] = []
        self.asked: Utterance | None = None
        self.outcomes: list[tuple[ToolCall | None, ToolResult]] = []
        calls: dict[str, ToolCall] = {}
        for part in context.flow:
            if part.kind == "message":
                self._hear(part, calls)
        around = [part for part in context.parts if part.kind in ("system", "section", "text")]
        listed = [part for part in around if "knobs" in (part.key, part.title.lower())]
        self.sources = [part for part in around if part not in listed]
        self.knobs = {knob.name: knob for part in listed for knob in _knobs(part.body)}

    def _hear(self, part: Part, calls: dict[str, ToolCall]) -> None:
        said = [block for block in part.blocks if not isinstance(block, (ToolCall, ToolResult))]
        for block in part.blocks:
            if isinstance(block, ToolCall):
                calls[block.id] = block
            elif isinstance(block, ToolResult):
                self.outcomes.append((calls.get(block.call_id), block))
        if not said:
            return
        text = "\n\n".join([block.text for block in said if isinstance(block, Text)]) or str(said[0])
        role = "assistant" if part.role == "assistant" else "user"
        heard = Utterance(len(self.spoken) + 1, role, text[:LONGEST])
        self.spoken.append(heard)
        if role == "user":
            self.asked = heard
            self.outcomes = []

    @property
    def question(self) -> str:
        """The text of what the user said last, ``""`` where there is nothing."""
        return self.asked.text.strip() if self.asked else ""

    @property
    def sentences(self) -> list[str]:
        """The sentences of the question."""
        return sentences(self.question)

    @property
    def earlier(self) -> list[Utterance]:
        """What was said before the question."""
        return [heard for heard in self.spoken if self.asked is None or heard.number < self.asked.number]

    @property
    def sections(self) -> list[Part]:
        """The sections among the sources."""
        return [part for part in self.sources if part.kind == "section"]

    def tool(self, name: str) -> ToolSpec | None:
        """The tool of that name, if there is one."""
        return next((spec for spec in self.tools if spec.name == name), None)


def _knobs(text: str) -> list[Knob]:
    found = []
    for line in text.splitlines():
        if match := _KNOB.match(line):
            name, value, rest = match.groups()
            inside = re.search(r"\(one of ([^)]*)\)", rest)
            listed = inside[1] if inside else ""
            options = [quote.value for quote in quotes(listed)] or re.findall(r"[\w.-]+", listed)
            found.append(Knob(name, value.strip("\"'"), tuple(options)))
    return found
