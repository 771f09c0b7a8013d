"""What a session takes on disk: its distinct text, and little more."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

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
LETTERS = "aeioubcdfgklmnprst"
WORDS = ["".join(CHANCE.choices(LETTERS, k=CHANCE.randint(2, 9))) for _ in range(3_000)]


def prose(characters: int) -> str:
    """Return words of a vocabulary of 3,000, which compress as well as prose does."""
    return " ".join(CHANCE.choices(WORDS, k=characters // 4))[:characters]


def noise(characters: int) -> str:
    """Return letters that follow from nothing, which is as little as text compresses."""
    return "".join(CHANCE.choices(LETTERS.upper() + LETTERS + " ,.;", k=characters))


@component
def Reader(handbook: str, size: int, counts: bool = False) -> Any:
    """Reads pages of so many characters, with a handbook before the conversation and maybe a section behind it."""
    read, set_read = use_state(0)

    @tool
    def page(number: int) -> str:
        """Read a page."""
        set_read(lambda count: count + 1)
        return f"Page {number}: {prose(size)}"

    quarter = len(handbook) // 4
    return [
        System("You read."),
        *[
            Section(handbook[n * quarter : (n + 1) * quarter], id=f"part-{n}", title=f"Part {n}")
            for n in range(4)
        ],
        page,
        Timeline(),
        counts and Section(f"{read} pages are read.", id="read", title="Read"),
    ]


async def footprint(
    folder: Path, *, handbook: str, size: int = 20, loop: int = 10, message: int = 30, counts: bool = False
) -> tuple[list[CompiledContext], int, int]:
    """Have 200 ticks, in executions of ``loop``; return their contexts, the bytes of their distinct text and on disk.

    A part's text counts once, whatever it is part of. On disk is all that lies in the folder
    after the session was closed, and no less than after the store was, too.
    """
    responses = [
        "That was it." if number % loop == loop - 1 else call("page", number=number)
        for number in range(TICKS)
    ]
    store = SqlStore(f"sqlite:///{folder}/sessions.db")
    app = App(Reader, model=ScriptedModel(*responses), store=store, max_ticks=loop)
    session = app.session("s", handbook=handbook, size=size, counts=counts)
    for number in range(TICKS // loop):
        await session.send(f"Read on, part {number}. {prose(message)}")
    contexts = [tick.context for tick in session.ticks]
    distinct = {part.text for context in contexts for part in context.parts}
    await session.aclose()
    size = on_disk(folder)
    store.close()
    assert len(contexts) == TICKS
    return contexts, sum(len(text.encode()) for text in distinct), max(size, on_disk(folder))


def on_disk(folder: Path) -> int:
    """Return the bytes of the file and its log."""
    return sum(path.stat().st_size for path in folder.iterdir() if not path.name.endswith("-shm"))


HANDBOOK = prose(20_000)

CASES: dict[str, tuple[dict[str, Any], float]] = {
    "short messages": ({"loop": 1}, 1.4),
    "long tool loops": ({"loop": 50}, 1.4),
    "a section that changes at each tick": ({"loop": 50, "counts": True}, 1.5),
    "messages of 5,000 characters": ({"loop": 1, "message": 5_000}, 0.75),
    "pages of 12,000 characters": ({"loop": 10, "size": 12_000}, 0.75),
}


@pytest.mark.parametrize("case", CASES)
async def test_200_ticks_over_27_000_tokens_take_little_more_than_their_distinct_text(
    case: str, tmp_path: Path
) -> None:
    arguments, bound = CASES[case]
    contexts, distinct, size = await footprint(tmp_path, handbook=prose(108_000), **arguments)
    assert contexts[0].tokens > 27_000
    assert size <= bound * distinct


async def test_text_that_hardly_compresses_takes_no_more_than_half_as_much_again(tmp_path: Path) -> None:
    _, distinct, size = await footprint(tmp_path, handbook=noise(108_000), loop=1)
    assert size <= 1.5 * distinct


@pytest.mark.parametrize(("message", "bound"), [(350, 1.5), (700, 1.2)])
async def test_a_talk_in_messages_of_a_paragraph_takes_no_more_than_half_as_much_again(
    message: int, bound: float, tmp_path: Path
) -> None:
    _, distinct, size = await footprint(tmp_path, handbook="", loop=1, message=message)
    assert size <= bound * distinct


@pytest.mark.parametrize("loop", [1, 50])
async def test_what_a_tick_takes_beside_its_text_is_a_third_of_a_kilobyte(loop: int, tmp_path: Path) -> None:
    _, distinct, size = await footprint(tmp_path, handbook="", loop=loop)
    assert size - distinct <= 333 * TICKS


async def test_a_long_message_that_is_sent_again_and_again_is_kept_once(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/sessions.db")
    app = App(Timeline(), model=ScriptedModel(*["Read."] * 400), store=store)
    message = noise(50_000)
    for name in ("one", "two"):
        session = app.session(name)
        for _ in range(50):
            assert (await session.send(message)).text == "Read."
        await session.aclose()
    assert on_disk(tmp_path) < 3 * len(message)
    again = app.session("one")
    assert [entry.text for entry in again.timeline] == [message, "Read."] * 50
    assert again.verify() == []
    await again.aclose()
    store.close()


async def test_what_is_kept_of_the_ticks_is_exactly_what_they_sent(tmp_path: Path) -> None:
    contexts, _, _ = await footprint(tmp_path, handbook=HANDBOOK, size=2_000, counts=True)
    store = SqlStore(f"sqlite:///{tmp_path}/sessions.db")
    session = App(Reader, model=ScriptedModel(), store=store).session(
        "s", handbook=HANDBOOK, size=2_000, counts=True
    )
    assert session.verify() == []
    for tick, sent in zip(session.ticks, contexts, strict=True):
        assert [part.to_dict() for part in tick.context.parts] == [part.to_dict() for part in sent.parts]
        assert tick.context.to_dict() == sent.to_dict()
    await session.aclose()
    store.close()


async def test_opening_a_long_session_again_and_again_takes_few_bytes(tmp_path: Path) -> None:
    sizes = []
    for count in (300, *[1] * 20):
        store = SqlStore(f"sqlite:///{tmp_path}/sessions.db")
        app = App(Reader, model=ScriptedModel(*["That was it."] * count), store=store)
        session = app.session("s", handbook=HANDBOOK, size=20, counts=True)
        for number in range(count):
            await session.send(f"Go on, part {number}.")
        await session.aclose()
        store.close()
        sizes.append(on_disk(tmp_path))
    assert sizes[-1] - sizes[0] < 20 * 1_500


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
