"""``session.verify()`` finds what was changed behind the session's back, in the very file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nbsession import App, Session
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import ScriptedModel, call
from tests.support.notepad import Notepad


def opened(path: Path, *responses: Any) -> Session:
    store = SqlStore(f"sqlite:///{path}")
    return App(Notepad, model=ScriptedModel(*responses), store=store).session("s")


async def talked(path: Path) -> Session:
    """Return a session of three ticks; the second and the third show a note, the third another message."""
    session = opened(path, [call("add_note", note="buy milk")], "done", "fine")
    await session.send("the first message")
    await session.send("the second message")
    return session


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement).rowcount > 0, "nothing was changed"


CHANGES = {
    "a shared part": ("UPDATE texts SET text = replace(text, '- buy milk', '- buy wine')", [1, 2]),
    "a message": ("UPDATE rows SET data = replace(data, 'the second', 'another') WHERE kind = 'entry'", [2]),
    "a tool's schema": ("UPDATE texts SET text = replace(text, 'Keep a note', 'Burn a note')", [0, 1, 2]),
    "a part that is no JSON now": ("UPDATE texts SET text = '\"{\"' WHERE text LIKE '%- buy milk%'", [1, 2]),
    "a part that is gone": ("DELETE FROM texts WHERE text LIKE '%- buy milk%'", [1, 2]),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("when", ["open", "opened again"])
async def test_the_ticks_whose_stored_context_was_changed_are_named(
    what: str, when: str, tmp_path: Path
) -> None:
    path = tmp_path / "s.db"
    session = await talked(path)
    assert session.verify() == []
    if when == "opened again":
        await session.aclose()
        session = opened(path)
        assert session.verify() == []
    statement, wrong = CHANGES[what]
    change(path, statement)
    assert session.verify() == wrong
    await session.aclose()


async def test_a_stored_hash_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    session = await talked(path)
    sent = session.ticks[1].context.hash
    change(path, f"UPDATE rows SET data = replace(data, '{sent}', '{'0' * len(sent)}') WHERE kind = 'tick'")
    assert session.verify() == [1]
    await session.aclose()
    assert opened(path).verify() == [1]


async def test_a_session_in_memory_and_one_of_no_store_have_nothing_that_differs() -> None:
    for store in (MemoryStore(), None):
        session = App(Notepad, model=ScriptedModel("a"), store=store).session("s")
        await session.send("hi")
        assert session.verify() == []
