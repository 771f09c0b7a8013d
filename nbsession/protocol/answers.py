"""What is answered: one model an answer. A client takes what it knows and leaves the rest."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field


class Fault(BaseModel):
    """What went wrong; ``request_id`` finds it in the server's log."""

    code: str
    message: str
    request_id: str


class ErrorAnswer(BaseModel):
    """Every error is answered with this."""

    error: Fault


class Health(BaseModel):
    """The server runs."""

    status: Literal["ok"] = "ok"
    version: str


class UsageAnswer(BaseModel):
    """Tokens, as the model reported or (``estimated``) the server estimated them; ``batch``: of an answer that cost less."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    thinking_tokens: int = 0
    web_searches: int = 0
    cache_write_long_tokens: int = 0
    estimated: bool = False
    batch: bool = False


class SessionAnswer(BaseModel):
    """A session. ``sequence`` is the number of its last event, times are in seconds since the epoch."""

    id: str
    agent_id: str
    component: str
    status: str = Field(description="idle, running or closed")
    metadata: dict[str, Any] = Field(default_factory=dict)
    work_dir: str | None = None
    parent: str | None = None
    created: float | None = None
    entries: int = 0
    ticks: int = 0
    waiting: Annotated[int, Field(description="Questions that wait for an answer.")] = 0
    sequence: int = 0
    usage: UsageAnswer = UsageAnswer()
    cost: Annotated[float | None, Field(description="US dollars, null where a price is not known.")] = None


class SessionEntry(BaseModel):
    """A session in a list."""

    id: str
    agent_id: str
    status: str = Field(description="idle, running, closed, or stored where it is not open")
    metadata: dict[str, Any] = Field(default_factory=dict)
    work_dir: str | None = None
    parent: str | None = None
    created: float | None = None
    updated: float | None = None


class SessionPage(BaseModel):
    """Some sessions, the last used first; ``next`` is the cursor of those that follow."""

    sessions: list[SessionEntry]
    next: str | None = None


class CallAnswer(BaseModel):
    """A tool call and what came of it."""

    id: str
    name: str
    input: dict[str, Any]
    result: str | None = None
    is_error: bool = False
    status: str | None = None
    duration: Annotated[float, Field(description="Seconds.")] = 0.0


class MessageAnswer(BaseModel):
    """What came of a message; ``steps`` is the number of model calls, ``output`` the object that was asked for."""

    response: str
    tool_calls: list[CallAnswer]
    usage: UsageAnswer
    steps: int
    stop_reason: str
    reason: str = ""
    execution: str
    source: Annotated[str, Field(description="live, recorded or simulated")] = ""
    model: str = ""
    cost: float | None = None
    output: Any = None


class ExecutionAnswer(BaseModel):
    """An execution that was begun or stopped; ``null`` where none ran."""

    execution: str | None = None
    status: str = "idle"


class RunAnswer(BaseModel):
    """A run: accepted means that it is stored. One that is ``waiting`` ended with a question to a person."""

    id: str
    session: str
    status: Literal["queued", "running", "waiting", "done", "failed", "aborted", "interrupted"]
    result: MessageAnswer | None = None
    error: Fault | None = None


class Accepted(BaseModel):
    """It was taken."""

    accepted: Literal[True] = True


class Value(BaseModel):
    """What a tool returned: as JSON data as far as it is such, and as the blocks that a model would read."""

    value: Any = None
    content: list[dict[str, Any]] = Field(default_factory=list)


class QuestionAnswer(BaseModel):
    """A question that waits for a person; ``schema`` is that of the answer, ``tick`` the number of its tick, ``rule`` what asks."""

    id: str
    text: str
    kind: Literal["pause", "confirmation"]
    call: dict[str, Any]
    schema_: dict[str, Any] = Field(alias="schema")
    tick: int = 0
    again: bool = False
    rule: dict[str, Any] | None = None


class Questions(BaseModel):
    """What waits for an answer."""

    waiting: list[QuestionAnswer]


class TickPage(BaseModel):
    """Some ticks, without their contexts; ``next`` is the number to go on with."""

    ticks: list[dict[str, Any]]
    next: int | None = None


class HistoryPage(BaseModel):
    """Some events, the oldest first; ``next`` is what to give as ``after`` for those that follow."""

    events: list[dict[str, Any]]
    next: int | None = None


class KnobAnswer(BaseModel):
    """A knob: its value and what it may be."""

    name: str
    value: Any = None
    default: Any = None
    kind: str
    min: float | None = None
    max: float | None = None
    step: float | None = None
    options: list[Any] = Field(default_factory=list)
    labels: list[str] = Field(default_factory=list)
    max_length: int | None = None
    pattern: str | None = None
    description: str = ""
    group: str = ""
    momentary: bool = False


class KnobsAnswer(BaseModel):
    """The knobs of a session, in the order of their declaration."""

    knobs: list[KnobAnswer]


class ToolAnswer(BaseModel):
    """A tool as a model sees it."""

    name: str
    description: str = ""
    input_schema: dict[str, Any] = Field(default_factory=dict)


class AgentAnswer(BaseModel):
    """An app that is served: its root component, its knobs and tools as they are in a new session."""

    id: str
    component: str
    model: str
    source: Annotated[str, Field(description="simulated where no language model answers")] = ""
    description: str = ""
    work_dir: Annotated[bool, Field(description="Whether its root component takes the folder itself.")] = (
        False
    )
    knobs: list[KnobAnswer] = Field(default_factory=list)
    tools: list[ToolAnswer] = Field(default_factory=list)


class Agents(BaseModel):
    """The apps that are served."""

    agents: list[AgentAnswer]


class StateAnswer(BaseModel):
    """The kept component state, by component path and hook."""

    state: dict[str, Any]


class ContextAnswer(BaseModel):
    """A compiled context: the request's content, then its parts and figures."""

    system: list[str]
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    settings: dict[str, Any]
    parts: list[dict[str, Any]]
    withheld: list[dict[str, Any]]
    tokens: int
    hash: str
    model: str = ""
    pending: list[str] = Field(default_factory=list)


class TickAnswer(BaseModel):
    """A tick, as in a page of them, but with its context whole."""

    tick: dict[str, Any]
