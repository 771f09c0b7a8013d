"""What is stored together, and what by itself: as few transactions as what was promised lets there be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    StoreError,
    System,
    Timeline,
    component,
    tool,
    use_data,
    use_effect,
    use_on_tick_end,
)
from nbsession.events import Done, Unkept
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent
    from nbsession.stores import Row


class Seen(MemoryStore):
    """A store that tells what each transaction held, and has room for so many."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[list[str]] = []
        self.room = 1_000
        self.stored = asyncio.Event()

    def append(
        self, session: str, rows: Sequence[Row], texts: Mapping[str, str] | None = None, **options: Any
    ) -> int:
        if not self.room:
            raise StoreError("the disk is full; make room")
        self.room -= 1
        self.kinds.append([row.kind for row in rows])
        self.stored.set()
        return super().append(session, rows, texts, **options)

    def words(self, session: str) -> list[str]:
        """Return the types of the events that are kept."""
        rows = [row.data for _, row in self.rows(session, kinds=["events"])]
        words = [word for data in rows for word in data["events"]]
        return [word["type"] if isinstance(word, dict) else word.split()[0] for word in words]


class Asking(ScriptedModel):
    """A scripted model that notes what the store had when it was called."""

    def __init__(self, store: Seen, *answers: Any) -> None:
        super().__init__(*answers)
        self.store = store
        self.found: list[list[str]] = []

    async def stream(self, context: CompiledContext) -> AsyncIterator[ModelEvent]:
        self.found.append([row.kind for row in self.store.load("s") or []])
        async for event in super().stream(context):
            yield event


@tool
def look(at: str) -> str:
    """Look at something."""
    return f"{at}: nothing"


@component
def Plain() -> Any:
    return [System("You work."), look, Timeline()]


async def test_a_message_to_a_session_in_use_takes_two_transactions_and_stands_there_when_the_model_is_called() -> (
    None
):
    store = Seen()
    model = Asking(store, "a", "b")
    session = App(Plain, model=model, store=store).session("s")
    await session.send("one")
    store.kinds.clear()
    await session.send("two")
    begun, ended = store.kinds
    assert begun == ["entry", "execution", "tick", "events"]
    assert ended == ["entry", "tick", "tick", "execution", "events"]
    assert model.found[1][-len(begun) :] == begun


async def test_a_tools_start_is_stored_with_the_answer_before_it_runs_and_its_result_before_the_next_tick() -> (
    None
):
    store = Seen()
    session = App(Plain, model=ScriptedModel("hi", call("look", at="a"), "done"), store=store).session("s")
    await session.send("one")
    store.kinds.clear()
    await session.send("two")
    assert [("event" in kinds, kinds.count("entry")) for kinds in store.kinds] == [
        (False, 1),  # the message, and the tick's context
        (True, 1),  # the answer, and the start of its tool
        (False, 1),  # what came of it
        (False, 0),  # the end of that tick, and the next one's context
        (False, 1),  # the answer and all ends
    ]


@pytest.mark.parametrize("kind", ["hook", "effect"])
async def test_the_answer_is_stored_before_a_function_of_the_authors_is_called(kind: str) -> None:
    store, found = Seen(), []

    def called(*_: Any) -> None:
        found.append([row.kind for row in store.load("s") or []].count("entry"))

    @component
    def Called() -> Any:
        if kind == "hook":
            use_on_tick_end(called)
        else:
            use_effect(called)
        return Timeline()

    session = App(Called, model=ScriptedModel("a", "b"), store=store).session("s")
    await session.send("one")
    found.clear()
    await session.send("two")
    assert found == [len(session.timeline)] * len(found)
    assert store.kinds[-1] == ["tick", "execution", "events"]


async def test_a_message_is_stored_while_the_tree_still_waits_for_data() -> None:
    store, come = Seen(), asyncio.Event()

    @component
    def Fetching() -> Any:
        async def fetch() -> str:
            await come.wait()
            return "data"

        use_data(str(len(session.timeline)), fetch)
        return Timeline()

    session = App(Fetching, model=ScriptedModel("a", "b"), store=store).session("s")
    come.set()
    await session.send("one")
    come.clear()
    store.stored.clear()
    sent = session.send("two")
    await store.stored.wait()
    texts = [row.data["content"][0]["text"] for row in store.load("s") or [] if row.kind == "entry"]
    assert texts[-1] == "two"
    assert not sent.done
    come.set()
    assert (await sent).text == "b"


async def test_whoever_reads_along_is_told_of_the_end_when_it_is_stored() -> None:
    store = Seen()
    session = App(Plain, model=ScriptedModel("a"), store=store).session("s")
    async for event in session.send("one"):
        if isinstance(event, Done):
            break
    assert store.words("s")[-3:] == ["tick_end", "execution_end", "done"]
    assert session.stored == event.sequence


async def test_an_end_that_cannot_be_stored_is_told_with_the_reason_and_stored_as_it_was_once_it_can_be() -> (
    None
):
    store = Seen()
    session = App(Plain, model=ScriptedModel("a"), store=store).session("s")
    store.room = 2  # the message, and the context
    sent = session.send("one")
    told = [event async for event in sent]
    with pytest.raises(StoreError, match="disk is full"):
        await sent
    assert [event.type for event in told][-4:] == ["tick_end", "error", "execution_end", "done"]
    (unkept,) = [event for event in told if isinstance(event, Unkept)]
    assert "disk is full" in unkept.message
    assert store.words("s")[-1] == "tick_start"
    store.room = 100
    await session.keep()
    assert store.words("s") == [event.type for event in told if event.durable]
    heir = App(Plain, model=ScriptedModel(), store=store).session("s")
    assert [(await execution).text for execution in heir.executions] == ["a"]


async def test_what_happens_while_the_end_is_stored_is_told_after_it(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    session = App(Plain, model=ScriptedModel("a", "b", "c"), store=store).session("s")
    numbers: list[int] = []

    async def read() -> None:
        ends = 0
        async for event in session.subscribe():
            if event.durable:
                numbers.append(event.sequence)
                await session.keep()
            ends += isinstance(event, Done)
            if ends == 3:
                return

    reading = asyncio.create_task(read())
    for text in ("one", "two", "three"):
        await session.send(text)
    await reading
    assert numbers == list(range(1, session.sequence + 1))
    await session.aclose()
    store.close()
