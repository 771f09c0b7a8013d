from __future__ import annotations

from typing import Any

import pytest

from nbsession import App, Section, Session, System, Timeline, component, use_knob
from nbsession.notebook.panels.inspector import Inspector
from nbsession.notebook.panels.side_by_side import Companion, side_by_side
from nbsession.testing import ScriptedModel
from tests.notebook.test_inspector import noted, words


@component
def Guide() -> Any:
    tone, _ = use_knob("tone", "kind", options=["kind", "curt"])
    return [System(f"Be a {tone} guide."), Section("Prefer trains.", id="rules", title="Rules"), Timeline()]


async def parted() -> tuple[Session, Session]:
    """Return a session of three ticks and a fork that says something else from tick 1 on, and has two."""
    session = App(Guide, model=ScriptedModel("One.", "Two.", "Three.")).session("guide")
    for message in ("First", "Second", "Third"):
        await session.send(message)
    fork = session.fork(0)
    fork.model = ScriptedModel("Zwei.")
    fork.knobs["tone"] = "curt"
    await fork.send("Other")
    return session, fork


def beside(session: Session, fork: Session) -> Inspector:
    panel = Inspector(session)
    panel.hear({"k": "company", "id": fork.id})
    assert panel.said == ""
    return panel


async def test_a_fork_is_chosen_from_the_tree_or_the_list_and_stands_beside_the_session_until_it_is_put_aside() -> (
    None
):
    session, fork = await parted()
    panel = Inspector(session)
    assert f'data-do="company:{fork.id}"' in panel.html()
    assert f'<option value="{fork.id}">' in panel.html()
    panel.hear({"k": "company", "id": fork.id})
    assert f"guide · tick 2 · ≈{session.ticks[2].context.tokens} tokens" in words(panel.html())
    panel.hear({"k": "company", "id": ""})
    assert panel.companion is None
    assert panel.answer()["other"] == -1


async def test_any_session_that_the_user_named_may_stand_beside() -> None:
    session, stranger = await noted("Milk."), App(Guide, model=ScriptedModel("Hi.")).session("stranger")
    await stranger.send("Hello")
    panel = Inspector(session, [("mine", session), ("theirs", stranger)])
    assert panel.others == {"stranger": "theirs"}
    panel.hear({"k": "company", "id": "stranger"})
    panel.hear({"k": "go", "tick": 0})
    seen = words(panel.html())
    assert "They part at tick 0: the context" in seen
    assert "Hi." in seen


async def test_a_session_that_nobody_knows_is_not_set_beside() -> None:
    panel = Inspector(await noted("Milk."))
    panel.hear({"k": "company", "id": "x"})
    assert panel.said == "there is no session 'x' to be set beside 'pad'"
    assert panel.companion is None


async def test_a_step_moves_both_while_they_are_locked_and_one_alone_after_that() -> None:
    session, fork = await parted()
    panel = beside(session, fork)
    panel.hear({"k": "go", "tick": 1})
    assert (panel.answer()["tick"], panel.answer()["other"]) == (1, 1)
    panel.hear({"k": "lock"})
    panel.hear({"k": "go", "tick": 0})
    assert (panel.answer()["tick"], panel.answer()["other"], panel.answer()["locked"]) == (0, 1, False)
    panel.hear({"k": "lock"})
    panel.hear({"k": "go", "tick": 1})
    assert (panel.answer()["tick"], panel.answer()["other"]) == (1, 2)
    panel.hear({"k": "other", "tick": 0})
    assert panel.answer()["other"] == 0


async def test_what_differs_stands_between_counterparts_and_what_is_alike_is_counted() -> None:
    session, fork = await parted()
    pair = side_by_side(session, 1, Companion(fork))
    shown = [
        (row.title, row.change, [line.text for line in row.one], [line.text for line in row.other])
        for row in pair.rows
    ]
    assert shown == [
        ("system", "changed", ["Be a kind guide."], ["Be a curt guide."]),
        ("user", "changed", ["Second"], ["Other"]),
    ]
    assert pair.alike == 3  # the section, the first message and its answer
    assert sum(row.delta for row in pair.rows) == pair.delta
    seen = words(str(beside(session, fork).html()))
    assert "They part at tick 1: the context, from Guide/System" in seen


async def test_what_one_of_them_lacks_is_said_in_its_place() -> None:
    session, fork = await parted()
    panel = beside(session, fork)
    panel.hear({"k": "go", "tick": 2})
    assert f"{fork.id} has no tick 2." in words(panel.html())
    shorter = beside(fork, session)
    shorter.hear({"k": "go", "tick": 2})
    assert shorter.answer()["name"] == "Tick 2"
    assert f"{fork.id} has no tick 2." in words(shorter.html())
    assert "Three." in words(shorter.html())


async def test_where_they_part_is_gone_to_and_both_are_in_step_again() -> None:
    session, fork = await parted()
    panel = beside(session, fork)
    panel.hear({"k": "lock"})
    panel.hear({"k": "go", "tick": 0})
    panel.hear({"k": "part"})
    answer = panel.answer()
    assert (answer["tick"], answer["other"], answer["locked"]) == (1, 1, True)
    assert "– here" in words(panel.html())


async def test_sessions_that_do_not_part_say_so_and_the_panel_stays_where_it_is() -> None:
    session, _ = await parted()
    panel = beside(session, session.fork(2))
    panel.hear({"k": "go", "tick": 1})
    panel.hear({"k": "part"})
    assert panel.marks[0] == 1
    seen = words(panel.html())
    assert "3 ticks, all alike" in seen
    assert "The same was sent: 5 parts" in seen


async def test_both_stand_in_the_saved_form_without_controls() -> None:
    session, fork = await parted()
    panel = beside(session, fork)
    panel.hear({"k": "go", "tick": 1})
    static = panel.static()
    assert "<button" not in static["text/html"]
    assert "<select" not in static["text/html"]
    for said in ("Two.", "Zwei."):
        assert said in words(static["text/html"])
        assert said in static["text/plain"]
    assert f"tick 1 of guide beside tick 1 of {fork.id}" in static["text/plain"]


async def test_a_tick_of_the_one_beside_is_taken_up() -> None:
    session, fork = await parted()
    panel = beside(session, fork)
    panel.hear({"k": "go", "tick": 2})
    fork.model = ScriptedModel("Drei.")
    await fork.send("Third")
    panel.take_up()
    assert "Drei." in words(panel.html())


@pytest.mark.parametrize("message", [{"k": "lock"}, {"k": "part"}, {"k": "other", "tick": 1}])
async def test_keys_of_two_sessions_do_nothing_where_there_is_one(message: dict[str, Any]) -> None:
    panel = Inspector(await noted("Milk."))
    panel.hear(message)
    assert panel.marks == (1, 0)
    assert panel.said == ""
