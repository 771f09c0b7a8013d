"""One tick: a model call, and the tools it asked for."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from nbsession.content import Block, Text, Thinking, ToolCall, ToolResult, new_id
from nbsession.context import NOTHING_SENT, CompiledContext
from nbsession.errors import ModelError, did_you_mean
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    Event,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    TextDelta,
    ToolEnd,
    ToolStart,
)
from nbsession.tokens import Usage
from nbsession.tools import Outcome, Tool, ToolContext, needs_confirmation, run_tool

if TYPE_CHECKING:
    from nbsession.events import ModelEvent
    from nbsession.models.base import ModelAdapter

PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What every provider takes as the id of a tool call, once its adapter has cut it to length."""


@dataclass(slots=True)
class ToolRun:
    """A tool call with what came of it. ``result`` is ``None`` until it ended."""

    call: ToolCall
    result: ToolResult | None = None
    value: Any = None
    traceback: str = ""
    started: bool = False

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
    ``response`` the content that came back. Times are in seconds since the epoch,
    ``None`` until they are known; ``cost`` is in US dollars, ``None`` where a
    price is not known. ``should_continue`` is the decision so far, and ``reason``
    why. ``error`` is the exception that ended the tick, if one did.
    """

    number: int
    execution: str = ""
    context: CompiledContext = NOTHING_SENT
    model: str = ""
    source: str = ""
    recorded: str = ""
    response: tuple[Block, ...] = ()
    tool_calls: list[ToolRun] = field(default_factory=list)
    stop_reason: str = ""
    detail: str = ""
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    started: float = field(default_factory=time.time)
    first_token: float | None = None
    ended: float | None = None
    should_continue: bool = False
    reason: str = ""
    error: BaseException | None = None
    interrupted: bool = False
    head_before: str | None = None
    head_after: str | None = None
    state_before: int = 0
    state_after: int = 0

    @property
    def text(self) -> str:
        """The response's text."""
        return "\n\n".join(block.text for block in self.response if isinstance(block, Text))

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


class CallIds:
    """The ids of one answer's tool calls: plain, and of no other call that the session knows.

    Results, confirmations and what a store knows of a call go by its id. A model's own
    stays where it can be that; some servers number the calls of each answer anew, give
    none, or one that another provider refuses when the conversation goes on there.
    """

    __slots__ = ("_at", "_given", "_taken")

    def __init__(self, taken: Callable[[str], bool] = lambda _: False) -> None:
        self._taken = taken
        self._given: set[str] = set()
        self._at: dict[int, str] = {}

    def settle(self, event: Event) -> None:
        """Give the tool call that an event begins or ends its id."""
        if isinstance(event, ContentBlockStart) and event.block == "tool_call":
            event.id = self._at[event.index] = self._own(event.id)
        elif isinstance(event, ContentBlockStop) and isinstance(event.content, ToolCall):
            call = event.content
            settled = self._at.get(event.index) or self._own(call.id)
            if settled != call.id:
                event.content = ToolCall(settled, call.name, call.input)

    def _own(self, given: str) -> str:
        plain = PLAIN_ID.fullmatch(given) and given not in self._given and not self._taken(given)
        settled = given if plain else new_id("call")
        self._given.add(settled)
        return settled


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


def _checked(model: ModelAdapter, stream: Any) -> AsyncIterable[ModelEvent]:
    """Refuse what is no stream: an adapter is other people's code, whatever its types say."""
    if isinstance(stream, AsyncIterable):
        return stream
    if inspect.iscoroutine(stream):
        stream.close()  # it has not begun
    raise ModelError(
        f"stream() of {model.name} returned a {type(stream).__name__}; the adapter has to be corrected: "
        "write it as 'async def stream(self, context)' that yields events"
    )


async def call_model(
    model: ModelAdapter,
    context: CompiledContext,
    tick: Tick,
    response: Response,
    emit: Callable[[Event], None],
    taken: Callable[[str], bool] = lambda _: False,
) -> None:
    """Stream one answer into ``response`` and ``tick``; ``taken`` says which ids other tool calls have.

    Raises ``ModelError`` where the model fails or ends too early; what came until
    then is in ``response``.
    """
    ids = CallIds(taken)
    stream = _checked(model, model.stream(context))
    async with aclosing(stream) if isinstance(stream, AsyncGenerator) else nullcontext():
        async for event in stream:
            if not isinstance(event, Event):
                raise ModelError(
                    f"stream() of {model.name} gave a {type(event).__name__}: {event!r:.80}; the adapter has to be "
                    "corrected: it yields the events of nbsession.models.ModelAdapter"
                )
            if tick.first_token is None and isinstance(event, (TextDelta, InputJsonDelta)):
                tick.first_token = time.time()
            ids.settle(event)
            response.take(event)
            if isinstance(event, MessageStart):
                tick.model, tick.source, tick.recorded = event.model, event.source, event.recorded
            elif isinstance(event, MessageDelta):
                tick.stop_reason, tick.usage = event.stop_reason, event.usage
                tick.detail = event.detail or response.cut_call()
            emit(event)
    if not response.complete:
        raise ModelError(
            f"{model.name} ended its answer without saying that it was complete; what came is kept, send again to go on",
            retryable=True,
            kind="stream",
        )


Approval = tuple[bool, str, Mapping[str, Any] | None]
"""Whether a call is approved, why (not), and the input to use instead."""


@dataclass(slots=True)
class ToolScope:
    """What running a tick's tools needs from around it."""

    toolbox: Mapping[str, Tool]
    emit: Callable[[Event], None]
    context_for: Callable[[ToolCall], ToolContext]
    approve: Callable[[ToolCall, str], Awaitable[Approval]]
    keep: Callable[[ToolRun], Awaitable[None]]
    user_loop: asyncio.AbstractEventLoop | None = None


async def call_tools(runs: Sequence[ToolRun], scope: ToolScope) -> None:
    """Run a tick's tool calls and put each result into its run.

    One after another, in call order; neighbours whose tools are parallel-safe run
    together. Cancelling leaves the results that are there.
    """
    waiting: list[ToolRun] = []
    for run in runs:
        tool = scope.toolbox.get(run.name)
        if tool is not None and tool.parallel:
            waiting.append(run)
            continue
        await _together(waiting, scope)
        waiting = []
        await _call(run, scope)
    await _together(waiting, scope)


async def _together(runs: Sequence[ToolRun], scope: ToolScope) -> None:
    if len(runs) == 1:
        await _call(runs[0], scope)
    elif runs:
        try:
            async with asyncio.TaskGroup() as group:
                for run in runs:
                    group.create_task(_call(run, scope))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None


async def _call(run: ToolRun, scope: ToolScope) -> None:
    tool = scope.toolbox.get(run.name)
    if tool is None or tool.audience == "user":
        names = [name for name, item in scope.toolbox.items() if item.audience != "user"]
        _refuse(run, scope, f"there is no tool {run.name!r}{did_you_mean(run.name, names)}", "error")
        return
    context = scope.context_for(run.call)
    question = await needs_confirmation(tool, run.call, context)
    if question is not None:
        approved, reason, changed = await scope.approve(run.call, question)
        if not approved:
            _refuse(run, scope, f"the user declined this call{': ' + reason if reason else ''}", "denied")
            return
        if changed is not None:
            run.call = ToolCall(run.call.id, run.call.name, dict(changed))
    run.started = True
    await scope.keep(run)
    scope.emit(ToolStart(run.call))
    outcome: Outcome = await run_tool(tool, run.call, context, user_loop=scope.user_loop)
    run.result, run.value, run.traceback = outcome.result, outcome.value, outcome.traceback
    scope.emit(ToolEnd(outcome.result, outcome.traceback))
    await scope.keep(run)


def _refuse(run: ToolRun, scope: ToolScope, text: str, status: Literal["error", "denied"]) -> None:
    run.result = ToolResult(run.id, run.name, (Text(text),), is_error=True, status=status)
    scope.emit(ToolEnd(run.result))


def interrupted(run: ToolRun) -> ToolResult:
    """Return the result that a call gets which was stopped, or not begun."""
    text = "Interrupted before it gave a result." if run.started else "Interrupted before it was run."
    return ToolResult(run.id, run.name, (Text(text),), is_error=True, status="interrupted")


def unknown(call: ToolCall) -> ToolResult:
    """Return the result that a call gets whose process ended while it ran."""
    text = "Its outcome is unknown: the process ended while it ran. It was not run again."
    return ToolResult(call.id, call.name, (Text(text),), is_error=True, status="unknown")
