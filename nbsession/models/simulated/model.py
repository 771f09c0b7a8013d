"""``SimulatedModel``: answers by rules from the compiled context, and says so."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nbsession.content import Block, Text, Thinking, ToolCall
from nbsession.context import Capabilities
from nbsession.errors import ModelError
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    Event,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    ModelEvent,
)
from nbsession.models.base import OUTPUT_SCHEMA, Source, rate_of
from nbsession.models.playback import block_steps, call_id, estimated_usage, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nbsession.context import CompiledContext
    from nbsession.models.simulated.reading import Failure, Reply

HUMAN_PACE = 40.0
"""Words a second."""


class SimulatedModel:
    """A deterministic model without a language model: a table of rules over the compiled context.

    It describes the context, quotes from it, remembers what stands in the
    timeline, and calls tools with arguments taken from the user's words only; for
    a missing one it asks. Held to a schema, it fills that from the same words, and
    the rest with the least that is valid. Each answer begins with a thinking block that names the
    rule and what it matched. One context always gives one answer. For lessons, it
    fails where the user asks for it by name, as in "Simulate a rate limit": also a
    timeout, an overloaded server, a server error, a wrong key, a cut connection, a
    refusal, or the token limit.

    ``rate`` is in words a second, 0 is at once; by default
    ``$NBSESSION_SIMULATED_RATE``, else 0 where ``CI`` is set, else 40. Raises
    ``ModelError`` for a rate that is not a number.
    """

    def __init__(self, rate: float | None = None) -> None:
        self.rate = _default_rate() if rate is None else rate_of(rate, "SimulatedModel(rate=)")

    @property
    def name(self) -> str:
        return "simulated"

    @property
    def source(self) -> Source:
        return "simulated"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities()

    def __repr__(self) -> str:
        return f"<SimulatedModel at {self.rate:g} words a second>" if self.rate else "<SimulatedModel>"

    async def stream(self, context: CompiledContext) -> AsyncIterator[ModelEvent]:
        """Answer the context: a rule trace, then text, calls or both; or fail, where the user asks for it."""
        reply, blocks = _answer(context)
        failure = reply.failure
        if failure is not None and failure.kind and not failure.midway:
            raise _error(reply, failure)
        yield MessageStart(self.name, self.source)
        for index, block in enumerate(blocks):
            pieces = words(block.text) if isinstance(block, Text) else [str(block)]
            rate = self.rate if isinstance(block, Text) else 0
            for step in block_steps(index, block, pieces=pieces, rate=rate):
                if failure is not None and failure.midway and isinstance(step, ContentBlockStop) and index:
                    raise _error(reply, failure)
                if isinstance(step, Event):
                    yield step
                else:
                    await step
        calls = any(isinstance(block, ToolCall) for block in blocks)
        stop, detail = "tool_use" if calls else "end_turn", ""
        if failure is not None:
            stop, detail = failure.stop, f"asked for: {reply.why}"
        if stop == "max_tokens" and context.tools:
            # Half a call, as a model leaves it: it begins and does not end.
            tool = context.tools[0].name
            yield ContentBlockStart(len(blocks), "tool_call", id=call_id(context, len(blocks)), name=tool)
            yield InputJsonDelta(len(blocks), '{"')
        yield MessageDelta(stop, estimated_usage(context.tokens, blocks), detail)
        yield MessageStop()


def answer_blocks(context: CompiledContext) -> list[Block]:
    """Return the answer to a context: the trace, a text where there is one, and the tool calls."""
    return _answer(context)[1]


def _answer(context: CompiledContext) -> tuple[Reply, list[Block]]:
    from nbsession.models.simulated.filling import filled
    from nbsession.models.simulated.manner import manner_of
    from nbsession.models.simulated.reading import Reading
    from nbsession.models.simulated.rules import answer

    reading = Reading(context)
    reply = answer(reading)
    schema = context.settings.get(OUTPUT_SCHEMA)
    if schema and not reply.calls and reply.failure is None:
        reply = filled(reading, schema)
        return reply, [Thinking(f"rule {reply.rule}: {reply.why}"), Text(reply.text)]
    manner = manner_of(reading)
    trace = f"rule {reply.rule}: {reply.why}"
    if manner.why:
        trace = f"{trace}\nmanner {manner.length or 'friendly'}: {manner.why}"
    blocks: list[Block] = [Thinking(trace)]
    if text := manner.word(reply).strip():
        blocks.append(Text(text))
    for name, arguments in reply.calls:
        blocks.append(ToolCall(call_id(context, len(blocks)), name, arguments))
    return reply, blocks


def _error(reply: Reply, failure: Failure) -> ModelError:
    where = "broke off in mid-answer" if failure.midway else f"failed ({failure.kind})"
    return ModelError(
        f"simulated {where} by the rule {reply.rule}: {reply.why}; ask for something else to go on",
        retryable=failure.retryable,
        kind=failure.kind,
    )


def _default_rate() -> float:
    given = os.environ.get("NBSESSION_SIMULATED_RATE", "").strip()
    if not given:
        return 0.0 if os.environ.get("CI") else HUMAN_PACE
    return rate_of(given, "NBSESSION_SIMULATED_RATE")
