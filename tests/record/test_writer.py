"""The thread that writes: one for all sessions of a file, which hands in at once what came at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from nbsession.errors import NbsessionError, StoreError
from nbsession.record.journal import Journal, Rows
from nbsession.stores import MemoryStore, Row, SqlStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from nbsession.stores.base import Append


class Gated:
    """A store that takes appends together, and waits with them until it may write."""

    blocking = True

    def __init__(self) -> None:
        self.kept = MemoryStore()
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        self.began, self.may = threading.Event(), threading.Event()
        self.refused: dict[str, Exception] = {}
        self.forgets = False

    def __getattr__(self, name: str) -> object:
        return getattr(self.kept, name)

    def append(self, *given: Any, **options: Any) -> int:
        return self.kept.append(*given, **options)

    def append_together(self, appends: Sequence[Append]) -> list[int | Exception]:
        self.began.set()
        assert self.may.wait(30)
        self.batches.append([one.session for one in appends])
        self.threads.add(threading.current_thread().name)
        return [
            self.refused.get(one.session)
            or self.kept.append(one.session, one.rows, one.texts, revision=one.revision, token=one.token)
            for one in appends[self.forgets :]
        ]


@pytest.fixture
def store() -> Iterator[Gated]:
    made = Gated()
    yield made
    made.may.set()


def a_row(number: int = 0) -> Rows:
    return Rows([Row("head", str(number), {"head": None})])


async def begun(store: Gated) -> None:
    assert await asyncio.to_thread(store.began.wait, 30)


async def test_what_comes_while_it_writes_is_written_at_once(store: Gated) -> None:
    journals = [Journal(store, f"s{number}") for number in range(5)]  # type: ignore[arg-type]
    first = asyncio.create_task(journals[0].append(a_row()))
    await begun(store)
    others = [asyncio.create_task(journal.append(a_row())) for journal in journals[1:]]
    again = asyncio.create_task(journals[1].append(a_row(1)))
    await asyncio.sleep(0)  # each has asked
    store.may.set()
    await asyncio.gather(first, *others, again)
    assert store.batches == [["s0"], ["s1", "s2", "s3", "s4"]]
    assert len(store.threads) == 1
    assert [journal.revision for journal in journals] == [1, 2, 1, 1, 1]
    assert [row.key for row in store.kept.load("s1") or ()] == ["0", "1"]
    for journal in journals:
        journal.close()


async def test_an_error_is_told_to_whom_it_concerns_and_what_was_not_kept_goes_with_the_next(
    store: Gated,
) -> None:
    store.may.set()
    good, bad = Journal(store, "good"), Journal(store, "bad")  # type: ignore[arg-type]
    store.refused["bad"] = StoreError("the disk is full", location="here")
    outcomes = await asyncio.gather(good.append(a_row()), bad.append(a_row()), return_exceptions=True)
    assert outcomes[0] is None
    assert isinstance(outcomes[1], NbsessionError)
    assert "the disk is full" in bad.trouble
    assert not good.trouble
    del store.refused["bad"]
    await bad.append(a_row(1))
    assert bad.revision == 2
    assert not bad.trouble


async def test_a_store_that_forgets_one_leaves_nobody_waiting(store: Gated) -> None:
    store.may.set()
    store.forgets = True
    with pytest.raises(ValueError, match="shorter"):
        await asyncio.wait_for(Journal(store, "s").append(a_row()), 30)  # type: ignore[arg-type]


async def test_who_is_cancelled_while_it_writes_waits_for_it(store: Gated) -> None:
    journal = Journal(store, "s")  # type: ignore[arg-type]
    writing = asyncio.create_task(journal.append(a_row()))
    await begun(store)
    writing.cancel()
    store.may.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert journal.revision == 1


async def test_closing_waits_for_what_was_asked_for_and_leaves_the_writer_to_the_others(store: Gated) -> None:
    one, other = Journal(store, "one"), Journal(store, "other")  # type: ignore[arg-type]
    writing = asyncio.create_task(one.append(a_row()))
    await begun(store)
    threading.Timer(0.05, store.may.set).start()
    await asyncio.to_thread(one.close)
    assert store.kept.revision("one") == 1
    await writing
    other.append_now(a_row())
    assert store.kept.revision("other") == 1


async def test_whoever_waited_on_a_loop_that_ended_holds_up_nobody(store: Gated) -> None:
    gone, here = Journal(store, "gone"), Journal(store, "here")  # type: ignore[arg-type]
    loop = asyncio.new_event_loop()

    def leave() -> None:
        task = loop.create_task(gone.append(a_row()))
        loop.run_until_complete(asyncio.sleep(0))
        assert store.began.wait(30)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()

    await asyncio.to_thread(leave)
    store.may.set()
    await here.append(a_row())
    assert store.kept.revision("gone") == store.kept.revision("here") == 1


def test_what_is_kept_while_the_interpreter_ends_is_kept(tmp_path: Path) -> None:
    program = """
import asyncio, atexit, sys
from nbsession.record.journal import Journal, Rows
from nbsession.stores import Row, SqlStore

store = SqlStore(sys.argv[1])
journal = Journal(store, "s")
asyncio.run(journal.append(Rows([Row("head", "0", {})])))

@atexit.register
def last():
    journal.append_now(Rows([Row("head", "1", {})]))
    journal.close()
"""
    url = f"sqlite:///{tmp_path}/s.db"
    ended = subprocess.run(
        [sys.executable, "-c", program, url], check=False, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    store = SqlStore(url)
    assert (store.revision("s"), store.holder("s")) == (2, "")
    store.close()


async def test_all_sessions_of_a_file_have_one_thread(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    journals = [Journal(store, f"s{number}") for number in range(20)]
    before = writers()
    await asyncio.gather(*[journal.append(a_row()) for journal in journals])
    assert len(writers() - before) == 1
    for journal in journals:
        await asyncio.to_thread(journal.close)
    assert all(store.revision(f"s{number}") == 1 for number in range(20))
    store.close()


def writers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("nbsession-store")}
