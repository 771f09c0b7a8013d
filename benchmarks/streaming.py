"""What adapter and session add to the SDK's raw stream, for each API, against the same server on the loopback.

The server is a process of its own that sends 2,000 deltas an answer. Each round
reads one answer bare, one through the adapter and one through a new session
(``send``, its events read until they end), in changing order. The figures are
medians over the rounds, the added ones over differences within a round. A
session's reader that is late gets several deltas as one, so time is taken to the
end of the answer and not per delta read. Then the estimate of a long text.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession import App, System, Timeline, component
from nbsession.content import Message, Text
from nbsession.context import context_of
from nbsession.events import TextDelta
from nbsession.models.anthropic import request as anthropic_request
from nbsession.models.anthropic.model import AnthropicModel
from nbsession.models.openai.chat import request as openai_request
from nbsession.models.openai.model import OpenAIModel
from nbsession.usage import estimate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from anthropic import AsyncAnthropic
    from openai import AsyncOpenAI

    from nbsession.context import CompiledContext
    from nbsession.models import ModelAdapter

DELTAS = 2_000
ROUNDS = 15
MODEL = "claude-test-1"
TARGET_FIRST = 0.005
TARGET_RATE = 20_000
TARGET_ESTIMATE = 0.002
ESTIMATED = 100_000
QUESTION = "Tell me a long story."
WARM_UP = 3
"""Rounds that are not counted: they open connections and compile validators."""


class Reading(NamedTuple):
    """Seconds to the first text and to the end, and how many characters came."""

    first: float
    whole: float
    characters: int


@component
def Storyteller() -> list[object]:
    return [System("You are kind."), Timeline()]


@contextmanager
def served(server: str) -> Iterator[str]:
    """Run a server of the tests in a process of its own and give its URL."""
    command = [sys.executable, "-m", f"tests.support.{server}", str(DELTAS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


async def timed(deltas: AsyncIterator[str]) -> Reading:
    started = time.perf_counter()
    first = 0.0
    characters = 0
    async for text in deltas:
        if not characters:
            first = time.perf_counter() - started
        characters += len(text)
    return Reading(first, time.perf_counter() - started, characters)


async def bare_messages(client: AsyncAnthropic, context: CompiledContext) -> AsyncIterator[str]:
    request = anthropic_request.request_of(context, MODEL)
    async with await client.messages.create(**request, stream=True) as stream:
        async for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                yield event.delta.text


async def bare_chat(client: AsyncOpenAI, context: CompiledContext) -> AsyncIterator[str]:
    request = openai_request.request_of(context, MODEL)
    async with await client.chat.completions.create(**request, stream=True) as stream:
        async for chunk in stream:
            if chunk.choices and (text := chunk.choices[0].delta.content):
                yield text


async def adapted(model: ModelAdapter, context: CompiledContext) -> AsyncIterator[str]:
    async for event in model.stream(context):
        if isinstance(event, TextDelta):
            yield event.text


async def in_session(model: ModelAdapter) -> AsyncIterator[str]:
    session = App(Storyteller, model=model).session()
    async for event in session.send(QUESTION):
        if isinstance(event, TextDelta):
            yield event.text
    await session.aclose()


async def measure_messages(url: str) -> list[tuple[Reading, ...]]:
    from anthropic import AsyncAnthropic

    model = AnthropicModel(MODEL, base_url=url)
    async with AsyncAnthropic(api_key="none", base_url=url) as client:
        return await measure(lambda context: bare_messages(client, context), model)


async def measure_chat(url: str) -> list[tuple[Reading, ...]]:
    from openai import AsyncOpenAI

    model = OpenAIModel(MODEL, base_url=url)
    async with AsyncOpenAI(api_key="none", base_url=url) as client:
        return await measure(lambda context: bare_chat(client, context), model)


async def measure(
    bare: Callable[[CompiledContext], AsyncIterator[str]], model: Any
) -> list[tuple[Reading, ...]]:
    """Return the readings of each round: bare, through the adapter, through a session."""
    context = context_of(["You are kind."], [Message("user", (Text(QUESTION),))])
    ways = (lambda: bare(context), lambda: adapted(model, context), lambda: in_session(model))
    rounds = []
    for number in range(ROUNDS + WARM_UP):
        readings: dict[int, Reading] = {}
        for way in range(len(ways)):
            place = (way + number) % len(ways)
            readings[place] = await timed(ways[place]())
        rounds.append(tuple(readings[place] for place in range(len(ways))))
    await model.aclose()
    return rounds[WARM_UP:]


def estimating() -> float:
    """Return the seconds that the estimate of a long text takes, the dearer of two kinds of text."""
    slowest = 0.0
    for text in ("x" * ESTIMATED, "ü" * (ESTIMATED // 2)):
        takes = []
        for _ in range(50):
            started = time.perf_counter()
            estimate(text)
            takes.append(time.perf_counter() - started)
        slowest = max(slowest, statistics.median(takes))
    return slowest


def main() -> None:
    for api, server, measuring in (
        ("Messages", "fake_messages", measure_messages),
        ("Chat Completions", "fake_chat", measure_chat),
    ):
        with served(server) as url:
            report(api, asyncio.run(measuring(url)))
    print(
        f"the estimate of {ESTIMATED:,} bytes: {estimating() * 1e3:.3f} ms (target ≤ {TARGET_ESTIMATE * 1e3:.0f} ms)"
    )


def report(api: str, rounds: list[tuple[Reading, ...]]) -> None:
    """Print the table of one API."""
    assert len({reading.characters for readings in rounds for reading in readings}) == 1
    print(f"| {api} | bare SDK | through the adapter | through a session | target |\n|---|---|---|---|---|")
    for label, field, target in (
        ("first text", "first", f"≤ {TARGET_FIRST * 1e3:.0f} ms added"),
        (f"{DELTAS:,} deltas", "whole", ""),
    ):
        cells = []
        for way in range(3):
            middle = statistics.median(getattr(readings[way], field) for readings in rounds)
            added = statistics.median(getattr(r[way], field) - getattr(r[0], field) for r in rounds)
            cells.append(f"{middle * 1e3:.1f} ms" + (f" ({added * 1e3:+.2f})" if way else ""))
        print(f"| {label} | {' | '.join(cells)} | {target} |")
    rates = [DELTAS / statistics.median(readings[way].whole for readings in rounds) for way in range(3)]
    print(f"| deltas a second | {' | '.join(f'{rate:,.0f}' for rate in rates)} | ≥ {TARGET_RATE:,} |")
    print()


if __name__ == "__main__":
    main()
