"""Requests with an id: sent once, made again of what is kept, and sent again where nothing went to a model."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    NbsessionError,
    RenderError,
    Section,
    SessionBusyError,
    SessionError,
    StopReason,
    StoreError,
    Timeline,
    component,
    tool,
    use_knob,
    use_on_tick_end,
    use_on_tick_start,
)
from nbsession.session import feed as feeds
from nbsession.session import line as lines
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from nbsession import Session
    from nbsession.stores import Row, SessionStore


class Small(MemoryStore):
    """A store that has room for so many appends."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def append(
        self, session: str, rows: Sequence[Row], texts: Mapping[str, str] | None = None, **options: Any
    ) -> int:
        if self.room <= 0:
            raise StoreError("the disk is full; make room")
        self.room -= 1
        return super().append(session, rows, texts, **options)


def talk(store: SessionStore | None, *answers: Any) -> tuple[ScriptedModel, Session]:
    model = ScriptedModel(*answers)
    return model, App(Timeline(), model=model, store=store).session("s")


def said(session: Session) -> list[str]:
    return [entry.text for entry in session.timeline]


@pytest.mark.parametrize("kept", [False, True])
async def test_executions_with_an_id_are_not_held_beyond_the_latest_and_answer_all_the_same(
    kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "FINISHED", 3)
    model, session = talk(MemoryStore() if kept else None, *[f"answer {n}" for n in range(9)])
    held = []
    for number in range(9):
        held.append(weakref.ref(session.send(f"question {number}", request_id=f"{number}")))
        await session.send(f"question {number}", request_id=f"{number}")
    first_id = session.ticks[0].execution
    gc.collect()
    assert [reference() is not None for reference in held] == [False] * 6 + [True] * 3
    repeated = session.send("question 0", request_id="0")
    assert session.send("question 0", request_id="0") is repeated
    assert (repeated.id, repeated.status, repeated.done) == (first_id, "done", True)
    assert (await repeated).text == "answer 0"
    assert [event.type async for event in repeated][-1] == "done"
    with pytest.raises(SessionError, match="another message"):
        session.send("another question", request_id="0")
    assert len(model.contexts) == 9
    assert [execution.id for execution in session.executions] == [
        tick.execution for tick in session.ticks[-3:]
    ]


async def test_one_that_failed_and_is_held_no_more_fails_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "FINISHED", 1)
    model, session = talk(None, ValueError("no such luck"), "b", "c")
    with pytest.raises(ValueError, match="no such luck"):
        await session.send("a", request_id="a")
    await session.send("b")
    gc.collect()
    with pytest.raises(ValueError, match="no such luck"):
        await session.send("a", request_id="a")
    assert len(model.contexts) == 2


async def test_one_that_is_held_no_more_says_so_where_its_events_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "FINISHED", 1)
    monkeypatch.setattr(feeds, "KEPT", 20)
    _, session = talk(None, *["answer"] * 20)
    for number in range(20):
        await session.send("question", request_id=f"{number}")
    gc.collect()
    repeated = session.send("question", request_id="0")
    with pytest.raises(SessionError, match=f"events of execution {repeated.id} are no longer kept"):
        [event async for event in repeated]
    assert (await repeated).text == "answer"


async def test_executions_of_before_the_restart_make_room_for_those_of_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "FINISHED", 3)
    store = MemoryStore()
    _, first = talk(store, "a", "b", "c")
    for text in "abc":
        await first.send(text)
    await first.aclose()
    _, again = talk(store, "d", "e")
    before = again.executions
    await again.send("d")
    await again.send("e")
    assert again.executions[:1] == before[-1:]
    assert [execution.partial.text for execution in again.executions] == ["c", "d", "e"]


@pytest.mark.parametrize("room", [0, 1])
async def test_a_request_that_had_no_room_in_the_store_is_sent_under_its_id_once_there_is(room: int) -> None:
    store = Small(room)
    model, session = talk(store, "fine", "more")
    for _ in range(2):
        with pytest.raises(StoreError, match="disk is full"):
            await session.send("hi", request_id="r")
    assert model.contexts == []
    store.room = 100
    assert (await session.send("hi", request_id="r")).text == "fine"
    assert (await session.send("hi", request_id="r")).text == "fine"
    assert (len(model.contexts), said(session)) == (1, ["hi", "fine"])
    await session.aclose()
    model, again = talk(store)
    assert (await again.send("hi", request_id="r")).text == "fine"
    assert (model.contexts, said(again)) == ([], ["hi", "fine"])
    assert again.verify() == []


@component
def Watched() -> Any:
    use_on_tick_end(lambda *_: None)  # the answer is stored before
    return Timeline()


@pytest.mark.parametrize(("root", "room"), [(Timeline, 2), (Watched, 2), (Watched, 3)])
async def test_a_request_that_went_to_a_model_is_not_sent_again_whatever_the_store_does(
    root: Callable[[], Any], room: int
) -> None:
    store, model = Small(room), ScriptedModel("fine")
    session = App(root(), model=model, store=store).session("s")
    with pytest.raises(StoreError, match="disk is full"):
        await session.send("hi", request_id="r")
    store.room = 100
    with pytest.raises(StoreError, match="disk is full"):
        await session.send("hi", request_id="r")
    assert len(model.contexts) == 1


@component
def Frail() -> Any:
    fault, _ = use_knob("fault", "none", options=["none", "no timeline", "render", "compile"])
    if fault == "render":
        raise ValueError("not today")
    if fault == "compile":
        return [Timeline(), Timeline()]
    return Section("A section.") if fault == "no timeline" else Timeline()


FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "does not render": ("render", {}),
    "does not compile": ("compile", {}),
    "has no Timeline": ("no timeline", {}),
    "has no key": ("none", {"model": "anthropic:claude-haiku-4-5"}),
    "has no recording": ("none", {"model": "recorded:nowhere.jsonl"}),
    "has no budget": ("none", {"budget": {"tokens": 1}}),
}


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("fault", list(FAULTS))
async def test_a_request_of_which_nothing_went_to_a_model_is_sent_once_its_cause_is_mended(
    fault: str, restarted: bool
) -> None:
    value, options = FAULTS[fault]
    store = MemoryStore()

    def open_one() -> tuple[ScriptedModel, Session]:
        model = ScriptedModel("fine")
        return model, App(Frail, model=model, store=store).session("s")

    model, session = open_one()
    session.compile()
    session.knobs["fault"] = value
    for _ in range(2):
        if "budget" in options:
            assert (await session.send("hi", request_id="r", **options)).stop_reason is StopReason.budget
        else:
            with pytest.raises(NbsessionError):
                await session.send("hi", request_id="r", **options)
        assert (model.contexts, said(session)) == ([], ["hi"])
    if restarted:
        await session.aclose()
        model, session = open_one()
        assert said(session) == ["hi"]
    session.knobs["fault"] = "none"
    for _ in range(2):
        assert (await session.send("hi", request_id="r")).text == "fine"
    assert (len(model.contexts), said(session)) == (1, ["hi", "fine"])
    await session.aclose()
    model, session = open_one()
    assert (await session.send("hi", request_id="r")).text == "fine"
    assert model.contexts == []
    assert session.verify() == []


async def test_a_request_that_was_stopped_before_a_model_was_asked_is_sent_when_it_is_sent_again() -> None:
    begun = asyncio.Event()

    @component
    def Slow() -> Any:
        async def wait(*_: Any) -> None:
            if not begun.is_set():
                begun.set()
                await asyncio.Event().wait()

        use_on_tick_start(wait)
        return Timeline()

    session = App(Slow, model=ScriptedModel("fine")).session()
    stopped = session.send("hi", request_id="r")
    await begun.wait()
    stopped.abort()
    assert (await stopped).stop_reason is StopReason.aborted
    assert (await session.send("hi", request_id="r")).text == "fine"
    assert said(session) == ["hi", "fine"]


async def test_a_request_whose_second_tick_fails_is_not_sent_again_for_the_first_went_to_a_model() -> None:
    @tool
    def look() -> str:
        """Look."""
        session.knobs["fault"] = "render"
        return "seen"

    model = ScriptedModel([call("look")], "never")
    session = App(Frail, model=model, tools=[look]).session()
    session.compile()
    with pytest.raises(RenderError):
        await session.send("hi", request_id="r")
    session.knobs["fault"] = "none"
    with pytest.raises(RenderError):
        await session.send("hi", request_id="r")
    assert len(model.contexts) == 1


async def test_after_a_restart_too_a_request_that_had_no_room_may_be_sent_and_its_message_stands_there_once() -> (
    None
):
    store = Small(0)
    _, first = talk(store)
    with pytest.raises(StoreError):
        await first.send("hi", request_id="r")
    store.room = 100
    await first.aclose()
    model, again = talk(store, "fine")
    assert said(again) == ["hi"]
    assert (await again.send("hi", request_id="r")).text == "fine"
    assert said(again) == ["hi", "fine"]
    await again.aclose()
    _, last = talk(store)
    assert (await last.send("hi", request_id="r")).text == "fine"
    assert len(model.contexts) == 1


async def test_a_message_that_was_left_and_has_been_answered_since_stands_in_the_timeline_anew() -> None:
    store = Small(0)
    _, session = talk(store, "one", "two")
    with pytest.raises(StoreError):
        await session.send("hi", request_id="r")
    store.room = 100
    await session.send("go on")
    assert (await session.send("hi", request_id="r")).text == "two"
    assert said(session) == ["hi", "go on", "one", "hi", "two"]


async def test_another_message_may_be_sent_under_the_id_of_one_of_which_nothing_was_sent() -> None:
    store = Small(0)
    _, session = talk(store, "one")
    with pytest.raises(StoreError):
        await session.send("hi", request_id="r")
    store.room = 100
    assert (await session.send("hello", request_id="r")).text == "one"
    assert said(session) == ["hi", "hello", "one"]


async def test_a_request_that_another_process_kept_out_is_sent_under_its_id_once_that_is_over(
    tmp_path: Path,
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    model, session = talk(store, "fine")
    token = store.acquire("s", "process 1 on another machine", 60)
    for _ in range(2):
        with pytest.raises(SessionBusyError, match="held by process 1"):
            await session.send("hi", request_id="r")
    store.release("s", token)
    assert (await session.send("hi", request_id="r")).text == "fine"
    assert (len(model.contexts), said(session)) == (1, ["hi", "fine"])
    await session.aclose()
    store.close()
