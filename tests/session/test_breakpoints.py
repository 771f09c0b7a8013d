"""An execution stops before the model is called, to be looked at, edited, let go on or ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Section, SessionError, System, Timeline, component, tool, use_knob
from nbsession.events import BreakpointReached
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from pathlib import Path


@tool
def search(query: str) -> str:
    """Search."""
    return f"Found {query}."


@component
def Plan() -> Any:
    tone, _ = use_knob("tone", "kind")
    return Section(f"Be {tone}.", title="How to be")


@component
def Agent() -> Any:
    return [System("You are here."), search, Timeline(), Plan()]


def made(*responses: Any, store: Any = None) -> tuple[Any, ScriptedModel]:
    model = ScriptedModel(*(responses or (call("search", query="milk"), "Done.")))
    return App(Agent, model=model, store=store).session("s"), model


async def at_breakpoint(execution: Any) -> BreakpointReached:
    async for event in execution:
        if isinstance(event, BreakpointReached):
            return event
    raise AssertionError("it did not stop")


async def test_it_stops_before_the_model_reads_what_a_tool_gave_and_goes_on() -> None:
    session, model = made()
    place = session.breakpoints.add(tool="sea*")
    execution = session.send("Buy milk.")
    event = await at_breakpoint(execution)
    assert (event.tick, event.breakpoint, event.reason) == (1, "tool=sea*", "search gave a result")
    assert execution.status == "stopped at a breakpoint"
    assert session.status == "running"
    assert execution.stopped.breakpoint is place
    assert "Found milk." in str(execution.stopped.context.messages[-1])
    assert len(model.contexts) == 1
    assert not execution.done
    execution.resume()
    result = await execution
    assert result.text == "Done."
    assert (execution.status, execution.stopped) == ("done", None)
    assert len(result.ticks) == 2
    with pytest.raises(SessionError, match="does not stand at a breakpoint"):
        execution.resume()


async def test_what_is_about_to_be_sent_can_be_edited_and_is_marked() -> None:
    session, model = made()
    session.breakpoints.add(tool="search")
    execution = session.send("Buy milk.")
    await at_breakpoint(execution)
    (part,) = [part for part in execution.stopped.context.parts if part.role == "tool"]
    with pytest.raises(SessionError, match="has no part 'nowhere'"):
        execution.resume({"nowhere": "x"})
    assert execution.stopped is not None
    execution.resume({part: "Found nothing."})
    await execution
    assert "Found nothing." in str(model.contexts[-1].messages[-1])
    assert [each.text for each in session.ticks[-1].context.parts if each.edited] == ["Found nothing."]
    assert session.timeline[2].text == "Found milk."


async def test_a_knob_that_is_set_meanwhile_counts() -> None:
    session, model = made("Done.")
    session.breakpoints.add(part="Plan")
    execution = session.send("Hello.")
    event = await at_breakpoint(execution)
    assert event.reason == "Agent/Plan.3/Section.0 is new or changed"
    session.knobs["tone"] = "blunt"
    assert "Be blunt." in str(session.compile().messages[-1])
    execution.resume()
    await execution
    assert "Be blunt." in str(model.contexts[0].messages[-1])


async def test_stop_ends_it_and_the_timeline_stays_valid() -> None:
    session, model = made()
    session.breakpoints.add(tool="search")
    execution = session.send("Buy milk.")
    await at_breakpoint(execution)
    session.stop()
    result = await execution
    assert result.stop_reason == "aborted"
    assert (execution.status, execution.stopped) == ("done", None)
    assert len(session.ticks) == 1
    assert [entry.role for entry in session.timeline] == ["user", "assistant", "tool"]
    session.breakpoints.clear()
    assert (await session.send("And now?")).text == "Done."
    assert len(model.contexts) == 2


async def test_a_context_that_is_too_large_stops_and_all_conditions_have_to_hold() -> None:
    session, model = made("One.", "Two.")
    session.breakpoints.add(tokens=10_000)
    session.breakpoints.add(tool="search", tokens=1)
    assert (await session.send("Hello.")).text == "One."
    session.breakpoints.add(tokens=10)
    execution = session.send("x" * 400)
    event = await at_breakpoint(execution)
    assert event.breakpoint == "tokens>10"
    assert "the context has ≈" in event.reason
    assert len(model.contexts) == 1
    execution.resume()
    await execution


async def test_it_waits_for_as_long_as_it_takes_and_what_is_sent_meanwhile_comes_after() -> None:
    session, _ = made(call("search", query="milk"), "Done.", "Next.")
    session.breakpoints.add(tool="search")
    execution = session.send("Buy milk.")
    await at_breakpoint(execution)
    following = session.send("And then?")
    for _ in range(5):
        await asyncio.sleep(0)
    assert following.status == "queued"
    execution.resume()
    assert ((await execution).text, (await following).text) == ("Done.", "Next.")


async def test_breakpoints_can_be_listed_taken_away_and_are_no_forks() -> None:
    session, _ = made("One.")
    first = session.breakpoints.add(tool="search", tokens=5)
    assert session.breakpoints.add(tool="search", tokens=5) == first
    assert list(map(str, session.breakpoints)) == ["tool=search tokens>5"]
    assert len(session.fork().breakpoints) == 0
    session.breakpoints.remove(first)
    assert len(session.breakpoints) == 0
    with pytest.raises(SessionError, match="no breakpoint tool=search tokens>5 is set"):
        session.breakpoints.remove(first)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs tool=, part= or tokens="),
        ({"tool": 3}, "tool= takes a name or shell pattern, got 3"),
        ({"tokens": -1}, "tokens= takes a whole number from 0, got -1"),
        ({"tokens": True}, "tokens= takes a whole number from 0, got True"),
    ],
)
def test_a_faulty_breakpoint_says_what_to_do(given: dict[str, Any], said: str) -> None:
    session, _ = made()
    with pytest.raises(SessionError, match=said):
        session.breakpoints.add(**given)


async def test_the_event_is_kept_with_the_session(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/kept.db"
    session, _ = made(store=SqlStore(url))
    session.breakpoints.add(tool="search")
    execution = session.send("Buy milk.")
    reached = await at_breakpoint(execution)
    execution.resume({execution.stopped.context.parts[0]: "You are there."})
    await execution
    await session.aclose()
    again = App(Agent, model=ScriptedModel(), store=SqlStore(url)).session("s")
    kept = [event async for event in again.executions[0] if isinstance(event, BreakpointReached)]
    assert kept == [reached]
    assert again.verify() == []
    assert again.ticks[-1].context.parts[0].edited
