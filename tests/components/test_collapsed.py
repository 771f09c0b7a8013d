from __future__ import annotations

from typing import Any

import pytest

from nbsession import (
    App,
    Collapsed,
    CompileError,
    RenderError,
    Section,
    Session,
    System,
    Timeline,
    ToolError,
    User,
    component,
    use_state,
)
from nbsession.testing import ScriptedModel, call, render


@component
def Library() -> Any:
    shelf = Collapsed("A shelf of books.", "Moby Dick", Section("Emma", title="Austen"), name="shelf")
    return [System("You lend books."), shelf, Timeline()]


def library(*responses: Any) -> Session:
    return App(Library, model=ScriptedModel(*responses)).session()


def test_only_the_summary_is_shown_and_what_is_collapsed_is_listed() -> None:
    context = render(Library()).context

    assert "A shelf of books. [collapsed, ≈" in context.system.text
    assert "Moby Dick" not in context.system.text
    assert [spec.name for spec in context.tools] == ["expand"]
    (withheld,) = context.withheld
    assert withheld.reason == "collapsed"
    assert "Collapsed" in withheld.path
    assert withheld.text == "Moby Dick\n\n## Austen\n\nEmma"
    assert withheld.tokens > 0


async def test_the_model_opens_it_for_the_next_tick_and_it_closes_when_the_execution_ends() -> None:
    session = library([call("expand", name="shelf")], "Emma is there.", "Bye.")

    first = await session.send("Which books?")
    second = await session.send("Thanks.")

    closed, opened = (tick.context for tick in first.ticks)
    assert "Emma" not in str(closed.system)
    assert "Moby Dick" in str(opened.system)
    assert not opened.withheld
    assert "Emma" not in str(second.ticks[0].context.system)
    assert second.ticks[0].context.withheld


async def test_opening_it_leaves_the_tools_as_they_are() -> None:
    session = library([call("expand", name="shelf")], "Emma is there.")
    result = await session.send("Which books?")

    assert result.ticks[0].context.tools == result.ticks[1].context.tools


async def test_an_unknown_name_goes_back_to_the_model() -> None:
    session = library([call("expand", name="shelve")], "Sorry.")
    result = await session.send("Which books?")

    (run,) = result.tool_calls
    assert run.result is not None
    assert run.result.is_error
    assert "did you mean 'shelf'" in run.result.text


async def test_the_user_opens_it_too() -> None:
    session = library("Yes.")
    await session.dispatch("expand", name="shelf")

    assert "Moby Dick" in str(session.compile().system)
    with pytest.raises(ToolError, match="nothing collapsed is named 'x'"):
        await session.dispatch("expand", name="x")


async def test_a_fork_before_the_tick_that_saw_it_open_sees_it_open() -> None:
    session = library([call("expand", name="shelf")], "Emma is there.")
    result = await session.send("Which books?")

    for tick in result.ticks:
        assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash


def test_several_share_one_tool() -> None:
    mounted = render([Collapsed("one", "1", name="a"), Collapsed("two", "2", name="b")])
    assert len(mounted.context.tools) == 1

    mounted.tools["expand"]("b")

    assert [part.text for part in mounted.context.system] == [
        "one [collapsed, ≈1 tokens; expand('a') shows it]",
        "2",
    ]


def test_two_of_one_name_name_both_places() -> None:
    with pytest.raises(CompileError, match=r"two Collapsed are named 'a': one at .*0/.*, one at .*1/"):
        _ = render([Collapsed("one", "1", name="a"), Collapsed("two", "2", name="a")]).context


def test_one_that_took_anothers_place_can_be_opened() -> None:
    setters: list[Any] = []

    @component
    def Swapping() -> Any:
        swapped, set_swapped = use_state(False)
        setters[:] = [set_swapped]
        return Section(Collapsed("s", "b", name="a"), id="x") if swapped else Collapsed("s", "a", name="a")

    mounted = render(Swapping())
    setters[0](True)
    _ = mounted.context

    mounted.tools["expand"]("a")

    assert mounted.context.system.text == "b"


def test_messages_cannot_be_collapsed() -> None:
    with pytest.raises(CompileError, match=r"a message stands inside .*only text and sections"):
        _ = render(Collapsed("s", User("a"), name="a")).context


def test_without_a_summary_it_is_refused() -> None:
    with pytest.raises(RenderError, match=r"Collapsed\(name='a'\) needs a summary"):
        render(Collapsed(Section("x"), name="a"))
