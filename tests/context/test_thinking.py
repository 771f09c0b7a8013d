"""Signed thinking is replayed behind the context it was made under, and nowhere else."""

from __future__ import annotations

import asyncio
import copy
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbsession import (
    App,
    Model,
    Section,
    System,
    Timeline,
    User,
    component,
    tool,
    use_knob,
    use_on_tick_end,
    use_state,
)
from nbsession.content import Document, Text, Thinking
from nbsession.context import CompiledContext, entry_part
from nbsession.context.thinking import BARE
from nbsession.errors import ModelError
from nbsession.session import loop as work
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call
from tests.support.binding import BindingModel, unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession import Session
    from nbsession.stores.base import Row


@component
def Root() -> Any:
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])

    @tool
    def look() -> str:
        """Look."""
        return "seen"

    return [System(f"Be {tone}."), look, Timeline()]


def signed(text: str) -> Thinking:
    return Thinking(text, {"type": "thinking", "thinking": text, "signature": "s"})


def thoughts(context: Any) -> list[str]:
    return [
        block.text for message in context.messages for block in message.content if isinstance(block, Thinking)
    ]


def thinking_model(*answers: Any) -> ScriptedModel:
    return ScriptedModel(*answers)


async def test_thinking_is_replayed_as_long_as_the_prefix_stands() -> None:
    model = thinking_model([signed("one"), call("look")], [signed("two"), "done"], "again")
    session = App(Root, model=model).session()
    await session.send("go")
    await session.send("more")
    assert [thoughts(context) for context in model.contexts] == [[], ["one"], ["one", "two"]]
    assert model.contexts[-1].withheld == ()


async def test_thinking_is_left_out_and_said_so_once_a_knob_changed_what_stands_before_it() -> None:
    model = thinking_model([signed("one"), "done"], [signed("two"), "again"], "third")
    session = App(Root, model=model).session()
    await session.send("go")
    session.knobs["tone"] = "terse"
    await session.send("more")
    await session.send("last")
    assert [thoughts(context) for context in model.contexts] == [[], [], ["two"]]
    assert [item.reason for item in model.contexts[1].withheld] == ["thinking made under another context"]
    for tick in session.ticks:
        assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash
        assert tick.context.tokens == sum(part.tokens for part in tick.context.parts)


async def test_thinking_that_no_provider_signed_is_never_sent() -> None:
    model = thinking_model([Thinking("a rule"), "done"], "again")
    session = App(Root, model=model).session()
    await session.send("go")
    await session.send("more")
    assert thoughts(model.contexts[1]) == []
    assert session.timeline[1].content == (Thinking("a rule"), Text("done"))


async def test_thinking_made_by_another_model_is_left_out_and_said_so() -> None:
    first, second = BindingModel("m:1"), BindingModel("m:2")
    session = App(Root, model=first).session()
    await session.send("go")
    await session.send("more", model=second)
    await session.send("back")
    assert [thoughts(tick.context) for tick in session.ticks] == [[], [], ["m:1 1"]]
    assert [item.reason for item in session.ticks[1].context.withheld] == [
        "thinking made by another model (m:1)"
    ]
    assert [item.reason for item in session.ticks[2].context.withheld] == [
        "thinking made by another model (m:2)"
    ]


async def test_a_senders_own_metadata_may_use_any_word() -> None:
    session = App(Root, model=ScriptedModel("a", "b", "c")).session()
    told = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "r"},
    ]
    for said in (True, {"prefix": 1}, {"prefix": "x", "model": "y"}):
        await session.send(told, metadata={"thinking": said})
    assert [tick.context.withheld for tick in session.ticks] == [(), (), ()]


async def test_thinking_that_came_from_elsewhere_is_not_sent() -> None:
    elsewhere = App(Root, model=BindingModel("m:1")).session()
    await elsewhere.send("go")
    model = BindingModel("m:1")
    session = App(Root, model=model).session()
    await session.send([*elsewhere.timeline, {"role": "user", "content": "more"}])
    assert model.unreadable == []
    assert [item.reason for item in model.contexts[0].withheld] == [
        "thinking that was not made in this conversation"
    ]


class WatchedStore(MemoryStore):
    """Tells when it was given a part of an answer that is still coming in."""

    def __init__(self) -> None:
        super().__init__()
        self.partial = asyncio.Event()

    def append(self, session: str, rows: Sequence[Row], *rest: Any, **more: Any) -> int:
        revision = super().append(session, rows, *rest, **more)
        if any(row.kind == "partial" for row in rows):
            self.partial.set()
        return revision


async def test_thinking_of_an_answer_that_a_crash_cut_is_bound_as_all_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "FLUSH", 0.001)
    store, crashed = WatchedStore(), MemoryStore()
    model = BindingModel("m:1")
    model.turns = ["hold"]
    session = App(Root, model=model, store=store).session("s")
    running = session.send("go")
    await model.hold.reached
    await store.partial.wait()
    crashed._sessions, crashed._texts = copy.deepcopy(store._sessions), dict(store._texts)
    running.abort()
    await running
    again = App(Root, model=model, store=crashed).session("s")
    assert [entry.status for entry in again.timeline] == ["complete", "interrupted"]
    assert thoughts(again.compile()) == ["m:1 1"]
    again.knobs["tone"] = "terse"
    assert thoughts(again.compile()) == []


PAPER = Document("text/plain", b"It is so.")

TURNS: tuple[tuple[str, ...], ...] = (
    (),
    (),
    ("call",),
    ("call", "call"),
    ("pause",),
    ("cut",),
    ("call", "pause", "call"),
    ("call", "cut"),
    ("pause", "pause"),
    ("call", "call", "call"),
    ("pause", "cut"),
    ("pause", "call"),
)
"""What a model does before it answers; where an answer is cut, nothing follows."""


class World:
    """A session under random edits, its forks, and the models that its tree may choose."""

    def __init__(self) -> None:
        self.models = {name: BindingModel(name) for name in ("m:1", "m:2")}
        self.store = MemoryStore()
        models = self.models

        @tool
        def look() -> str:
            """Look."""
            return "seen"

        @component
        def Edited() -> Any:
            tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
            facts, _ = use_knob("facts", False)
            tail, _ = use_knob("tail", False)
            limit, _ = use_knob("limit", 0, min=0, max=6)
            loud, _ = use_knob("loud", False)
            extra, _ = use_knob("extra", False)
            chosen, _ = use_knob("model", "m:1", options=["m:1", "m:2"])
            cited, _ = use_knob("cited", False)
            seen, see = use_state(0)
            use_on_tick_end(lambda: see(lambda n: n + 1))
            return [
                Model(models[chosen], citations=cited),
                System(f"Be {tone}."),
                facts and Section("The sky is blue.", id="facts", title="Facts"),
                look,
                extra and _other,
                Timeline(_shouted if loud else None, limit=limit or None),
                tail and Section(f"Ticks so far: {seen}.", id="tail"),
            ]

        self.app = App(Edited, model="simulated", store=self.store)
        self.session = self.app.session("s")
        self.names = 0

    def new_id(self) -> str:
        self.names += 1
        return f"s{self.names}"

    async def apply(self, step: str, number: int) -> None:
        session = self.session
        if step == "send":
            for model in self.models.values():
                model.turns = list(TURNS[number])
            with suppress(ModelError):
                await session.send([f"message {number}", PAPER])
        elif step in KNOBS:
            spec = session.knobs.specs()[step]
            values = spec.options or ([False, True] if step != "limit" else [0, 1, 3, 6])
            session.knobs[step] = values[number % len(values)]
        elif step == "rewind" and len(session.timeline):
            users = [entry.parent for entry in session.timeline if entry.role == "user"]
            session.rewind(users[number % len(users)])
        elif step == "fork" and session.ticks:
            before = bool(number % 2)
            self.session = session.fork(number % len(session.ticks), before=before, id=self.new_id())
        elif step == "reopen":
            await session.aclose()
            self.session = self.app.session(session.id)


@tool
def _other() -> str:
    """Do something else."""
    return "done"


def _shouted(entries: Any) -> Any:
    return [User(entry.text.upper()) if entry.role == "user" else entry for entry in entries]


KNOBS = ("tone", "facts", "tail", "loud", "extra", "model", "limit", "cited")
MOVES = ("rewind", "fork", "reopen")
STEPS = st.lists(
    st.tuples(
        st.sampled_from((*KNOBS, *MOVES, *["send"] * 5)),
        st.integers(0, 11),
    ),
    min_size=4,
    max_size=24,
)


@settings(max_examples=60)
@given(STEPS)
def test_whatever_is_edited_only_thinking_that_its_model_can_read_is_sent_and_all_of_that(
    steps: list[tuple[str, int]],
) -> None:
    async def run() -> None:
        world = World()
        await world.apply("send", 3)
        for step, number in steps:
            await world.apply(step, number)
        await world.apply("send", 1)
        for model in world.models.values():
            assert model.unreadable == []
            for context in model.contexts:
                assert left_out_without_need(context, world.session, model.name) == []
        for tick in world.session.ticks:
            assert tick.context.tokens == sum(part.tokens for part in tick.context.parts)
            assert world.session.fork(tick.number, before=True).compile().hash == tick.context.hash
        await world.session.aclose()

    asyncio.run(run())


def left_out_without_need(context: CompiledContext, session: Session, model: str) -> list[str]:
    """Put each thinking that was left out back, by itself, and return those that the model could read."""
    known = {entry.id: entry for entry in session._core.record.all()}
    found: list[str] = []
    for place, part in enumerate(context.flow):
        if part.title != BARE or part.key not in known:
            continue
        whole = entry_part(known[part.key], part.path)
        again = CompiledContext(
            context.system,
            [*context.flow[:place], whole],
            context._tools,
            specs=context.tools,
            settings=context.settings,
        )
        thought = next(block.text for block in whole.blocks if isinstance(block, Thinking))
        if thought not in unreadable(again, model):
            found.append(thought)
    return found
