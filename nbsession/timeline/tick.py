"""A tick as a value: a model call with its response, and the tools it asked for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbsession.content import Block, Text, Thinking, ToolCall, ToolResult
from nbsession.context import NOTHING_SENT, CompiledContext, Part
from nbsession.errors import ModelError, SessionError
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    Event,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    TextDelta,
)
from nbsession.timeline.cause import Cause, why
from nbsession.usage import CacheDiagnosis, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.tools import Decision


@dataclass(slots=True)
class ToolRun:
    """A tool call with what came of it. ``result`` is ``None`` until it ended; ``decision`` where no rule decided."""

    call: ToolCall
    result: ToolResult | None = None
    value: Any = None
    traceback: str = ""
    started: bool = False
    decision: Decision | None = None

    @property
    def id(self) -> str:
        """The call's id."""
        return self.call.id

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.call.name

    @property
    def input(self) -> Mapping[str, Any]:
        """What it was called with."""
        return self.call.input

    def __str__(self) -> str:
        return f"{self.call} → {self.result.text if self.result else '…'}"


@dataclass(slots=True)
class Tick:
    """One model call and the tools it asked for.

    ``number`` counts through the session. ``context`` is exactly what was sent,
    ``asked`` the name of the model it was sent to, ``model`` the one that it answered under,
    ``response`` the content that came back. Times are in seconds since the epoch,
    ``None`` until they are known; ``cost`` is in US dollars, ``None`` where a
    price is not known. ``cache_diagnosis`` is why the provider could not read from its cache what was
    sent before, ``None`` where it did not say. ``should_continue`` is the decision so far, and ``reason``
    why. ``error`` is the exception that ended the tick, if one did. ``causes`` are what made
    the tree another one since the tick before.
    """

    number: int
    execution: str = ""
    context: CompiledContext = NOTHING_SENT
    asked: str = ""
    model: str = ""
    source: str = ""
    recorded: str = ""
    response: tuple[Block, ...] = ()
    tool_calls: list[ToolRun] = field(default_factory=list)
    stop_reason: str = ""
    detail: str = ""
    usage: Usage = field(default_factory=Usage)
    cache_diagnosis: CacheDiagnosis | None = None
    cost: float | None = None
    started: float = field(default_factory=time.time)
    first_token: float | None = None
    ended: float | None = None
    should_continue: bool = False
    reason: str = ""
    error: BaseException | None = None
    interrupted: bool = False
    causes: tuple[Cause, ...] = ()
    head_before: str | None = None
    head_after: str | None = None
    state_before: int = 0
    state_after: int = 0

    @property
    def text(self) -> str:
        """The response's text."""
        return "\n\n".join(block.text for block in self.response if isinstance(block, Text))

    def why(self, part: Part | str) -> str:
        """Say why a part of the context (or what stands at a component path) is another than in the tick before.

        By what its components know: the state, knob, property or data that changed, with the old
        and the new value and who set it; or that it was edited, or cut for want of room. ``""`` where
        nothing of it is known, as in the first tick. Ask it of parts that differ.
        """
        if not isinstance(part, Part | str):
            raise SessionError(
                f"why() takes a part or a component's path, got {type(part).__name__}: {part!r}"
            )
        if isinstance(part, Part) and part.edited:
            return "its text was edited"
        if isinstance(part, Part) and part.of:
            return "it was cut for want of room"
        return why(part if isinstance(part, str) else part.path, self.causes)

    def copy(self) -> Tick:
        """Return a copy, for a fork in which its calls may get other results."""
        return replace(self, tool_calls=[replace(run) for run in self.tool_calls])

    def cut(self, head: str | None, state: int) -> Tick:
        """Return a copy that ends here, interrupted, for a fork from the middle of it."""
        calls = [replace(run) for run in self.tool_calls]
        # What an answer that still comes in will cost is charged to whoever asked for it.
        cost = self.cost if self.usage.total_tokens else 0.0
        return replace(
            self,
            tool_calls=calls,
            interrupted=True,
            cost=cost,
            ended=time.time(),
            head_after=head,
            state_after=state,
        )

    def __repr__(self) -> str:
        how = "interrupted" if self.interrupted else self.stop_reason or "running"
        return f"<Tick {self.number}: {how}, {len(self.tool_calls)} tool calls>"


class Response:
    """A response while it comes in: finished blocks, and the text of those that are not."""

    __slots__ = ("_open", "blocks", "complete", "delta", "start")

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._open: dict[int, tuple[ContentBlockStart, list[str]]] = {}
        self.start: MessageStart | None = None
        self.delta: MessageDelta | None = None
        self.complete = False

    def take(self, event: Event) -> None:
        """Take the next event of the model's stream."""
        if isinstance(event, (TextDelta, InputJsonDelta)):
            if event.index not in self._open:
                raise ModelError(
                    f"the model's adapter sent a {event.type} of block {event.index}, which it had not started; "
                    "the adapter has to be corrected"
                )
            text = event.text if isinstance(event, TextDelta) else event.partial_json
            self._open[event.index][1].append(text)
        elif isinstance(event, ContentBlockStart):
            self._open[event.index] = (event, [])
        elif isinstance(event, ContentBlockStop):
            self._open.pop(event.index, None)
            self.blocks.append(event.content)
        elif isinstance(event, MessageStart):
            self.start = event
        elif isinstance(event, MessageDelta):
            self.delta = event
        elif isinstance(event, MessageStop):
            self.complete = True

    def cut_call(self) -> str:
        """Say which tool call was cut, ``""`` where none was: it is not in the response, so nobody sees it there."""
        for start, _ in self._open.values():
            if start.block == "tool_call":
                return f"the answer was cut inside the input of {start.name}, which was not called"
        return ""

    def content(self) -> tuple[Block, ...]:
        """Return what there is: a text or thinking that was cut is kept, a tool call that was cut is not."""
        cut: list[Block] = []
        for start, pieces in self._open.values():
            text = "".join(pieces)
            if text and start.block == "text":
                cut.append(Text(text))
            elif text and start.block == "thinking":
                cut.append(Thinking(text))
        return (*self.blocks, *cut)


def interrupted(run: ToolRun) -> ToolResult:
    """Return the result that a call gets which was stopped, or not begun."""
    text = "Interrupted before it gave a result." if run.started else "Interrupted before it was run."
    return ToolResult(run.id, run.name, (Text(text),), is_error=True, status="interrupted")


def unknown(call: ToolCall) -> ToolResult:
    """Return the result that a call gets whose process ended while it ran."""
    text = "Its outcome is unknown: the process ended while it ran. It was not run again."
    return ToolResult(call.id, call.name, (Text(text),), is_error=True, status="unknown")
