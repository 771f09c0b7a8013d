"""The model call of a tick: its stream, taken in as it comes."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Any

from nbsession.content import ToolCall, new_id
from nbsession.errors import ModelError
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    Event,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    TextDelta,
)

if TYPE_CHECKING:
    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent
    from nbsession.models.base import ModelAdapter
    from nbsession.timeline import Response, Tick

PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What every provider takes as the id of a tool call, once its adapter has cut it to length."""


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

    def settle(self, event: ContentBlockStart | ContentBlockStop) -> None:
        """Give the tool call that an event begins or ends its id."""
        if isinstance(event, ContentBlockStart):
            if event.block == "tool_call":
                event.id = self._at[event.index] = self._own(event.id)
        elif isinstance(event.content, ToolCall):
            call = event.content
            settled = self._at.get(event.index) or self._own(call.id)
            if settled != call.id:
                event.content = ToolCall(settled, call.name, call.input)

    def _own(self, given: str) -> str:
        plain = PLAIN_ID.fullmatch(given) and given not in self._given and not self._taken(given)
        settled = given if plain else new_id("call")
        self._given.add(settled)
        return settled


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
            if isinstance(event, (TextDelta, InputJsonDelta)):
                tick.first_token = tick.first_token or time.time()
            elif isinstance(event, (ContentBlockStart, ContentBlockStop)):
                ids.settle(event)
            elif isinstance(event, MessageStart):
                tick.model, tick.source, tick.recorded = event.model, event.source, event.recorded
            elif isinstance(event, MessageDelta):
                tick.stop_reason, tick.usage = event.stop_reason, event.usage
                tick.detail = event.detail or response.cut_call()
                tick.cache_diagnosis = event.cache_diagnosis
            response.take(event)
            emit(event)
    if not response.complete:
        raise ModelError(
            f"{model.name} ended its answer without saying that it was complete; what came is kept, send again to go on",
            retryable=True,
            kind="stream",
        )
