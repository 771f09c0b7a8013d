"""An answer as it comes in over HTTP: what both APIs' readers of it are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from nbsession.content import ToolCall
from nbsession.errors import ModelError
from nbsession.events import InputJsonDelta, ModelEvent, TextDelta
from nbsession.models.plain_json import read_object, well_formed

if TYPE_CHECKING:
    from collections.abc import Iterable


class Arrival(Protocol):
    """Reads one answer: fed the SDK's raw events, it gives model events.

    ``started`` turns true with its ``MessageStart``, ``complete`` when nothing is
    missing; then ``end`` gives ``MessageDelta`` and ``MessageStop``, since some
    servers report usage after the stop reason.
    """

    started: bool
    complete: bool

    def take(self, raw: Any, /) -> Iterable[ModelEvent]: ...

    def end(self) -> Iterable[ModelEvent]: ...


class OpenBlock:
    """A block that is coming in: its pieces, and the deltas that are made of them."""

    __slots__ = ("_half", "_length", "_pieces", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self._pieces: list[str] = []
        self._length = 0
        self._half = ""

    @property
    def text(self) -> str:
        """All that came."""
        return "".join(self._pieces)

    def text_deltas(self, piece: str) -> Iterable[TextDelta]:
        """Add a piece of text; nothing comes of an empty one."""
        if piece := self._whole(piece):
            yield TextDelta(self.index, piece, self._add(piece))

    def input_deltas(self, piece: str) -> Iterable[InputJsonDelta]:
        """Add a piece of a tool's input; nothing comes of an empty one."""
        if piece := self._whole(piece):
            yield InputJsonDelta(self.index, piece, self._add(piece))

    def keep(self, piece: str) -> None:
        """Add a piece that nobody is shown."""
        if piece := self._whole(piece):
            self._add(piece)

    def rest(self) -> Iterable[TextDelta]:
        """Give what was held back of a text: half a character whose other half never came."""
        if self._half:
            half, self._half = well_formed(self._half), ""
            yield TextDelta(self.index, half, self._add(half))

    def call(self, id: str, name: str, model: str) -> ToolCall:
        """Return the finished tool call; raise ``ModelError`` for an input that is no JSON object."""
        text = self.text
        data = read_object(text)
        if data is None:
            raise ModelError(
                f"{model} called {name} with an input that is no JSON object: {_short(text)}; "
                "the tool was not run, send again",
                retryable=True,
                kind="stream",
            )
        return ToolCall(id, name, data)

    def _whole(self, piece: str) -> str:
        """Hold back half a character at the end of a piece: servers that escape cut between the two."""
        if piece.isascii() and not self._half:
            return piece
        piece, self._half = self._half + piece, ""
        if piece and "\ud800" <= piece[-1] <= "\udbff":
            piece, self._half = piece[:-1], piece[-1]
        return well_formed(piece)

    def _add(self, piece: str) -> int:
        """Return the offset, in characters, at which a piece stands."""
        offset = self._length
        self._pieces.append(piece)
        self._length += len(piece)
        return offset


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "…")
