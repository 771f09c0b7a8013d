"""Any part of what was sent can be edited and sent again, in a fork that says what was edited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Section, System, Timeline, component, tool, use_state
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
        "edited before, but it is another one now, so the edit is let go"
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
