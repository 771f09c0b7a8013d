"""The pieces of a tick as a reader is shown them: prose, tool calls, notes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from nbsession.content import Text, read_table
from nbsession.content.markdown import Stream
from nbsession.notebook.view.cards import embedded
from nbsession.usage import CacheDiagnosis, Usage, calibrated, estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.content import Table, ToolResult
    from nbsession.notebook.view.cards import Card
    from nbsession.notebook.view.fields import Field
    from nbsession.notebook.view.form import Control
    from nbsession.notebook.view.strip import Strip
    from nbsession.tools import Question


MOST = 20_000
"""Characters of a tool's arguments, result or traceback that are shown; the rest is counted."""

ProseKind: TypeAlias = Literal["text", "thinking", "server_tool"]


@dataclass(slots=True)
class Prose:
    """Text, thinking or a step of the provider's own tool as it grows.

    ``label`` heads what isn't text; ``fresh`` is what no page has shown yet;
    ``cut`` says it ends too early.
    """

    key: str
    kind: ProseKind
    label: str = ""
    chunks: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    stream: Stream = field(default_factory=Stream)
    finished: bool = False
    cut: bool = False

    @property
    def text(self) -> str:
        """All of it so far."""
        return "".join(self.chunks)

    @property
    def tokens(self) -> int:
        """An estimate."""
        return estimate(self.text)


@dataclass(slots=True)
class Asked:
    """What a call waits for somebody to say, since when (seconds since the epoch), and what became of that in words."""

    question: Question
    since: float
    end: str = ""

    @property
    def by(self) -> str:
        """The call that asks, as it would be written in Python."""
        call = self.question.call
        return f"{call.name}({', '.join(f'{name}={written(value)}' for name, value in call.input.items())})"

    @property
    def command(self) -> str:
        """How it is answered in a cell."""
        return f"%session answer {self.question.id}"


@dataclass(slots=True)
class Call:
    """A tool call and what became of it.

    ``status`` is ``"asked"``, ``"waiting"`` (for a yes or no), ``"running"``, ``"paused"``, or
    the result's own. ``confirms`` is the question whose yes or no it waits for, or, where that is ``lasting``, an *always*; ``asked`` what outlasts the execution. ``partial`` is the raw JSON of an input that is still coming.
    ``fresh`` is what of it no page has shown yet. ``output`` is what the result says in words, ``tables``
    are the data frames among it; ``decision`` is what a rule decided. ``controls`` ask for other arguments; ``fault`` says what is wrong with all of them.
    """

    key: str
    id: str
    name: str
    input: Mapping[str, Any] | None = None
    partial: str = ""
    status: str = "asked"
    question: str = ""
    progress: str = ""
    result: ToolResult | None = None
    traceback: str = ""
    output: str = ""
    tables: tuple[Table, ...] = ()
    fresh: list[str] = field(default_factory=list)
    controls: tuple[Control, ...] = ()
    fault: str = ""
    decision: str = ""
    confirms: str = ""
    lasting: bool = False
    asked: Asked | None = None

    @property
    def waits(self) -> bool:
        """Whether somebody's answer is waited for, beyond the end of the execution."""
        return self.asked is not None and not self.asked.end

    def end(self, result: ToolResult, value: Any = None, traceback: str = "") -> None:
        """Take the result, and the value that it is of, where that is still there.

        Text that a tool returned is shown as text, also where it reads like a table.
        """
        self.result, self.status, self.traceback = result, result.status, bounded(traceback)
        words: list[str] = []
        tables: list[Table] = []
        for block in result.content:
            table = read_table(block.text) if isinstance(block, Text) and not isinstance(value, str) else None
            if table is not None:
                tables.append(table)
            words.append(_indented(str(block)) if table is None else table.shape)
        self.output, self.tables = bounded("\n".join(words)), tuple(tables)

    @property
    def raw(self) -> str:
        """What the model got, where it is shown as something else; ``""`` where it is shown just so."""
        told = "" if self.result is None else bounded(self.result.text)
        return "" if told == self.output else told

    @property
    def long(self) -> bool:
        """Whether there is more of it than a line holds."""
        return bool(
            len(self.arguments) > 90 or len(self.output) > 120 or "\n" in self.output or self.traceback
        )

    @property
    def arguments(self) -> str:
        """The arguments on one line, as they would be written in Python."""
        if self.input is None:
            return self.partial
        return ", ".join(f"{name}={written(value)}" for name, value in self.input.items())

    @property
    def input_json(self) -> str:
        """The input, indented."""
        return bounded(json.dumps(dict(self.input or {}), indent=2, ensure_ascii=False, default=str))

    @property
    def images(self) -> tuple[str, ...]:
        """The pictures among the result, as data URIs."""
        return embedded(self.result.content) if self.result is not None else ()

    @property
    def failed(self) -> bool:
        """Whether there is a result and it is not a good one."""
        return self.result is not None and (self.result.is_error or self.result.status != "done")


@dataclass(slots=True)
class Halt:
    """An execution stands, until somebody lets it go on: with ``fields`` changed, if they like.

    ``left_out`` counts the older messages, ``fault`` is why it could not go on.
    """

    fields: Sequence[Field] = ()
    left_out: int = 0
    fault: str = ""


@dataclass(slots=True)
class Note:
    """Something that happened meanwhile, in one line; ``halt`` while it waits there for somebody."""

    key: str
    text: str
    halt: Halt | None = None


Piece: TypeAlias = Prose | Call | Note


@dataclass(slots=True)
class TickRecord:
    """One model call and the tools it asked for, as shown."""

    key: str
    number: int
    card: Card | None = None
    asked: str = ""
    model: str = ""
    source: str = ""
    recorded: str = ""
    pieces: list[Piece] = field(default_factory=list)
    usage: Usage | None = None
    cache_diagnosis: CacheDiagnosis | None = None
    cost: float | None = None
    ended: bool = False
    blocks: dict[int, Prose | Call] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def label(self, kind: ProseKind) -> str:
        """Say what heads prose that isn't text; the simulated model applies a rule, and thinks nothing."""
        if kind == "server_tool":
            return "The provider’s own tool"
        return "Rule" if self.model == "simulated" else "Thinking"

    @property
    def strip(self) -> Strip:
        """Where the tokens of the context and of the answer went."""
        assert self.card is not None
        return self.card.strip.with_answer(self.usage.output_tokens if self.usage is not None else 0)

    @property
    def counted(self) -> str:
        """The context's tokens as this model counts them, ``""`` where too little is known of it."""
        if self.card is None or self.source != "live":
            return ""
        calibration = calibrated(self.model)
        return "" if calibration.spread is None else calibration.show(self.card.tokens)

    @property
    def missed(self) -> str:
        """What could not be read from the provider's cache, and why; ``""`` where it does not say how much."""
        miss = self.cache_diagnosis
        return f"≈{miss.tokens:,} tokens not cached: {miss.reason}" if miss and miss.tokens else ""

    @property
    def answered(self) -> bool:
        """Whether anything came from the model; a label of its source would claim that, too."""
        told = any(not isinstance(piece, Note) for piece in self.pieces)
        return told or (self.usage is not None and self.usage.total_tokens > 0)

    @property
    def notes(self) -> list[str]:
        """What happened meanwhile, in order."""
        return [piece.text for piece in self.pieces if isinstance(piece, Note)]

    @property
    def calls(self) -> list[Call]:
        """The tool calls, in the order they were asked for."""
        return [piece for piece in self.pieces if isinstance(piece, Call)]

    @property
    def text(self) -> str:
        """What the model wrote, without its thinking."""
        return "\n\n".join(
            p.text for p in self.pieces if isinstance(p, Prose) and p.kind == "text" and p.text
        )


def _indented(text: str) -> str:
    """Return JSON indented, and other text as it is."""
    if text[:1] in "{[" and text[-1:] in "}]":
        try:
            return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        except ValueError:
            return text
    return text


def bounded(text: str, most: int = MOST) -> str:
    """Return a text, or its beginning and how much more there is of it."""
    return text if len(text) <= most else f"{text[:most]}\n… {len(text) - most:,} more characters"


def written(value: Any) -> str:
    """Write a value on one line, as JSON."""
    return json.dumps(value, ensure_ascii=False, default=str)
