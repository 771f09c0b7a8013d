"""``session.verify()`` finds what was changed behind the session's back, in the very file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Session
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import ScriptedModel, call
from tests.support.notepad import Notepad
from tests.support.stored import edit_rows, edit_texts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def opened(path: Path, *responses: Any) -> Session:
    store = SqlStore(f"sqlite:///{path}")
    return App(Notepad, model=ScriptedModel(*responses), store=store).session("s")


async def talked(path: Path) -> Session:
    """Return a session of four ticks; all but the first show a note, the last two a long message."""
    session = opened(path, [call("add_note", note=NOTE)], "done", "fine", "good")
    await session.send("the first message")
    await session.send("the second message" + " and more" * 200)
    await session.send("the third message")
    return session


NOTE = "buy milk" + " and bread" * 50
"""Too long for a tick's row: it is kept as a text."""


def rows_of(kind: str, old: str, new: str) -> Callable[[str], str]:
    return lambda line: line.replace(old, new) if line.startswith(f'["{kind}",') else line


CHANGES: dict[str, tuple[Callable[..., None], Callable[[str], str | None], list[int]]] = {
    "a shared part": (edit_texts, lambda text: text.replace("- buy milk", "- buy wine"), [1, 2, 3]),
    "a short part": (edit_rows, rows_of("tick", "a friendly", "an angry"), [0, 1, 2, 3]),
    "a message": (edit_rows, rows_of("entry", "the third", "another"), [3]),
    "a long message": (edit_texts, lambda text: text.replace("the second", "another"), [2, 3]),
    "a tool's schema": (edit_texts, lambda text: text.replace("Keep a note", "Burn a note"), [0, 1, 2, 3]),
    "a part that is no JSON now": (
        edit_texts,
        lambda text: '"{"' if "- buy milk" in text else text,
        [1, 2, 3],
    ),
    "a part that is gone": (edit_texts, lambda text: None if "- buy milk" in text else text, [1, 2, 3]),
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
    edit, change, wrong = CHANGES[what]
    edit(path, change)
    assert session.verify() == wrong
    await session.aclose()


async def test_a_stored_hash_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    session = await talked(path)
    sent = session.ticks[1].context.hash
    edit_rows(path, rows_of("tick", sent, "0" * len(sent)))
    assert session.verify() == [1]
    await session.aclose()
    assert opened(path).verify() == [1]


async def test_a_session_in_memory_and_one_of_no_store_have_nothing_that_differs() -> None:
    for store in (MemoryStore(), None):
        session = App(Notepad, model=ScriptedModel("a"), store=store).session("s")
        await session.send("hi")
        assert session.verify() == []
