"""A model whose signed thinking is bound as the newest live models bind theirs: to model and exact prefix.

A signature is a hash of the very request, in the syntax of the Messages API, that
stood before the thinking when it was made. It knows nothing of how a compiled
context remembers that.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from nbsession.content import Text, Thinking
from nbsession.errors import ModelError
from nbsession.events import MessageDelta
from nbsession.models.anthropic.request import request_of
from nbsession.testing import ScriptedModel, call, pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent


class BindingModel(ScriptedModel):
    """Thinks aloud, signed; it takes its next ``turns`` (a tool called, a pause, an answer that is cut or held) and then answers.

    ``unreadable`` are the thinking blocks that it was sent and would refuse.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.turns: list[str] = []
        self.hold = pause()
        self.unreadable: list[str] = []
        self._count = 0

    @property
    def name(self) -> str:
        return self._name

    async def stream(self, context: CompiledContext) -> AsyncIterator[ModelEvent]:
        self.unreadable += unreadable(context, self._name)
        self._count += 1
        thought = f"{self._name} {self._count}"
        raw = {"type": "thinking", "thinking": thought, "signature": signature(context, self._name)}
        turn = self.turns.pop(0) if self.turns else "answer"
        words = Text(f"{turn} {self._count}")
        acts: dict[str, list[Any]] = {
            "answer": [words],
            "call": [call("look")],
            "pause": [words, MessageDelta("pause_turn")],
            "hold": [self.hold, words],
            "cut": [words, ModelError("cut")],
        }
        self.responses = (*([""] * len(self.contexts)), [Thinking(thought, raw), *acts[turn]])
        async for event in super().stream(context):
            yield event


def signature(context: CompiledContext, model: str) -> str:
    """Sign what is thought behind a context."""
    return _sign(_stable(context), [item for item, _ in _blocks(context)], model)


def unreadable(context: CompiledContext, model: str) -> list[str]:
    """Return the thinking in a context that ``model`` did not make, or not behind what stands before it now."""
    stable = _stable(context)
    before: list[Any] = []
    found: list[str] = []
    for item, block in _blocks(context):
        if block["type"] == "thinking" and block["signature"] != _sign(stable, before, model):
            found.append(block["thinking"])
        before.append(item)
    return found


def _stable(context: CompiledContext) -> Any:
    request = request_of(context, "m", caching=False)
    # Asking for citations alters documents; where there are none, we leave thinking out without need.
    return [request.get("system"), request.get("tools"), bool(context.settings.get("citations"))]


def _blocks(context: CompiledContext) -> Iterator[tuple[Any, dict[str, Any]]]:
    for message in request_of(context, "m", caching=False)["messages"]:
        for block in message["content"]:
            yield (message["role"], block), block


def _sign(stable: Any, before: list[Any], model: str) -> str:
    return hashlib.sha256(json.dumps([model, stable, before]).encode()).hexdigest()
