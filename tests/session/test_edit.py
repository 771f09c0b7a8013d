"""Any part of what was sent can be edited and sent again, in a fork that says what was edited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    Cut,
    Fit,
    Priority,
    Section,
    System,
    Timeline,
    component,
    tool,
    use_knob,
    use_state,
)
from nbsession.errors import SessionError
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from pathlib import Path

    from nbsession.context import Part


@component
def Agent() -> Any:
    notes, set_notes = use_state(list[str])

    @tool
    def add_note(note: str) -> str:
        """Keep a note."""
        set_notes(lambda kept: [*kept, note])
        return f"Noted: {note}."

    return [
        System("You are kind."),
        add_note,
        notes and Section("\n".join(notes), id="notes", title="Notes"),
        Timeline(),
    ]


def made(store: Any = None) -> tuple[Any, Any]:
    model = ScriptedModel(call("add_note", note="milk"), "Done.", "Other.", "More.")
    session = App(Agent, model=model, store=store).session("talk")
    session.run("Buy milk.")
    return session, model


def the(session: Any, tick: int, *words: str) -> Part:
    """Return the only part of a tick's context that holds the words."""
    parts: tuple[Part, ...] = session.ticks[tick].context.parts
    return next(part for part in parts if part.kind != "tool" and all(word in part.text for word in words))


@pytest.mark.parametrize(
    ("words", "text"),
    [(("kind",), "You are blunt."), (("## Notes",), "## Notes\n\nmilk, eggs"), (("Buy",), "Buy oat milk.")],
)
def test_a_part_is_replaced_in_a_fork_and_marked(words: tuple[str, ...], text: str) -> None:
    session, _ = made()
    part = the(session, 1, *words)
    fork = session.edit(1, {part: text})
    changed = fork.compile()
    assert [each.text for each in changed.parts if each.edited] == [text]
    diff = changed.diff(session.ticks[1].context)
    assert len(diff.changed) == 1
    assert not diff.added
    assert diff.tokens == changed.tokens - session.ticks[1].context.tokens
    assert session.compile().hash == session.compile().hash
    assert not any(each.edited for each in session.compile().parts)


async def test_the_fork_sends_what_was_edited_and_its_record_says_so() -> None:
    session, model = made()
    fork = session.edit(1, {the(session, 1, "Noted"): "It could not be noted."})
    result = await fork.render()
    assert result.text == "Other."
    sent = model.contexts[-1]
    assert "It could not be noted." in str(sent.messages[-1])
    assert [part.role for part in fork.ticks[-1].context.parts if part.edited] == ["tool"]
    assert fork.ticks[-1].context.hash == sent.hash
    assert "Noted: milk." in fork.timeline[2].text


async def test_edits_outlive_the_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/kept.db"
    session, _ = made(SqlStore(url))
    fork = session.edit(1, {the(session, 1, "kind"): "You are blunt."}, id="other")
    await fork.render()
    hashed = fork.ticks[-1].context.hash
    session.close()
    fork.close()
    again = App(Agent, model=ScriptedModel("Yes."), store=SqlStore(url)).session("other")
    assert [part.text for part in again.ticks[-1].context.parts if part.edited] == ["You are blunt."]
    assert again.verify() == []
    assert again.ticks[-1].context.hash == hashed
    await again.send("And?")
    assert again.ticks[-1].context.system[0].text == "You are blunt."


async def test_an_edit_is_let_go_and_said_once_the_part_is_another() -> None:
    session, _ = made()
    fork = session.edit(1, {the(session, 1, "## Notes"): "## Notes\n\nnothing"})
    await fork.dispatch("add_note", note="eggs")
    context = fork.compile()
    assert not any(part.edited for part in context.parts)
    assert [item.reason for item in context.withheld] == [
        "edited before, but it is another one now, so the edit does not apply"
    ]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({}, "edit needs a part and its text"),
        ({"Agent/System.0": 3}, "a part is replaced by a text, got int: 3"),
        ({"Agent/Sytem.0": "x"}, "what was sent has no part 'Agent/Sytem.0'; did you mean 'Agent/System.0'"),
        ({7: "x"}, "a part is named by itself, or by its path, got int: 7"),
        ({"Agent": "x"}, "change what the model reads of it where it is defined"),
    ],
)
def test_a_faulty_edit_says_what_to_do_and_makes_no_fork(texts: Any, said: str) -> None:
    session, _ = made()
    with pytest.raises(SessionError, match=said):
        session.edit(1, texts, id="never")
    assert not session.app.knows("never")


def test_several_parts_of_one_path_are_named_apart() -> None:
    session, _ = made()
    path = the(session, 1, "Buy").path
    with pytest.raises(SessionError, match=r"there are 3 parts at .*; name one of them: .*#en"):
        session.edit(1, {path: "x"})


def test_a_message_cannot_be_emptied_nor_one_of_calls_alone_be_edited() -> None:
    session, _ = made()
    with pytest.raises(SessionError, match="cannot be edited to be empty"):
        session.edit(1, {the(session, 1, "Buy"): " "})
    calls = next(part for part in session.ticks[1].context.parts if part.role == "assistant")
    with pytest.raises(SessionError, match="and this one of assistant has ToolCall"):
        session.edit(1, {calls: "x"})


async def test_what_was_edited_can_be_edited_again() -> None:
    session, _ = made()
    fork = session.edit(1, {the(session, 1, "kind"): "You are blunt."})
    await fork.render()
    again = fork.edit(fork.ticks[-1], {the(fork, -1, "blunt"): "You are mute."})
    assert again.compile().system[0].text == "You are mute."
    assert again.compile().withheld == ()
    assert fork.ticks[-1].why(the(fork, -1, "blunt")) == "its text was edited"


def test_an_edit_counts_towards_the_budget_it_stands_in() -> None:
    @component
    def Fitted() -> Any:
        return Fit(
            System("Be kind."), Priority(1, Section("old " * 10, id="old")), Timeline(), max_tokens=120
        )

    session = App(Fitted, model=ScriptedModel("Yes.")).session()
    session.run("Hi")
    part = next(part for part in session.ticks[0].context.parts if part.key == "old")
    fork = session.edit(0, {part: "new " * 400})
    assert fork.compile().tokens <= 120
    assert [(item.reason, item.tokens > 300) for item in fork.compile().withheld] == [("budget", True)]


def test_a_text_that_was_cut_is_edited_as_a_whole() -> None:
    @component
    def Shortened() -> Any:
        room, _ = use_knob("room", 150, min=100, max=900)
        text = "\n".join(f"line {n} of a long document" for n in range(80))
        return Fit(System("Be kind."), Priority(1, Cut(Section(text, id="doc"))), Timeline(), max_tokens=room)

    session = App(Shortened, model=ScriptedModel("Yes.")).session()
    session.run("Hi")
    part = next(part for part in session.ticks[0].context.parts if part.key == "doc")
    assert session.ticks[0].why(part) == "it was cut for want of room"
    fork = session.edit(0, {part: "short"})
    assert [each.text for each in fork.compile().parts if each.edited] == ["short"]
    fork.knobs["room"] = 400
    assert [each.text for each in fork.compile().parts if each.edited] == ["short"]


async def test_parts_that_stand_twice_are_edited_one_by_one() -> None:
    @component
    def Counting() -> Any:
        count, set_count = use_state(0)

        @tool
        def more() -> str:
            """Count."""
            set_count(lambda n: n + 1)
            return "ok"

        return [more, Timeline(), Section(f"count {count}", id="count")]

    session = App(Counting, model=ScriptedModel(call("more"), "Done.")).session()
    await session.send("Go.")
    first, second = [part for part in session.ticks[1].context.parts if part.key == "count"]
    fork = session.edit(1, {first: "none", second: "one"})
    assert [part.text for part in fork.compile().parts if part.edited] == ["none", "one"]
    with pytest.raises(
        SessionError, match=r"there are 2 parts at .*; give one of tick\.context\.parts itself"
    ):
        session.edit(1, {first.path: "x"})
    only = the(session, 0, "count")
    with pytest.raises(SessionError, match="is given two texts"):
        session.edit(0, {only: "x", only.path: "y"})
