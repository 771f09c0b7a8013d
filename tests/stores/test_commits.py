"""Appends of several sessions that come at the same moment: one transaction, each as if it were alone."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from nbsession.errors import SessionBusyError
from nbsession.stores import Row, SqlStore
from nbsession.stores.commits import Commits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROW = Row("head", "", {"head": None})


class Turns:
    """A turn that somebody has until others wait for it."""

    def __init__(self) -> None:
        self.transactions: list[list[str]] = []
        self.turn = threading.Lock()
        self.commits = Commits(self.turn)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        made: list[str] = []
        yield made
        self.transactions.append(made)

    def together(self, *writes: Callable[[Any], Any]) -> list[Any]:
        """Hand writes in while the turn is taken; return what each of them gave or raised."""
        outcomes: list[Any] = [None] * len(writes)

        def make(at: int) -> None:
            try:
                outcomes[at] = self.commits.make(writes[at], self.transaction)
            except Exception as error:  # noqa: BLE001  # looked at by the test
                outcomes[at] = error

        threads = [threading.Thread(target=make, args=(at,)) for at in range(len(writes))]
        with self.turn:
            for count, thread in enumerate(threads, 1):
                thread.start()
                while len(self.commits._waiting) < count:
                    pass
        for thread in threads:
            thread.join()
        return outcomes


def writing(name: str) -> Callable[[Any], str]:
    def write(made: list[str]) -> str:
        made.append(name)
        return name

    return write


def failing(_: Any) -> None:
    raise SessionBusyError("another one wrote")


def test_writes_that_wait_for_the_same_turn_are_one_transaction_in_the_order_they_came() -> None:
    turns = Turns()
    assert turns.together(*map(writing, "abc")) == ["a", "b", "c"]
    assert turns.transactions == [["a", "b", "c"]]
    assert turns.commits.make(writing("d"), turns.transaction) == "d"
    assert turns.transactions[1:] == [["d"]]


def test_a_write_that_fails_takes_no_other_along() -> None:
    turns = Turns()
    a, failure, b = turns.together(writing("a"), failing, writing("b"))
    assert (a, b, str(failure)) == ("a", "b", "another one wrote")
    assert turns.transactions == [["a"], ["b"]]


def test_who_is_interrupted_leaves_the_others_to_themselves() -> None:
    turns = Turns()

    def interrupted(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        turns.commits.make(interrupted, turns.transaction)
    assert turns.together(writing("a"), writing("b")) == ["a", "b"]
    assert turns.commits._waiting == []


def test_sessions_that_append_at_once_keep_all_of_it_and_those_that_may_not_keep_nothing(
    tmp_path: Path,
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    counts = dict.fromkeys("abcdefgh", 0)
    refused: list[str] = []

    def write(session: str) -> None:
        token = store.acquire(session, "me", 20)
        for number in range(40):
            if number % 10 == 9:
                with pytest.raises(SessionBusyError):
                    store.append(session, [ROW], {"d" + session: "text"}, revision=number + 5, token=token)
                refused.append(session)
            counts[session] = store.append(
                session, [Row("head", str(number), {})], revision=counts[session], token=token
            )

    threads = [threading.Thread(target=write, args=(session,)) for session in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 32
    for session in counts:
        rows = store.load(session)
        assert rows is not None
        assert [row.key for row in rows] == [str(number) for number in range(40)]
    store.close()
