"""What a durable record costs: an append of a tick's size, and opening a long session.

The file lies in the system's temporary folder: with ``TMPDIR=…`` another disk is measured.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path

from nbsession.stores import MemoryStore, Row, SessionStore, SqlStore

TICKS = 1_000
ENTRIES = 5_000
OPENINGS = 9


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


def openings(url: str) -> list[float]:
    entries = [Row("entry", f"{n}", {"role": "user", "text": f"message {n} " * 20}) for n in range(ENTRIES)]
    store = SqlStore(url)
    store.append("long", entries, revision=0)
    store.close()
    taken = []
    for _ in range(OPENINGS):
        started = time.perf_counter()
        store = SqlStore(url)
        loaded = store.load("long")
        taken.append((time.perf_counter() - started) * 1_000)
        store.close()
        assert loaded == entries
    return taken


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
        over = [kept - statistics.median(memory) for kept in durable]
        show("  over memory", over, "median at most 5")
        show("append one small row, SQLite", small_appends(store), "median at most 1")
        show("append a tick, two threads with a session each", parallel_appends(store), "longest at most 50")
        store.close()
        show(f"open the file and load {ENTRIES:,} entries", openings(url), "median at most 150")


if __name__ == "__main__":
    main()
