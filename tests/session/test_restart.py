"""What a session is after a restart: as it was, and what fits the code no more is said."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from nbsession import (
    App,
    SessionError,
    System,
    Timeline,
    component,
    use_data,
    use_knob,
    use_reducer,
    use_state,
)
from nbsession.errors import ModelError
from nbsession.events import MessageStart
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import ScriptedModel, call, pause
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent
    from nbsession.tree import Component


class Old(BaseModel):
    size: int = 1


class New(BaseModel):
    size: str = "large"


def agent(body: Callable[[], Any]) -> Component:
    """Return a component named Agent, whatever its body is called: as a cell defines it anew."""
    body.__qualname__ = body.__name__ = "Agent"
    return component(body)


async def after(store: MemoryStore, old: Callable[[], Any], new: Callable[[], Any]) -> Any:
    """Talk once to an agent, then open its session with another body."""
    first = App(agent(old), model=ScriptedModel("a"), store=store).session("s")
    await first.send("hi")
    await first.aclose()
    return App(agent(new), model=ScriptedModel("b"), store=store).session("s")


async def test_state_can_be_read_before_any_send_in_new_and_restored_sessions() -> None:
    store = MemoryStore()
    first = App(Notepad, model=ScriptedModel([call("add_note", note="n")], "a"), store=store).session("s")
    assert first.state == {"Notepad#1": []}
    await first.send("hi")
    await first.aclose()
    assert App(Notepad, model=ScriptedModel(), store=store).session("s").state == {"Notepad#1": ["n"]}


async def test_reading_the_state_of_a_restored_session_needs_no_tree_that_renders() -> None:
    def broken() -> Any:
        raise RuntimeError("in the middle of an edit")

    def sound() -> Any:
        use_state("kept")
        return Timeline()

    again = await after(MemoryStore(), sound, broken)
    assert again.state == {"Agent#0": "kept"}


async def test_state_for_which_there_is_no_hook_any_more_is_said_and_stays_kept() -> None:
    def two() -> Any:
        use_state("one")
        use_state("two")
        return Timeline()

    def one() -> Any:
        use_state("other")
        return Timeline()

    store = MemoryStore()
    again = await after(store, two, one)
    await again.send("more")
    said = ["kept state at Agent#1 fits no component now"]
    assert again.notes == said
    assert [again.take_notes(), again.take_notes()] == [said, []]
    await again.aclose()
    assert App(agent(two), store=store).session("s").state == {"Agent#0": "one", "Agent#1": "two"}


async def test_state_that_its_model_does_not_take_any_more_starts_anew_and_is_said() -> None:
    def old() -> Any:
        use_state(Old())
        return Timeline()

    def new() -> Any:
        value, _ = use_state(New())
        return [System(f"{value.size}"), Timeline()]

    again = await after(MemoryStore(), old, new)
    assert str(again.compile().system) == "large"
    (note,) = again.notes
    assert note.startswith(
        "kept state at Agent#0 does not fit its hook any more and starts anew: it was {'size': 1}"
    )


async def test_a_knob_whose_kept_value_is_out_of_bounds_now_is_said() -> None:
    def old() -> Any:
        use_knob("depth", 3, min=0, max=9)
        return Timeline()

    def new() -> Any:
        use_knob("depth", 1, min=0, max=2)
        return Timeline()

    again = await after(MemoryStore(), old, new)
    # A value that is the default is not kept, one that was set is.
    again.compile()
    assert again.knobs["depth"] == 1
    store = MemoryStore()
    first = App(agent(old), model=ScriptedModel("a"), store=store).session("s")
    first.compile()
    first.knobs["depth"] = 8
    await first.aclose()
    again = App(agent(new), store=store).session("s")
    again.compile()
    assert again.notes == ["knob 'depth' must be between 0 and 2, got 8; it is 1 now"]


async def test_fetched_data_that_its_model_does_not_take_any_more_is_fetched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetched: list[int] = []

    def body() -> Any:
        def fetch() -> Any:
            fetched.append(1)
            return Old()

        use_data("size", fetch)
        return Timeline()

    store = MemoryStore()
    again = await after(store, body, body)
    await again.send("again")
    assert len(fetched) == 1
    await again.aclose()
    monkeypatch.setattr(f"{__name__}.Old", New)
    last = App(agent(body), model=ScriptedModel("c"), store=store).session("s")
    await last.send("once more")
    assert len(fetched) == 2


async def test_a_request_that_failed_fails_again_and_is_not_sent_again() -> None:
    store = MemoryStore()
    first = App(
        Notepad,
        model=ScriptedModel(ModelError("no such model", retryable=True, kind="overloaded")),
        store=store,
    ).session("s")
    with pytest.raises(ModelError, match="no such model"):
        await first.send("hi", request_id="r")
    await first.aclose()
    model = ScriptedModel()
    again = App(Notepad, model=model, store=store).session("s")
    with pytest.raises(ModelError, match="no such model") as failed:
        await again.send("hi", request_id="r")
    assert (failed.value.retryable, failed.value.kind) == (True, "overloaded")
    assert str(again.ticks[0].error) == "no such model"
    assert (model.contexts, len(again.timeline)) == ([], 1)


async def test_state_that_is_set_between_executions_is_kept_without_another_one() -> None:
    setters: list[Any] = []

    def body() -> Any:
        setters.append(use_state(0)[1])
        return Timeline()

    store = MemoryStore()
    first = App(agent(body), model=ScriptedModel("a"), store=store).session("s")
    await first.send("hi")
    setters[-1](7)
    await asyncio.sleep(0)
    assert App(agent(body), store=store).session("s").state == {"Agent#0": 7}
    setters[-1](8)
    await first.aclose()
    assert App(agent(body), store=store).session("s").state == {"Agent#0": 8}


async def test_what_is_set_and_closed_at_once_is_there_for_another_app_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sessions.db'}"
    first = App(Notepad, model=ScriptedModel("a"), store=SqlStore(url)).session("s")
    await first.send("hi")
    first.knobs["tone"] = "terse"
    first.close()
    again = App(Notepad, model=ScriptedModel("b"), store=SqlStore(url)).session("s")
    assert again.knobs["tone"] == "terse"
    assert (await again.send("go on")).text == "b"
    await first.aclose()
    await again.aclose()


async def test_a_request_of_before_the_restart_tells_its_events_and_reads_its_output() -> None:
    class Size(BaseModel):
        size: int

    store = MemoryStore()
    first = App(Timeline(), model=ScriptedModel('{"size": 3}', "b"), store=store).session("s")
    execution = first.send("how large?", request_id="r", output=Size)
    told = [event.type async for event in execution if event.durable]
    await first.send("more")
    await first.aclose()
    again = App(Timeline(), model=ScriptedModel(), store=store).session("s")
    repeated = again.send("how large?", request_id="r", output=Size)
    assert (await repeated).output == Size(size=3)
    assert [event.type async for event in repeated if event.durable] == told


async def test_a_request_that_was_withdrawn_before_it_began_may_be_sent_again() -> None:
    held = pause()
    session = App(Timeline(), model=ScriptedModel([held, "a"], "b")).session("s")
    running = session.send("one")
    await held.reached
    waiting = session.send("two", request_id="r")
    assert session.send("two", request_id="r") is waiting
    waiting.abort()
    assert (await waiting).text == ""
    again = session.send("two", request_id="r")
    held.release()
    assert ((await running).text, (await again).text) == ("a", "b")


async def test_executions_of_an_earlier_process_stand_before_those_of_this_one() -> None:
    store = MemoryStore()
    first = App(Timeline(), model=ScriptedModel("one", "two"), store=store).session("s")
    await first.send("a")
    await first.send("b", request_id="r")
    await first.aclose()
    again = App(Timeline(), model=ScriptedModel("three"), store=store).session("s")
    sent = again.send("c")
    await sent
    before, repeated, latest = again.executions
    assert [(await execution).text for execution in (before, repeated, latest)] == ["one", "two", "three"]
    assert (latest, again.send("b", request_id="r")) == (sent, repeated)
    assert [event.type async for event in before][-1] == "done"


@pytest.mark.parametrize("limit", [0, "3", True, 1.5])
async def test_a_limit_of_ticks_is_a_whole_number(limit: Any) -> None:
    with pytest.raises(SessionError, match="max_ticks must be a whole number, at least 1, got"):
        App(Timeline(), max_ticks=limit)
    session = App(Timeline(), model=ScriptedModel("a")).session()
    with pytest.raises(SessionError, match="max_ticks must be a whole number"):
        session.send("hi", max_ticks=limit)


@pytest.mark.parametrize("request_id", ["", " ", 5])
async def test_a_request_id_is_a_text(request_id: Any) -> None:
    session = App(Timeline(), model=ScriptedModel("a")).session()
    with pytest.raises(SessionError, match="request_id= takes a non-empty string"):
        session.send("hi", request_id=request_id)


async def test_a_request_id_is_its_sessions_own_also_in_forks_of_restored_sessions() -> None:
    store = MemoryStore()
    first = App(Timeline(), model=ScriptedModel("a", "b"), store=store).session("s")
    await first.send("hi", request_id="r")
    fork = first.fork(id="fork")
    assert (await fork.send("hi", request_id="r")).text == "b"
    await fork.aclose()
    model = ScriptedModel()
    again = App(Timeline(), model=model, store=store).session("fork")
    assert (await again.send("hi", request_id="r")).text == "b"
    assert model.contexts == []


async def test_a_knob_that_no_component_has_any_more_is_said_and_its_value_stays_kept() -> None:
    def old() -> Any:
        use_knob("depth", 3, min=0, max=9)
        return Timeline()

    def new() -> Any:
        use_knob("width", 1)
        return Timeline()

    store = MemoryStore()
    first = App(agent(old), model=ScriptedModel("a"), store=store).session("s")
    first.knobs["depth"] = 8
    await first.aclose()
    again = App(agent(new), store=store).session("s")
    again.compile()
    assert again.notes == ["knob 'depth' was set to 8 and no component has it now"]
    await again.aclose()
    assert App(agent(old), store=store).session("s").knobs["depth"] == 8


async def test_an_initial_state_that_cannot_be_kept_is_refused_until_it_can() -> None:
    initial: list[Any] = [{1, 2}]

    def body() -> Any:
        _, set_value = use_state(initial[0])
        initial.append(set_value)
        return Timeline()

    model = ScriptedModel("a")
    session = App(agent(body), model=model, store=MemoryStore()).session("s")
    for _ in range(2):
        with pytest.raises(
            SessionError, match=r"state 0 of Agent holds \{1, 2\} \(set\), which cannot be kept"
        ):
            await session.send("hi")
    assert model.contexts == []
    initial[-1]([1, 2])
    assert (await session.send("hi")).text == "a"
    assert session.state == {"Agent#0": [1, 2]}


def keeps_text() -> Any:
    use_state("text")
    return Timeline()


def keeps_list() -> Any:
    use_state(["a"])
    return Timeline()


def keeps_model() -> Any:
    use_state(Old())
    return Timeline()


def reduces() -> Any:
    use_reducer(lambda state, action: state + action, "reduced")
    return Timeline()


def fetches() -> Any:
    use_data("data", lambda: "fetched")
    return Timeline()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (keeps_text, keeps_list, "it began as a text, and begins as a list now"),
        (keeps_model, keeps_text, "it began as a model, and begins as a text now"),
        (keeps_text, reduces, "it was kept by use_state, and use_reducer is there now"),
        (fetches, keeps_text, "it was kept by use_data, and use_state is there now"),
        (keeps_text, fetches, "it was kept by use_state, and use_data is there now"),
    ],
)
async def test_state_of_another_hook_is_said_and_starts_anew(
    old: Callable[[], Any], new: Callable[[], Any], why: str
) -> None:
    again = await after(MemoryStore(), old, new)
    await again.send("more")
    (note,) = again.notes
    assert note.startswith("kept state at Agent#0 does not fit its hook any more and starts anew: it was ")
    assert note.endswith(why)
    fresh = App(agent(new), model=ScriptedModel("c")).session()
    await fresh.send("hi")
    assert again.state == fresh.state


async def test_state_that_became_another_type_than_it_began_with_is_kept() -> None:
    setters: list[Any] = []

    def body() -> Any:
        setters.extend(use_state(initial)[1] for initial in (None, 0, "idle", ()))
        return Timeline()

    store = MemoryStore()
    first = App(agent(body), model=ScriptedModel("a"), store=store).session("s")
    await first.send("hi")
    for setter, value in zip(setters, ({"a": 1}, 0.5, {"done": True}, ["b"]), strict=False):
        setter(value)
    await first.aclose()
    again = App(agent(body), store=store).session("s")
    again.compile()
    assert list(again.state.values()) == [{"a": 1}, 0.5, {"done": True}, ["b"]]
    assert again.notes == []


class Dated(ScriptedModel):
    """A model that answers under a longer name than it is asked by."""

    async def stream(self, context: CompiledContext) -> AsyncIterator[ModelEvent]:
        async for event in super().stream(context):
            yield MessageStart("scripted-2", "live") if isinstance(event, MessageStart) else event


async def test_a_tick_that_was_cut_has_the_name_of_the_model_that_was_asked() -> None:
    store, waits = MemoryStore(), pause()
    session = App(Timeline(), model=Dated("one", [waits, "two"]), store=store).session("s")
    await session.send("a")
    running = session.send("b")
    await waits.reached
    found = App(Timeline(), model=Dated(), store=store).session("s")
    assert [(tick.model, tick.source) for tick in found.ticks] == [
        ("scripted-2", "live"),
        ("scripted", "simulated"),
    ]
    waits.release()
    await running
