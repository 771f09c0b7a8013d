"""What tests of a context, a tool or a store need: a scripted model, recorded events, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from nbsession.events import ContentBlockStop, Event, TextDelta
from nbsession.models.scripted import Pause, ScriptedModel, call, pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from nbsession.content import Block

__all__ = ["EventRecorder", "Pause", "ScriptedModel", "call", "pause"]

E = TypeVar("E", bound=Event)


class EventRecorder:
    """The events of an execution or of a model's answer, in order, as far as they came.

    Record with ``await EventRecorder().record(execution)``; what came before an
    error stays in ``events``.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def record(self, stream: AsyncIterable[Event]) -> EventRecorder:
        """Read ``stream`` to its end and return this recorder; its error goes through."""
        async for event in stream:
            self.events.append(event)
        return self

    def of(self, kind: type[E]) -> list[E]:
        """The events of one type, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def types(self) -> list[str]:
        """The events' types, each run of deltas as one."""
        types = [event.type for event in self.events]
        return [
            name
            for position, name in enumerate(types)
            if not (name.endswith("_delta") and position and types[position - 1] == name)
        ]

    @property
    def text(self) -> str:
        """The text of all deltas of text and thinking, joined."""
        return "".join([event.text for event in self.of(TextDelta)])

    @property
    def blocks(self) -> list[Block]:
        """The finished blocks."""
        return [event.content for event in self.of(ContentBlockStop)]
