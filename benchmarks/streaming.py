"""What adapter and session add to the SDK's raw stream, against the same server on the loopback.

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
from typing import TYPE_CHECKING, NamedTuple

from nbsession import App, System, Timeline, component
from nbsession.content import Message, Text
from nbsession.context import context_of
from nbsession.events import TextDelta
from nbsession.models.anthropic import AnthropicModel
from nbsession.models.anthropic_request import request_of
from nbsession.tokens import estimate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from anthropic import AsyncAnthropic

    from nbsession.context import CompiledContext

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
def served() -> Iterator[str]:
    """Run the server in a process of its own and give its URL."""
    command = [sys.executable, "-m", "tests.support.fake_messages", str(DELTAS)]
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


async def bare(client: AsyncAnthropic, context: CompiledContext) -> AsyncIterator[str]:
    async with await client.messages.create(**request_of(context, MODEL), stream=True) as stream:
        async for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                yield event.delta.text


async def adapted(model: AnthropicModel, context: CompiledContext) -> AsyncIterator[str]:
    async for event in model.stream(context):
        if isinstance(event, TextDelta):
            yield event.text


async def in_session(model: AnthropicModel) -> AsyncIterator[str]:
    session = App(Storyteller, model=model).session()
    async for event in session.send(QUESTION):
        if isinstance(event, TextDelta):
            yield event.text
    await session.aclose()


async def measure(url: str) -> list[tuple[Reading, ...]]:
    """Return the readings of each round: bare, through the adapter, through a session."""
    from anthropic import AsyncAnthropic

    context = context_of(["You are kind."], [Message("user", (Text(QUESTION),))])
    model = AnthropicModel(MODEL, base_url=url)
    rounds = []
    async with AsyncAnthropic(api_key="none", base_url=url) as client:
        ways = (lambda: bare(client, context), lambda: adapted(model, context), lambda: in_session(model))
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
    with served() as url:
        rounds = asyncio.run(measure(url))
    assert len({reading.characters for readings in rounds for reading in readings}) == 1
    print("| | bare SDK | through the adapter | through a session | target |\n|---|---|---|---|---|")
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
    print(
        f"\nthe estimate of {ESTIMATED:,} bytes: {estimating() * 1e3:.3f} ms (target ≤ {TARGET_ESTIMATE * 1e3:.0f} ms)"
    )


if __name__ == "__main__":
    main()
