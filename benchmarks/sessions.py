"""What a list of very many stored sessions costs: one page of it, in each store.

PostgreSQL and Redis run in a temporary folder, and do not wait for the disk.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nbsession.stores import MemoryStore, RedisStore, Row, SessionStore, SqlStore, schema
from tests.support import postgres, redis

if TYPE_CHECKING:
    from collections.abc import Iterator

SESSIONS = 100_000
PAGE = 50
PAGES = 40


def names() -> Iterator[tuple[int, str]]:
    """Give the sessions in the order of their last use, which is not that of their names."""
    return ((number, f"session-{number * 7_919 % SESSIONS:06}") for number in range(SESSIONS))


def fill(store: SqlStore) -> None:
    """Put the sessions there at once: append by append takes minutes."""
    rows = [
        {
            "id": name,
            "revision": 3,
            "created": 1.7e9,
            "updated": 1.7e9 + number,
            "metadata": '{"title":"The quick brown fox"}',
        }
        for number, name in names()
    ]
    with store._writer.begin() as connection:
        connection.execute(schema.sessions.insert(), rows)


def append(store: SessionStore) -> None:
    for _, name in names():
        store.append(name, [Row("session", name, {"metadata": {"title": "The quick brown fox"}})], revision=0)


def pages(store: SessionStore) -> list[float]:
    """Read the first pages and some from the middle of the list; return the milliseconds of each."""
    taken = []
    middle = store.sessions(limit=SESSIONS // 2)[-1].place
    for place in (None, middle):
        for _ in range(PAGES // 2):
            started = time.perf_counter()
            page = store.sessions(after=place, limit=PAGE)
            taken.append((time.perf_counter() - started) * 1_000)
            assert len(page) == PAGE
            place = page[-1].place
    store.close()
    return taken


def show(what: str, taken: list[float], bound: str = "") -> None:
    print(f"{what:<52} {statistics.median(taken):8.3f} {max(taken):8.3f}   {bound}")


def main() -> None:
    print(f"{f'milliseconds for {PAGE} of {SESSIONS:,} sessions':<52} {'median':>8} {'longest':>8}")
    memory = MemoryStore()
    append(memory)
    show("a page, memory", pages(memory))
    with tempfile.TemporaryDirectory() as folder:
        store = SqlStore(f"sqlite:///{Path(folder) / 'sessions.db'}")
        fill(store)
        show("a page, SQLite", pages(store), "at most 20")
    with postgres.server() as socket:
        store = SqlStore(postgres.url(socket))
        fill(store)
        show("a page, PostgreSQL", pages(store), "at most 20")
    with redis.server() as server:
        kept = RedisStore(server.url)
        append(kept)
        show("a page, Redis", pages(kept), "at most 20")


if __name__ == "__main__":
    main()
