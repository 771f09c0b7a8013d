"""Any component can be left out: what would be sent without it at once, and an answer without it in a fork."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    CompileError,
    Knobs,
    Section,
    SessionError,
    System,
    Timeline,
    component,
    tool,
    use_effect,
    use_knob,
    use_state,
)
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from pathlib import Path

effects: list[str] = []


@component
def Plan() -> Any:
    steps, set_steps = use_state(list[str])
    deep, _ = use_knob("depth", 3)
    use_effect(lambda: effects.append("planned"), [])

    @tool
    def plan(step: str) -> str:
        """Plan a step."""
        set_steps([*steps, step])
        return "Planned."

    return [plan, Section(f"{deep}: {', '.join(steps)}", id="plan", title="Plan")]


@component
def Conversation() -> Any:
    return Timeline()


@component
def Agent() -> Any:
    return [System("You are kind."), Knobs(), Plan(), Section("z" * 40, id="last"), Conversation()]


PLAN = "Agent/Plan.2"


def made(store: Any = None, *responses: Any) -> tuple[Any, ScriptedModel]:
    model = ScriptedModel(*(responses or (call("plan", step="milk"), "Done.", "Without.")))
    effects.clear()
    return App(Agent, model=model, store=store).session("s"), model


def test_a_component_is_left_out_with_its_parts_tools_and_knobs_and_nothing_changes() -> None:
    session, model = made()
    session.run("Buy milk.")
    calls, before, ran = len(model.contexts), session.compile(), list(effects)
    context = session.without(PLAN)
    assert [part.path for part in context.diff(before).removed if part.kind != "tool"] == [
        "Agent/Knobs.1/Section[knobs]",
        f"{PLAN}/Section[plan]",
    ]
    assert context.tools == ()
    assert "z" * 40 in context.parts
    (left_out,) = [item for item in context.withheld if item.reason == "left out"]
    assert left_out.path == PLAN
    gone = [part.tokens for part in before.parts if part.path.startswith(PLAN)]
    assert left_out.tokens == sum(gone)
    assert session.compile().hash == before.hash
    assert session.without(PLAN).hash == context.hash
    assert (len(model.contexts), effects) == (calls, ran)
    assert session.knobs["depth"] == 3


def test_a_part_names_its_component_and_several_may_go() -> None:
    session, _ = made()
    last = next(part for part in session.compile().parts if part.key == "last")
    context = session.without(last, PLAN, f"{PLAN}/Section[plan]")
    assert [part.path for part in context.parts] == ["Agent/System.0"]
    assert [item.path for item in context.withheld] == ["Agent/Section[last]", PLAN]


async def test_a_fork_runs_without_a_component_and_says_so() -> None:
    session, model = made()
    await session.send("Buy milk.")
    fork = session.fork(1, before=True, without=PLAN)
    assert fork.compile().hash == session.fork(1, before=True).without(PLAN).hash
    effects.clear()
    result = await fork.render()
    assert result.text == "Without."
    assert effects == []
    sent = fork.ticks[-1].context
    assert sent.hash == model.contexts[-1].hash
    assert [(item.path, item.reason) for item in sent.withheld] == [(PLAN, "left out")]
    assert fork._core.state.current[f"without:{PLAN}"] == sent.withheld[0].tokens
    assert "Plan" not in str(sent.system)
    assert "Plan" in str(session.compile().system)
    assert fork.notes == []
    assert fork.left_out == sent.withheld
    assert session.left_out == ()


async def test_a_fork_of_the_fork_leaves_it_out_too_and_so_does_one_that_was_rewound() -> None:
    session, _ = made(None, "One.", "Two.", "Three.")
    await session.send("Hello.")
    fork = session.fork(without=[PLAN])
    await fork.send("And?")
    assert fork.fork().compile().hash == fork.compile().hash
    fork.rewind(None)
    assert [item.path for item in fork.compile().withheld] == [PLAN]
    assert "Plan" not in str(fork.compile().system)
    assert fork.fork(without="Agent/Section[last]").compile().parts.text == "You are kind."


async def test_what_was_left_out_stays_out_in_another_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/kept.db"
    session, _ = made(SqlStore(url), "One.", "Two.")
    await session.send("Hello.")
    fork = session.fork(id="other", without=PLAN)
    await fork.send("And?")
    hashed = fork.ticks[-1].context.hash
    await session.aclose()
    await fork.aclose()
    again = App(Agent, model=ScriptedModel("Three."), store=SqlStore(url)).session("other")
    assert again.ticks[-1].context.hash == hashed
    assert [item.reason for item in again.ticks[-1].context.withheld] == ["left out"]
    assert [item.path for item in again.compile().withheld] == [PLAN]
    assert again.verify() == []


async def test_what_holds_the_conversation_cannot_be_left_out() -> None:
    session, _ = made(None, "One.")
    assert "You are kind." in session.without("Agent/Conversation.4").parts
    await session.send("Hello.")
    said = "without Agent/Conversation.4 the tree renders no Timeline"
    with pytest.raises(CompileError, match=said):
        session.without("Agent/Conversation.4")
    known = len(session.history().branches)
    with pytest.raises(CompileError, match=said):
        session.fork(without="Agent/Conversation.4")
    assert len(session.history().branches) == known


@pytest.mark.parametrize(
    ("components", "said"),
    [
        ((), "name what to leave out by its path"),
        (("Agent/Plam.2",), "no component stands at 'Agent/Plam.2'; did you mean 'Agent/Plan.2'"),
        (("nowhere",), "no component stands at 'nowhere'"),
        ((3,), "a component is named by its path, or by a part of it, got int: 3"),
        (("Agent",), "Agent is the root"),
    ],
)
def test_a_faulty_ablation_says_what_to_do(components: Any, said: str) -> None:
    session, _ = made()
    with pytest.raises(SessionError, match=said):
        session.without(*components)
