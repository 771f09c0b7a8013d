"""A tick says why a part of its context is another than before: what was set, where, by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession import App, Knobs, Section, System, Timeline, component, tool, use_effect, use_knob, use_state
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call
from nbsession.tree import create_context, use_context

if TYPE_CHECKING:
    from pathlib import Path

Theme = create_context("light", name="Theme")


@component
def Plan(steps: Any) -> Any:
    return Section("\n".join(steps), id="plan", title="Plan") if steps else None


@component
def Themed() -> Any:
    return Section(use_context(Theme), id="theme")


@component
def Trip() -> Any:
    plan, set_plan = use_state(list[str])
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    seen, set_seen = use_state(0)

    @tool
    def add_stop(stop: str) -> str:
        """Add a stop."""
        set_plan(lambda stops: [*stops, stop])
        return "Added."

    use_effect(lambda: set_seen(len(plan)) if plan else None, [len(plan)])
    return [
        System(f"You are {tone}."),
        add_stop,
        Plan(steps=plan),
        Theme(tone, Themed()),
        Section(f"seen {seen}", id="seen"),
        Knobs(),
        Timeline(),
    ]


async def two_ticks() -> Any:
    session = App(Trip, model=ScriptedModel(call("add_stop", stop="Basel"), "Done.", "Yes.")).session()
    await session.send("Go.")
    return session


def part_of(tick: Any, kind: str, text: str) -> Any:
    return next(part for part in tick.context.parts if part.kind == kind and text in part.text)


async def test_a_section_entered_by_the_state_that_a_tool_set() -> None:
    session = await two_ticks()
    said = session.ticks[1].why(part_of(session.ticks[1], "section", "Basel"))
    assert said.startswith("`plan` went from [] to ['Basel'], set by the tool add_stop in tick 0; ")
    assert "property" not in said  # that only handed it on


async def test_a_property_that_was_made_of_what_changed_stands_behind_it() -> None:
    @component
    def Count(of: int) -> Any:
        return Section(f"{of} stops", id="count")

    @component
    def Counted() -> Any:
        stops, set_stops = use_state(list[str])

        @tool
        def add_stop(stop: str) -> str:
            """Add a stop."""
            set_stops(lambda kept: [*kept, stop])
            return "Added."

        return [add_stop, Count(of=len(stops)), Timeline()]

    session = App(Counted, model=ScriptedModel(call("add_stop", stop="Basel"), "Done.")).session()
    await session.send("Go.")
    said = session.ticks[1].why(part_of(session.ticks[1], "section", "1 stops"))
    assert said == (
        "`stops` went from [] to ['Basel'], set by the tool add_stop in tick 0; property `of` went from 0 to 1"
    )


async def test_the_first_tick_has_no_reasons() -> None:
    session = await two_ticks()
    assert [
        session.ticks[0].why(part) for part in session.ticks[0].context.parts if part.kind == "system"
    ] == [""]


async def test_a_knob_is_named_with_who_set_it() -> None:
    session = await two_ticks()
    session.knobs.set("tone", "terse", by="user")
    await session.send("Again.")
    tick = session.ticks[-1]
    said = tick.why(part_of(tick, "system", "terse"))
    assert said == "knob `tone` went from 'friendly' to 'terse', set by the user"
    assert tick.why(part_of(tick, "section", "terse")) == "context `Theme` went from 'friendly' to 'terse'"


async def test_an_effect_is_named_as_who_set_it() -> None:
    session = await two_ticks()
    tick = session.ticks[1]
    causes = [str(cause) for cause in tick.causes if cause.name == "seen"]
    assert causes == ["`seen` went from 0 to 1, set by an effect of Trip"]


async def test_what_was_set_and_set_back_is_no_cause() -> None:
    session = await two_ticks()
    session.knobs["tone"] = "terse"
    session.knobs["tone"] = "friendly"
    await session.send("Again.")
    assert [cause for cause in session.ticks[-1].causes if cause.kind == "knob"] == []


async def test_the_reasons_outlive_the_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/kept.db"
    model = ScriptedModel(call("add_stop", stop="Basel"), "Done.")
    session = App(Trip, model=model, store=SqlStore(url)).session("trip")
    await session.send("Go.")
    said = [str(cause) for cause in session.ticks[1].causes if cause.kind != "timeline"]
    await session.aclose()
    again = App(Trip, model=ScriptedModel(), store=SqlStore(url)).session("trip")
    assert [str(cause) for cause in again.ticks[1].causes] == said
    assert again.ticks[1].why(part_of(again.ticks[1], "section", "Basel")).startswith("`plan` went from")


async def test_a_longer_collection_is_told_by_how_many_it_has_so_that_old_and_new_differ() -> None:
    stops = [call("add_stop", stop=f"stop {n}") for n in range(5)]
    session = App(Trip, model=ScriptedModel(*stops, "Done.")).session()
    await session.send("Go.")
    plan = part_of(session.ticks[5], "section", "stop 4")
    assert "`plan` went from 4 items to 5 items" in session.ticks[5].why(plan)
