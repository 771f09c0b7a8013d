"""What a durable record costs: an append of a tick's size, and opening a long session.

The file, and what a Redis server writes each second, lie in the system's temporary folder: with ``TMPDIR=…``
another disk is measured.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from nbsession import App, System, Timeline, component
from nbsession.stores import MemoryStore, RedisStore, Row, SessionStore, SqlStore, default_store
from nbsession.testing import ScriptedModel
from tests.support import redis

TICKS = 1_000
SENDS = 200
MESSAGES = 5_000
EVENTS = 100_000
OPENINGS = 9


@component
def Talk() -> object:
    """A plain conversation."""
    return [System("You talk. " * 200), Timeline()]


def tick(number: int) -> list[Row]:
    """Return the rows of one tick: its compiled context by digests, the response, a tool's start and result."""
    text = "The quick brown fox jumps over the lazy dog. " * 8
    return [
        Row("tick", f"{number}", {"parts": [f"{part:064x}" for part in range(12)], "tokens": 27_000}),
        Row(
            "entry", f"{number}-response", {"role": "assistant", "content": [{"type": "text", "text": text}]}
        ),
        Row("execution", f"{number}-started", {"tool": "search", "input": {"query": "fox"}}),
        Row("entry", f"{number}-result", {"role": "tool", "content": [{"type": "text", "text": text}]}),
        Row("state", f"{number}", {"App/0": {"notes": ["a", "b", "c"]}, "knobs": {"tone": "terse"}}),
    ]


def tick_appends(store: SessionStore, session: str) -> list[float]:
    """Append each tick's rows and one text of 2,000 characters; return the milliseconds of each."""
    taken, revision = [], 0
    for number in range(TICKS):
        rows, texts = tick(number), {f"{session}-{number}": "x" * 2_000}
        started = time.perf_counter()
        revision = store.append(session, rows, texts, revision=revision)
        taken.append((time.perf_counter() - started) * 1_000)
    return taken


def small_appends(store: SessionStore) -> list[float]:
    taken, revision = [], 0
    for number in range(TICKS):
        rows = [Row("head", "head", {"entry": f"{number}"})]
        started = time.perf_counter()
        revision = store.append("small", rows, revision=revision)
        taken.append((time.perf_counter() - started) * 1_000)
    return taken


def parallel_appends(store: SessionStore) -> list[float]:
    taken: list[float] = []

    def write(session: str) -> None:
        taken.extend(tick_appends(store, session))

    threads = [threading.Thread(target=write, args=(session,)) for session in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def process_appends(url: str) -> list[float]:
    """Append ticks from two processes at once, each to a session of its own in one file."""
    code = (
        "import sys; from benchmarks import store; opened = store.SqlStore(sys.argv[1]); print('ready', flush=True); "
        "sys.stdin.readline(); print(*store.tick_appends(opened, sys.argv[2])); opened.close()"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, url, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("here", "there")
    ]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    return [float(one) for writer in writers for one in writer.communicate()[0].split()]


async def session_ticks(store: SessionStore) -> list[float]:
    """Send messages to a session of a store; return the milliseconds of each, one tick long."""
    session = App(Talk, model=ScriptedModel(*["The quick brown fox. " * 20] * SENDS), store=store).session(
        "ticks"
    )
    taken = []
    for number in range(SENDS):
        started = time.perf_counter()
        await session.send(f"message {number}")
        taken.append((time.perf_counter() - started) * 1_000)
    await session.aclose()
    return taken


async def make_long_session(url: str) -> None:
    """Keep a session of so many messages, as sending them makes it."""
    store = default_store(url)
    session = App(Talk, model=ScriptedModel(*["The quick brown fox. " * 20] * MESSAGES), store=store).session(
        "long"
    )
    for number in range(MESSAGES // 2):
        await session.send(f"message {number} " * 10)
    await session.aclose()
    store.close()


def openings(url: str) -> list[float]:
    """Open the file and the session in it; return the milliseconds of each time."""
    taken = []
    for _ in range(OPENINGS):
        started = time.perf_counter()
        store = default_store(url)
        session = App(Talk, model=ScriptedModel(), store=store).session("long")
        taken.append((time.perf_counter() - started) * 1_000)
        assert len(session.timeline) == MESSAGES
        session.close()
        store.close()
    return taken


async def subscription(url: str) -> float:
    """Read all events of the stored session; return how many came in a second."""
    store = default_store(url)
    session = App(Talk, model=ScriptedModel(), store=store).session("long")
    started, count, last = time.perf_counter(), 0, session._core.feed.sequence
    async for event in session.subscribe(after=0):
        count += 1
        if event.sequence == last:
            break
    rate = count / (time.perf_counter() - started)
    await session.aclose()
    store.close()
    return rate


def stream(url: str) -> float:
    """Read 100,000 rows of an event each; return how many came in a second."""
    store = default_store(url)
    events = [
        Row("event", f"{n}", {"type": "tool_start", "sequence": n, "call": f"call_{n}"})
        for n in range(EVENTS)
    ]
    store.append("events", events, revision=0)
    started = time.perf_counter()
    assert sum(1 for _ in store.rows("events", kinds=["event"])) == EVENTS
    rate = EVENTS / (time.perf_counter() - started)
    store.close()
    return rate


def show_rate(what: str, rate: float) -> None:
    print(f"{what:<52} {rate:8,.0f} a second   at least 20,000")


def show(what: str, taken: list[float], bound: str = "") -> None:
    print(f"{what:<52} {statistics.median(taken):8.3f} {max(taken):8.3f}   {bound}")


def main() -> None:
    print(f"{'milliseconds':<52} {'median':>8} {'longest':>8}")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'sessions.db'}"
        store = SqlStore(url)
        memory, durable = tick_appends(MemoryStore(), "memory"), tick_appends(store, "sqlite")
        show("append a tick (5 rows and a text), memory", memory)
        show("append a tick (5 rows and a text), SQLite", durable)
        show("  over memory", above(durable, memory), "median at most 5")
        show("append one small row, SQLite", small_appends(store), "median at most 1")
        show("append a tick, two threads with a session each", parallel_appends(store), "longest at most 50")
        show("append a tick, two processes with a session each", process_appends(url), "longest at most 50")
        in_memory, on_disk = asyncio.run(session_ticks(MemoryStore())), asyncio.run(session_ticks(store))
        show("a session's tick, memory", in_memory)
        show("a session's tick, SQLite", on_disk)
        show("  over memory", above(on_disk, in_memory), "median at most 5")
        store.close()
        asyncio.run(make_long_session(url))
        show(f"open the file and a session of {MESSAGES:,} messages", openings(url), "median at most 150")
        show_rate("a stored session's events to a subscriber", asyncio.run(subscription(url)))
        show_rate(f"{EVENTS:,} stored rows, streamed", stream(url))
    with redis.server("--appendonly", "yes", "--appendfsync", "everysec") as server:
        kept = RedisStore(server.url)
        show("append a tick (5 rows and a text), Redis", tick_appends(kept, "redis"))
        show("append one small row, Redis", small_appends(kept))
        show("a session's tick, Redis", asyncio.run(session_ticks(kept)))
        kept.close()
        asyncio.run(make_long_session(server.url))
        show(f"open Redis and a session of {MESSAGES:,} messages", openings(server.url))
        show_rate("a session's events from Redis to a subscriber", asyncio.run(subscription(server.url)))
        show_rate(f"{EVENTS:,} rows streamed from Redis", stream(server.url))


def above(taken: list[float], floor: list[float]) -> list[float]:
    middle = statistics.median(floor)
    return [one - middle for one in taken]


if __name__ == "__main__":
    main()
