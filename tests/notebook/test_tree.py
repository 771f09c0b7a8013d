from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nbsession import App, Section, System, Timeline, component, tool, use_state
from nbsession.notebook.view.execution import ExecutionView
from nbsession.notebook.view.tree import Branch, tree_of
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbsession import Session


@component
def Day(number: int) -> Any:
    return Section(f"Day {number} has nothing planned.", id=f"day{number}", title=f"Day {number}")


@component
def Plan() -> Any:
    none: list[str] = []
    stops, set_stops = use_state(none)

    @tool
    def add_stop(stop: str) -> str:
        """Add a stop."""
        set_stops(lambda kept: [*kept, stop])
        return "Added."

    return [add_stop, [Day(number=n, key=f"{n}/7") for n in (1, 2)], stops and Section(stops[0], id="stops")]


@component
def Guide() -> Any:
    return [System("You plan trips."), Plan(), Timeline()]


async def travelled() -> Session:
    session = App(Guide, model=ScriptedModel([call("add_stop", stop="Rome")], "Done.")).session()
    await session.send("Add Rome.")
    return session


def drawn(branch: Branch, depth: int = 0) -> Iterator[str]:
    mark = f"{branch.mark} " if branch.mark else ""
    yield f"{'  ' * depth}{mark}{branch.name} {branch.says}".rstrip()
    for child in branch.children:
        yield from drawn(child, depth + 1)


async def test_a_context_is_laid_out_by_the_components_it_came_from() -> None:
    first = (await travelled()).ticks[0].context
    assert list(drawn(tree_of(first, None, "t0"))) == [
        "Guide",
        "  System",
        "  Plan tool add_stop",
        "    Day[1/7]",
        "      Section[day1] Day 1",
        "    Day[2/7]",
        "      Section[day2] Day 2",
        "  Timeline 1 message",
    ]


async def test_tokens_are_summed_upwards_to_those_of_the_context() -> None:
    context = (await travelled()).ticks[1].context
    tree = tree_of(context, None, "t1")
    assert tree.tokens == context.tokens

    def sums(branch: Branch) -> None:
        assert branch.tokens >= sum(child.tokens for child in branch.children)
        for child in branch.children:
            sums(child)

    sums(tree)


async def test_what_is_new_is_marked_and_leads_there_while_the_rest_is_named_in_one_line() -> None:
    session = await travelled()
    first, second = (tick.context for tick in session.ticks)
    tree = tree_of(second, second.diff(first), "t1")
    assert "    + Section[stops]" in drawn(tree)
    assert "  + Timeline 3 messages, 2 new" in drawn(tree)
    plan = next(child for child in tree.children if child.name == "Plan")
    assert plan.unfolded
    assert [[one.name for one in run] for run in plan.runs(brief=True)] == [
        ["Day[1/7]", "Day[2/7]"],
        ["Section[stops]"],
    ]
    assert not any(child.unfolded for child in tree_of(second, second.diff(second), "t1").children)


async def test_a_saved_output_has_both_views_and_unfolds_the_one_that_was_chosen_last() -> None:
    session = App(Guide, model=ScriptedModel("One.", "Two.")).session()
    pages = []
    for message in ("First", "Second"):
        view = ExecutionView(session.send(message))
        await view.follow()
        view.hear({"k": "open", "d": "t0:tree", "open": True})
        pages.append(view.static()["text/html"])
    for page in pages:
        assert len(re.findall(r"<summary>As (?:sent|a tree)</summary>", page)) == 2
        assert re.search(r"<details name=\w+ open><summary>As a tree", page)
        assert not re.search(r"<details name=\w+ open><summary>As sent", page)
        assert "as before: System" in page or page is pages[0]
