"""Events as they cross the wire: one frame each, as server-sent events or as messages of a socket.

A frame's ``event`` is the event's ``type``, its ``data`` what ``to_dict`` says, in JSON. A durable
event has its number as ``id``, from which one can go on; a delta has none, so that who is
cut off in the middle of a block goes on after the last event, and gets the block's text again as one
delta. The stream's form is the HTML standard's: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from nbsession.events import Event, TickContext, event_from_dict
from nbsession.protocol.json import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class ResyncRequired(Event):
    """Events are missing that are kept nowhere any more: read the session anew, then its events from ``first`` on.

    The last frame of its stream.
    """

    type: ClassVar[str] = "resync_required"
    durable: ClassVar[bool] = False
    reason: str
    first: int | None = None


class Frame(NamedTuple):
    """One event on the wire. ``id`` is its number where one can resume from it, ``data`` JSON text of one line."""

    event: str
    data: str
    id: int | None = None

    def encode(self) -> bytes:
        """Return it as a server-sent event."""
        number = "" if self.id is None else f"id: {self.id}\n"
        return f"{number}event: {self.event}\ndata: {self.data}\n\n".encode()

    def read(self) -> Event:
        """Return the event. Raises ``ValueError`` for one of a type that is not known here."""
        return event_from_dict(json.loads(self.data))


def event_to_wire(event: Event) -> dict[str, Any]:
    """Return an event as JSON data, which ``event_from_dict`` reads back."""
    data = event.to_dict()
    if isinstance(event, TickContext):
        # Its parts say all that its messages do.
        data["context"] = {name: value for name, value in data["context"].items() if name != "messages"}
    return data


def frame_of(event: Event) -> Frame:
    """Return an event as a frame."""
    number = event.sequence if event.durable and event.sequence >= 0 else None
    return Frame(event.type, dumps(event_to_wire(event)), number)


class FrameReader:
    """Reads frames from the bytes of a stream, however they are cut.

    ``last`` is the id to go on after when the connection is lost (the ``Last-Event-ID``),
    ``retry`` how many seconds the server asked to wait before that, ``None`` where it did not.
    """

    def __init__(self) -> None:
        self.last: int | None = None
        self.retry: float | None = None
        self._rest = b""
        self._fields: dict[str, Any] = {}

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Give the frames that are complete with these bytes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if (frame := self._line(line.removesuffix(b"\r").decode())) is not None:
                yield frame

    def _line(self, line: str) -> Frame | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data" and "data" in self._fields:
            value = f"{self._fields['data']}\n{value}"
        if name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value) / 1000
        elif name in ("id", "event", "data"):
            self._fields[name] = value
        return None

    def _dispatch(self) -> Frame | None:
        fields, self._fields = self._fields, {}
        number = fields.get("id", "")
        known = int(number) if number.isascii() and number.isdigit() else None
        if known is not None:
            self.last = known
        if "data" not in fields:
            return None
        return Frame(fields.get("event", "message"), fields["data"], known)
