"""The open blocks of a stream that is taken up anew: their text begins again, and only the rest of it is new."""

from __future__ import annotations

from nbsession.events import ContentBlockStart, Event, InputJsonDelta, MessageStart, TextDelta


class Seam:
    """How much of each open block a reader was given."""

    __slots__ = ("_given",)

    def __init__(self) -> None:
        self._given: dict[int, int] = {}

    def begin(self, event: Event) -> None:
        """Take note of a durable event: where a message or a block begins, nothing of it was given."""
        if isinstance(event, MessageStart):
            self._given.clear()
        elif isinstance(event, ContentBlockStart):
            self._given.pop(event.index, None)

    def rest(self, delta: TextDelta | InputJsonDelta) -> TextDelta | InputJsonDelta | None:
        """Return what is new of a delta, ``None`` where nothing is."""
        text = delta.text if isinstance(delta, TextDelta) else delta.partial_json
        given = self._given.get(delta.index, 0)
        if delta.offset + len(text) <= given:
            return None
        self._given[delta.index] = delta.offset + len(text)
        if delta.offset >= given:
            return delta
        text = text[given - delta.offset :]
        if isinstance(delta, TextDelta):
            return TextDelta(delta.index, text, given, sequence=delta.sequence)
        return InputJsonDelta(delta.index, text, given, sequence=delta.sequence)
