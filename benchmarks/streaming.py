"""What the adapter adds to the SDK's raw stream, against the same server on the loopback.

The server is a process of its own that sends 2,000 deltas an answer. Each round
reads one answer bare and one through the adapter, in changing order; the figures
are medians over the rounds, the added ones over paired differences. The reader of
the adapter gets finished model events.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from nbsession.content import Message, Text
from nbsession.context import context_of
from nbsession.events import TextDelta
from nbsession.models.anthropic import AnthropicModel
from nbsession.models.anthropic_request import request_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from anthropic import AsyncAnthropic

    from nbsession.context import CompiledContext

DELTAS = 2_000
ROUNDS = 15
MODEL = "claude-test-1"
TARGET_FIRST = 0.005


class Reading(NamedTuple):
    """Seconds to the first text and to the end, and how many deltas came."""

    first: float
    whole: float
    deltas: int


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
    count = 0
    async for _ in deltas:
        if not count:
            first = time.perf_counter() - started
        count += 1
    return Reading(first, time.perf_counter() - started, count)


async def bare(client: AsyncAnthropic, context: CompiledContext) -> AsyncIterator[str]:
    async with await client.messages.create(**request_of(context, MODEL), stream=True) as stream:
        async for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                yield event.delta.text


async def adapted(model: AnthropicModel, context: CompiledContext) -> AsyncIterator[str]:
    async for event in model.stream(context):
        if isinstance(event, TextDelta):
            yield event.text


async def measure(url: str) -> list[tuple[Reading, Reading]]:
    from anthropic import AsyncAnthropic

    context = context_of(["You are kind."], [Message("user", (Text("Tell me a long story."),))])
    model = AnthropicModel(MODEL, base_url=url)
    pairs = []
    async with AsyncAnthropic(api_key="none", base_url=url) as client:
        for number in range(ROUNDS + 2):
            if number % 2:
                ours = await timed(adapted(model, context))
                theirs = await timed(bare(client, context))
            else:
                theirs = await timed(bare(client, context))
                ours = await timed(adapted(model, context))
            pairs.append((theirs, ours))
    await model.aclose()
    return pairs[2:]  # the first two open connections and compile validators


def main() -> None:
    with served() as url:
        pairs = asyncio.run(measure(url))
    assert {reading.deltas for pair in pairs for reading in pair} == {DELTAS}
    first = statistics.median(ours.first - theirs.first for theirs, ours in pairs)
    each = statistics.median((ours.whole - theirs.whole) / DELTAS for theirs, ours in pairs)
    print("| | bare SDK | through the adapter | added | target |\n|---|---|---|---|---|")
    for label, name, added, target in (
        ("first text", "first", first * 1e3, f"≤ {TARGET_FIRST * 1e3:.0f} ms"),
        (f"{DELTAS:,} deltas", "whole", each * DELTAS * 1e3, ""),
    ):
        theirs, ours = (statistics.median(getattr(pair[side], name) for pair in pairs) for side in (0, 1))
        print(f"| {label} | {theirs * 1e3:.1f} ms | {ours * 1e3:.1f} ms | {added:+.2f} ms | {target} |")
    whole = statistics.median(ours.whole for _, ours in pairs)
    print(f"\n{each * 1e6:.1f} µs added a delta; {DELTAS / whole:,.0f} deltas a second through the adapter")


if __name__ == "__main__":
    main()
