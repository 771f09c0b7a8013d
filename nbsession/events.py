"""What happens, as typed events: start, delta, end.

The first eleven are the message stream; a model adapter yields them while it
answers. The rest come from the loop around it. Every event has a ``type`` (a
string, for those who read JSON). Durable events carry a ``sequence`` number,
counted through the execution without gaps; deltas carry their block's
``index`` and the ``offset`` (in characters) at which they stand, and a late
reader gets one joined delta a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from nbsession.content import Block, Entry, ToolCall, ToolResult, block_from_dict
from nbsession.context import CompiledContext
from nbsession.tools import Question
from nbsession.usage import CacheDiagnosis, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


@dataclass(slots=True, kw_only=True)
class Event:
    """Anything that happens in an execution. ``sequence`` is -1 until it is recorded."""

    type: ClassVar[str] = "event"
    durable: ClassVar[bool] = True
    sequence: int = -1

    def to_dict(self) -> dict[str, Any]:
        """Return the event as plain JSON data."""
        data: dict[str, Any] = {"type": self.type}
        for item in fields(self):
            value = getattr(self, item.name)
            data[item.name] = value.to_dict() if hasattr(value, "to_dict") else value
        return data


@dataclass(slots=True)
class MessageStart(Event):
    """A model begins to answer. ``recorded`` is when a recorded answer was made (ISO 8601).

    ``usage`` is what the provider counts so far, where it says so before the end: for
    whoever has to know it of an answer that is cut, and not for those who read along.
    """

    type: ClassVar[str] = "message_start"
    model: str
    source: Literal["live", "recorded", "simulated"]
    recorded: str = ""
    usage: Usage | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the event as plain JSON data."""
        data = Event.to_dict(self)
        del data["usage"]
        return data


@dataclass(slots=True)
class ContentBlockStart(Event):
    """A block begins: ``text``, ``thinking``, ``tool_call`` or ``server_tool`` (these with id and name)."""

    type: ClassVar[str] = "content_block_start"
    index: int
    block: Literal["text", "thinking", "tool_call", "server_tool"]
    id: str = ""
    name: str = ""


@dataclass(slots=True)
class TextDelta(Event):
    """More text of a text, thinking or server tool block, at ``offset`` characters."""

    type: ClassVar[str] = "text_delta"
    durable: ClassVar[bool] = False
    index: int
    text: str
    offset: int = 0


@dataclass(slots=True)
class InputJsonDelta(Event):
    """More of a tool call's input, as raw JSON text, at ``offset`` characters."""

    type: ClassVar[str] = "input_json_delta"
    durable: ClassVar[bool] = False
    index: int
    partial_json: str
    offset: int = 0


@dataclass(slots=True)
class ContentBlockStop(Event):
    """A block is finished: ``content`` is the whole of it."""

    type: ClassVar[str] = "content_block_stop"
    index: int
    content: Block


@dataclass(slots=True)
class MessageDelta(Event):
    """Why the model stopped, and what it used.

    ``stop_reason`` is ``"end_turn"``, ``"tool_use"``, ``"max_tokens"``,
    ``"stop_sequence"``, ``"pause_turn"``, ``"refusal"`` or ``"context_window"``;
    ``detail`` is the provider's explanation, if there is one, and ``cache_diagnosis`` why
    it could not read from its cache what was sent before, where it says so.
    """

    type: ClassVar[str] = "message_delta"
    stop_reason: str
    usage: Usage = field(default_factory=Usage)
    detail: str = ""
    cache_diagnosis: CacheDiagnosis | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the event as plain JSON data."""
        data = Event.to_dict(self)
        if self.cache_diagnosis is None:
            del data["cache_diagnosis"]
        return data


@dataclass(slots=True)
class MessageStop(Event):
    """The answer is complete; without it, it was cut."""

    type: ClassVar[str] = "message_stop"


@dataclass(slots=True)
class Ping(Event):
    """The connection is alive."""

    type: ClassVar[str] = "ping"
    durable: ClassVar[bool] = False


@dataclass(slots=True)
class ModelWaiting(Event):
    """The model is busy or not to be reached, which ``reason`` says; it is asked again after ``seconds``."""

    type: ClassVar[str] = "model_waiting"
    durable: ClassVar[bool] = False
    seconds: float
    reason: str


@dataclass(slots=True)
class Error(Event):
    """The execution failed: one sentence, and the component path where there is one."""

    type: ClassVar[str] = "error"
    message: str
    kind: str = "other"
    path: str = ""
    retryable: bool = False


@dataclass(slots=True)
class Unkept(Error):
    """How an execution ended could not be stored so far, and neither can this."""

    durable: ClassVar[bool] = False


@dataclass(slots=True)
class Done(Event):
    """The last event of an execution: what it used, and how many ticks it took."""

    type: ClassVar[str] = "done"
    usage: Usage = field(default_factory=Usage)
    steps: int = 0


@dataclass(slots=True)
class ExecutionStart(Event):
    """An execution begins; ``text`` is what was sent, ``""`` for a bare render."""

    type: ClassVar[str] = "execution_start"
    execution: str
    session: str
    text: str = ""


@dataclass(slots=True)
class ExecutionEnd(Event):
    """An execution ended: see ``StopReason``; ``reason`` is a sentence or ``""``."""

    type: ClassVar[str] = "execution_end"
    stop_reason: str
    reason: str = ""
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None


@dataclass(slots=True)
class TickStart(Event):
    """A tick begins; ``tick`` is its number in the session."""

    type: ClassVar[str] = "tick_start"
    tick: int


@dataclass(slots=True)
class TickContext(Event):
    """The tick's compiled context, just before it is sent; ``model`` is its name."""

    type: ClassVar[str] = "tick_context"
    tick: int
    context: CompiledContext
    model: str = ""
    source: str = ""


@dataclass(slots=True)
class TickEnd(Event):
    """A tick ended, and whether another follows, and why."""

    type: ClassVar[str] = "tick_end"
    tick: int
    usage: Usage
    cost: float | None
    should_continue: bool
    reason: str = ""


@dataclass(slots=True)
class ToolStart(Event):
    """A tool begins to run."""

    type: ClassVar[str] = "tool_start"
    call: ToolCall


@dataclass(slots=True)
class ToolProgress(Event):
    """What a running tool says of its progress, by ``ToolContext.emit``."""

    type: ClassVar[str] = "tool_progress"
    call_id: str
    data: Any


@dataclass(slots=True)
class ToolEnd(Event):
    """A tool ended. ``traceback`` is for the user's eyes, never the model's.

    ``value`` is what the tool returned, as it is, for whoever is in the same process;
    it is neither stored nor sent on, and ``None`` where it was.
    """

    type: ClassVar[str] = "tool_end"
    result: ToolResult
    traceback: str = ""
    value: Any = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the event as plain JSON data."""
        data = Event.to_dict(replace(self, value=None))  # a data frame has a to_dict of its own
        del data["value"]
        return data


@dataclass(slots=True)
class EntryCommitted(Event):
    """An entry was committed to the timeline."""

    type: ClassVar[str] = "entry_committed"
    entry: Entry


@dataclass(slots=True)
class KnobSet(Event):
    """A knob was set: ``by`` is ``"program"``, ``"user"`` or ``"model"``."""

    type: ClassVar[str] = "knob_set"
    name: str
    value: Any
    by: str


@dataclass(slots=True)
class GateChanged(Event):
    """A gate was opened, closed or put off (see ``use_gate``); ``reason`` is what was said of that, or ``""``."""

    type: ClassVar[str] = "gate_changed"
    name: str
    state: Literal["open", "closed", "put off"]
    reason: str = ""


@dataclass(slots=True)
class ConfirmationRequested(Event):
    """A tool waits for a yes or no: answer with ``execution.confirm(call.id, ...)``, or with ``session.answer(question, ...)``."""

    type: ClassVar[str] = "confirmation_requested"
    call: ToolCall
    message: str = ""
    question: str = ""


@dataclass(slots=True)
class PermissionDecided(Event):
    """A rule decided of a call: ``decision`` is ``"allowed"``, ``"asked"`` or ``"denied"``.

    ``rule`` is the rule as it is written, ``by`` who made it: ``"app"``, ``"program"`` or ``"user"`` (an answer *always*).
    """

    type: ClassVar[str] = "permission_decided"
    call_id: str
    decision: Literal["allowed", "asked", "denied"]
    rule: str
    by: Literal["app", "program", "user"] = "app"


@dataclass(slots=True)
class QuestionAsked(Event):
    """A tool asks somebody; when what else there is to do is done, the execution ends as *paused*."""

    type: ClassVar[str] = "question_asked"
    question: Question


@dataclass(slots=True)
class QuestionAnswered(Event):
    """A question was answered, also one whether a call may run."""

    type: ClassVar[str] = "question_answered"
    question: str
    call_id: str
    value: Any


@dataclass(slots=True)
class QuestionWithdrawn(Event):
    """A question waits no more, though nobody answered it; ``reason`` is what happened instead."""

    type: ClassVar[str] = "question_withdrawn"
    question: str
    call_id: str
    reason: str


@dataclass(slots=True)
class BreakpointReached(Event):
    """The execution stands before a model call: go on with ``execution.resume()``, or ``abort()`` it.

    ``breakpoint`` is how it was set (``"tool=search"``), ``reason`` what it met.
    """

    type: ClassVar[str] = "breakpoint_reached"
    tick: int
    breakpoint: str
    reason: str


ModelEvent = (
    MessageStart
    | ContentBlockStart
    | TextDelta
    | InputJsonDelta
    | ContentBlockStop
    | MessageDelta
    | MessageStop
    | Ping
    | ModelWaiting
)
"""What a model adapter may yield. Failures are raised, as ``ModelError``."""


_READ: Mapping[str, Callable[[Any], Any]] = {
    "usage": Usage.from_dict,
    "cache_diagnosis": CacheDiagnosis.from_dict,
    "content": block_from_dict,
    "call": block_from_dict,
    "result": block_from_dict,
    "entry": Entry.from_dict,
    "context": CompiledContext.from_dict,
    "question": Question.from_dict,
}
"""How the fields are read back that are no plain JSON data; what is text under such a name is only text."""


def event_from_dict(data: Mapping[str, Any]) -> Event:
    """Read an event back from its ``to_dict`` form. Raises ``ValueError`` for a type that is not known."""
    # The last of a name: the class from which ``slots=True`` made it stands before it until it is collected.
    kind = next((kind for kind in reversed(Event.__subclasses__()) if kind.type == data["type"]), None)
    if kind is None:
        raise ValueError(f"unknown event type {data['type']!r}")
    values: dict[str, Any] = {
        name: _READ[name](value) if name in _READ and isinstance(value, Mapping) else value
        for name, value in data.items()
        if name != "type"
    }
    return kind(**values)


class EventStream(Protocol):
    """How events go elsewhere (to a browser, a file, another process): whoever sends them on reads one of these.

    A ``Session`` is one.
    """

    def subscribe(self, after: int | None = None) -> AsyncGenerator[Event]:
        """Give the events after a sequence number, stored ones first, then those to come.

        Without gap or duplicate: who was cut off goes on after the last number it had.
        Close it (``aclose``, or ``contextlib.aclosing``) to leave before the end.
        """
        ...


__all__ = [
    name
    for name, value in globals().items()
    if (isinstance(value, type) and issubclass(value, Event))
    or name in ("EventStream", "ModelEvent", "event_from_dict")
]
