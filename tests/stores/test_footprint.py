"""What a session takes on disk: its distinct text, and little more."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbsession import App, Section, Session, System, Timeline, component, tool, use_state
from nbsession.content import Text
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nbsession.content import Entry
    from nbsession.context import CompiledContext

TICKS = 200
CHANCE = random.Random(20)
WORDS = ["".join(CHANCE.choices("aeioubcdfgklmnprst", k=CHANCE.randint(2, 9))) for _ in range(3_000)]
HANDBOOK = [" ".join(CHANCE.choices(WORDS, k=1_000)) for _ in range(4)]


@component
def Reader(words: int) -> Any:
    """Reads pages of so many words, with a handbook before the conversation and a section behind it."""
    read, set_read = use_state(0)

    @tool
    def page(number: int) -> str:
        """Read a page."""
        set_read(lambda count: count + 1)
        return " ".join(CHANCE.choices(WORDS, k=words))

    chapters = [
        Section(text, id=f"chapter-{number}", title=f"Chapter {number}")
        for number, text in enumerate(HANDBOOK)
    ]
    return [
        System("You read."),
        *chapters,
        page,
        Timeline(max_tokens=20_000),
        Section(f"{read} pages are read.", id="read", title="Read"),
    ]


async def footprint(folder: Path, words: int) -> tuple[list[CompiledContext], int, int]:
    """Have 200 ticks, in executions of ten; return their contexts, the bytes of their distinct text and of the file."""
    responses = [
        "That was it." if number % 10 == 9 else call("page", number=number) for number in range(TICKS)
    ]
    store = SqlStore(f"sqlite:///{folder}/sessions.db")
    session = App(Reader, model=ScriptedModel(*responses), store=store).session("s", words=words)
    for number in range(TICKS // 10):
        await session.send(f"Read on, part {number}.")
    contexts = [tick.context for tick in session.ticks]
    distinct = {part.text for context in contexts for part in context.parts}
    await session.aclose()
    store.close()
    assert len(contexts) == TICKS
    size = (folder / "sessions.db").stat().st_size
    return contexts, sum(len(text.encode()) for text in distinct), size


async def test_200_ticks_over_27_000_tokens_take_little_more_than_their_distinct_text(tmp_path: Path) -> None:
    contexts, distinct, size = await footprint(tmp_path, words=2_000)
    assert 24_000 < contexts[-1].tokens < 30_000
    sent = sum(len(part.text) for context in contexts for part in context.parts)
    assert sent > 5 * distinct, "what was sent was mostly sent before"
    assert size <= 1.5 * distinct


async def test_what_is_kept_of_the_ticks_is_exactly_what_they_sent(tmp_path: Path) -> None:
    contexts, _, _ = await footprint(tmp_path, words=300)
    store = SqlStore(f"sqlite:///{tmp_path}/sessions.db")
    session = App(Reader, model=ScriptedModel(), store=store).session("s", words=300)
    assert session.verify() == []
    for tick, sent in zip(session.ticks, contexts, strict=True):
        assert [part.to_dict() for part in tick.context.parts] == [part.to_dict() for part in sent.parts]
        assert tick.context.to_dict() == sent.to_dict()
    await session.aclose()
    store.close()


async def test_a_tick_that_says_nothing_new_takes_few_bytes(tmp_path: Path) -> None:
    _, distinct, size = await footprint(tmp_path, words=1)
    assert (size - distinct) / TICKS < 4_000


def redact(entries: Sequence[Entry]) -> list[Entry]:
    return [replace(entry, content=(Text(str(entry).replace("secret", "***")),)) for entry in entries]


def latest(entries: Sequence[Entry]) -> Sequence[Entry]:
    return entries[-30:]


async def test_what_policies_show_is_kept_as_it_grows_and_comes_back(tmp_path: Path) -> None:
    policies = [redact, latest]

    def opened() -> tuple[SqlStore, Session]:
        store = SqlStore(f"sqlite:///{tmp_path}/sessions.db")
        model = ScriptedModel(*["A secret answer. "] * 100)
        return store, App(Timeline(), model=model, store=store, policies=policies).session("s")

    sent = []
    for _ in range(2):
        store, session = opened()
        for number in range(50):
            sent += [tick.context.to_dict() for tick in (await session.send(f"secret {number}")).ticks]
        await session.aclose()
        store.close()
    store, session = opened()
    rows = [row for _, row in store.rows("s", kinds=["policy"])]
    assert len(rows) == 200
    assert sum(len(json.dumps(row.data)) for row in rows) < 200_000
    assert session.verify() == []
    assert [tick.context.to_dict() for tick in session.ticks] == sent
    assert "secret" not in str(session.compile())
    await session.aclose()
    store.close()
