"""Ticks as they come to be, made of the events that tell of them."""

from __future__ import annotations

from nbsession.content import ToolCall
from nbsession.events import (
    ContentBlockStop,
    Event,
    MessageDelta,
    MessageStart,
    TickContext,
    TickEnd,
    TickStart,
    ToolEnd,
    ToolStart,
)
from nbsession.timeline import Tick, ToolRun


class Ticks:
    """The ticks of one execution so far, as far as its events say."""

    def __init__(self) -> None:
        self.all: list[Tick] = []

    def take(self, event: Event, execution: str) -> None:
        """Take the next event."""
        if isinstance(event, TickStart):
            self.all = [tick for tick in self.all if tick.number < event.tick]
            self.all.append(Tick(event.tick, execution))
        elif self.all:
            _tell(self.all[-1], event)


def _tell(tick: Tick, event: Event) -> None:
    if isinstance(event, TickContext):
        tick.context, tick.asked, tick.model, tick.source = (
            event.context,
            event.model,
            event.model,
            event.source,
        )
    elif isinstance(event, MessageStart):
        tick.model, tick.source, tick.recorded = event.model, event.source, event.recorded
        tick.response = ()
    elif isinstance(event, ContentBlockStop):
        tick.response = (*tick.response, event.content)
        if isinstance(event.content, ToolCall):
            tick.tool_calls.append(ToolRun(event.content))
    elif isinstance(event, MessageDelta):
        tick.stop_reason, tick.detail = event.stop_reason, event.detail
    elif isinstance(event, ToolStart):
        for run in tick.tool_calls:
            run.started = run.started or run.id == event.call.id
    elif isinstance(event, ToolEnd):
        for run in tick.tool_calls:
            run.result = event.result if run.id == event.result.call_id else run.result
    elif isinstance(event, TickEnd):
        tick.usage, tick.cost = event.usage, event.cost
        tick.should_continue, tick.reason = event.should_continue, event.reason
