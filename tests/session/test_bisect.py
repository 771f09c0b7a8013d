"""Where a session began to behave otherwise is found from what happened, and then by as few calls as it takes."""

from __future__ import annotations

from typing import Any

import pytest

from nbsession import (
    App,
    CompiledContext,
    Section,
    SessionError,
    System,
    Timeline,
    component,
    tool,
    use_knob,
    use_state,
)
from nbsession.testing import ScriptedModel, call

ran: list[str] = []


@component
def Agent(rules: str = "Be kind.") -> Any:
    tone, _ = use_knob("tone", "kind", options=["kind", "blunt"])
    use_knob("depth", 3)
    mood, set_mood = use_state("calm")

    @tool
    def rant() -> str:
        """Rant."""
        ran.append(mood)
        set_mood("angry")
        return "Ranted."

    return [System(rules), Section(f"{tone}, {mood}", id="mood"), rant, Timeline()]


def by_context(context: CompiledContext) -> Any:
    said = str(context.system)
    if "rant" in str(context.messages[-1]) and "angry" not in said:
        return call("rant")
    return "BAD" if any(word in said for word in ("blunt", "angry", "cruel")) else "Good."


def bad(tick: Any) -> bool:
    return "BAD" in tick.text


def made() -> tuple[Any, ScriptedModel]:
    ran.clear()
    model = ScriptedModel(*[by_context] * 20)
    return App(Agent, model=model).session("s"), model


async def test_the_tick_is_found_without_any_call_and_a_knob_by_putting_it_back() -> None:
    session, model = made()
    await session.send("One.")
    await session.send("Two.")
    session.knobs.set("tone", "blunt", by="user")
    session.knobs["depth"] = 5
    await session.send("Three.")
    await session.send("Four.")
    before = session.compile().hash
    bisection = session.bisect(bad)
    assert bisection.tick is session.ticks[2]
    assert bisection.before is session.ticks[1]
    assert str(bisection.steps[0]) == "judged 4 recorded ticks: False at 0–1, True at 2–3"
    assert [suspect.name for suspect in bisection.suspects] == ["tone", "depth"]
    assert (bisection.cause, bisection.done, bisection.calls, bisection.cost) == (None, False, 0, 0.0)
    assert len(model.contexts) == 4
    assert await bisection is bisection
    assert bisection.cause is bisection.suspects[0]
    assert "from tick 2 on, because knob `tone` went from 'kind' to 'blunt', set by the user" in str(
        bisection
    )
    assert bisection.calls == 2  # as it was, and with the tone put back
    assert bisection.usage.total_tokens > 0
    assert "2 model calls" in str(bisection)
    assert (await bisection).calls == 2
    assert session.compile().hash == before
    assert session.usage.total_tokens == sum(tick.usage.total_tokens for tick in session.ticks)


async def test_state_that_a_tool_set_is_put_back_and_no_tool_runs_again() -> None:
    session, _ = made()
    await session.send("Hello.")
    await session.send("Please rant.")
    assert ran == ["calm"]
    bisection = await session.bisect(bad)
    assert bisection.tick is session.ticks[2]
    assert bisection.cause is not None
    assert bisection.cause.kind == "state"
    assert "`mood` went from 'calm' to 'angry', set by the tool rant in tick 1" in bisection.conclusion
    assert ran == ["calm"]


async def test_a_component_that_no_knob_and_no_state_changed_is_put_back() -> None:
    session, _ = made()
    await session.send("One.")
    await session.render(rules="Be cruel.")
    bisection = await session.bisect(bad)
    assert [suspect.kind for suspect in bisection.suspects] == ["part"]
    assert bisection.cause is not None
    assert bisection.cause.name == "Agent/System.0#"


async def test_where_only_the_conversation_went_on_nothing_is_tried() -> None:
    model = ScriptedModel("Good.", "BAD")
    session = App(Agent, model=model).session("s")
    await session.send("One.")
    await session.send("Two.")
    bisection = await session.bisect(bad)
    assert bisection.done
    assert "only the conversation went on" in bisection.conclusion
    assert len(model.contexts) == 2


async def test_an_answer_that_comes_and_goes_is_chance() -> None:
    session = App(Agent, model=ScriptedModel("Good.", "BAD", "Good.")).session("s")
    await session.send("One.")
    session.knobs["tone"] = "blunt"
    await session.send("Two.")
    bisection = await session.bisect(bad)
    assert bisection.cause is None
    assert "asked again as it was is judged otherwise" in bisection.conclusion


async def test_calls_and_budget_bound_it_and_it_says_so() -> None:
    session, model = made()
    await session.send("One.")
    session.knobs["tone"] = "blunt"
    await session.send("Two.")
    bounded = await session.bisect(bad, calls=1)
    assert (bounded.calls, bounded.cause) == (1, None)
    assert "not found within 1 model call;" in bounded.conclusion
    poor = await session.bisect(bad, budget={"tokens": 1})
    assert poor.calls == 0
    assert "not found within the budget" in poor.conclusion
    assert "the bisection's budget of 1 tokens" in str(poor)
    assert len(model.contexts) == 3


async def test_ticks_that_are_all_judged_alike_have_nothing_to_find() -> None:
    session, _ = made()
    await session.send("One.")
    await session.send("Two.")
    bisection = await session.bisect(bad)
    assert bisection.tick is None
    assert bisection.conclusion == "every tick is judged alike, so there is nothing to find"


def test_it_runs_in_a_program_without_a_loop() -> None:
    session, _ = made()
    session.run("One.")
    session.knobs["tone"] = "blunt"
    session.run("Two.")
    assert session.bisect(bad).run().cause is not None


async def test_a_predicate_that_fails_names_the_tick() -> None:
    session, _ = made()
    with pytest.raises(SessionError, match="bisect compares ticks, and the session has 0"):
        session.bisect(bad)
    await session.send("One.")
    await session.send("Two.")
    with pytest.raises(SessionError, match="the predicate failed at tick 0: IndexError"):
        session.bisect(lambda tick: tick.tool_calls[0])


async def test_the_model_that_was_asked_with_the_message_is_asked_again() -> None:
    session, model = made()
    await session.send("One.")
    session.knobs["tone"] = "blunt"
    await session.send("Two.", model="simulated")
    bisection = await session.bisect(lambda tick: tick.model == "simulated")
    assert bisection.steps[1].tick is not None
    assert bisection.steps[1].tick.asked == "simulated"
    assert len(model.contexts) == 1


async def test_a_tick_that_cannot_be_asked_again_ends_it() -> None:
    session, model = made()
    await session.send("One.")
    session.knobs["tone"] = "blunt"
    await session.send("Two.")
    model.responses = ()
    bisection = await session.bisect(bad)
    assert (bisection.calls, bisection.cause, bisection.done) == (0, None, True)
    assert "could not be asked again" in bisection.conclusion
    assert "could not be tried" in str(bisection.steps[1])
