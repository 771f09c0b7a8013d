"""Two sessions are set beside each other, and where they part is found from what happened."""

from __future__ import annotations

from typing import Any

import pytest

from nbsession import App, Section, SessionError, System, Timeline, component, tool, use_knob
from nbsession.testing import ScriptedModel, call


@tool
def search(query: str) -> str:
    """Search."""
    return query


@component
def Agent() -> Any:
    tone, _ = use_knob("tone", "kind")
    return [System("You are here."), search, Section(f"Be {tone}.", id="tone"), Timeline()]


def made(*responses: Any) -> Any:
    return App(Agent, model=ScriptedModel(*responses)).session("one")


async def test_two_forks_part_at_the_first_part_that_differs() -> None:
    session = made("Hello.", "Kindly.", "More.", "Bluntly.")
    await session.send("Hi.")
    fork = session.fork(id="two")
    await session.send("What?")
    await session.send("And?")
    fork.knobs["tone"] = "blunt"
    await fork.send("What?")
    diff = session.compare(fork)
    pair = diff.divergence
    assert pair is not None
    assert (pair.number, pair.what) == (1, "the context, from Agent/Section[tone] on")
    assert pair.part is not None
    assert pair.part.text == "Be blunt."
    assert [change.new.text for change in pair.diff.changed] == ["Be blunt."]
    assert [each.what for each in diff.pairs] == ["", pair.what, "only one of them has this tick"]
    text = str(diff)
    assert text.startswith("one and two: they part at tick 1: the context, from Agent/Section[tone] on")
    assert "-Be kind." in text
    assert text.endswith("one: Kindly.\ntwo: Bluntly.")


async def test_the_same_context_with_another_answer_is_told_apart() -> None:
    session = made("Hello.", call("search", query="a"), "A.", call("search", query="b"), "B.")
    await session.send("Hi.")
    fork = session.fork(id="two")
    await session.send("Search.")
    await fork.send("Search.")
    pair = session.compare(fork).divergence
    assert pair is not None
    assert (pair.number, pair.what) == (1, "the answer, to the same context")
    assert not pair.diff
    assert "search" in str(session.compare(fork))


async def test_what_is_alike_says_so() -> None:
    session = made("Hello.")
    await session.send("Hi.")
    diff = session.compare(session.fork(id="two"))
    assert diff.divergence is None
    assert str(diff) == "one and two: 1 tick, all alike"


async def test_a_session_that_only_went_on_parts_where_the_other_ends() -> None:
    session = made("Hello.", "More.")
    await session.send("Hi.")
    fork = session.fork()
    await fork.send("And?")
    pair = session.compare(fork).divergence
    assert (pair.number, pair.one, pair.what) == (1, None, "only one of them has this tick")
    assert str(session.compare(fork)).endswith("More.")


def test_only_sessions_are_compared() -> None:
    with pytest.raises(SessionError, match="compare takes another session, got str: 'two'"):
        made().compare("two")
