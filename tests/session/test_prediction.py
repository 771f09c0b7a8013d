"""Predictions: what was expected of the next message, beside what came."""

from __future__ import annotations

from typing import Any

import pytest

from nbsession import App, Section, Session, SessionError, System, Timeline, component, tool, use_state
from nbsession.testing import ScriptedModel, call


@component
def Notepad() -> Any:
    notes, set_notes = use_state(list[str]())

    @tool
    def add_note(note: str) -> str:
        """Keep a note."""
        set_notes(lambda kept: [*kept, note])
        return "Noted."

    return [
        System("You keep notes."),
        add_note,
        notes and Section("\n".join(notes), id="notes", title="Notes"),
        Timeline(),
    ]


def noting() -> Session:
    return App(
        Notepad, model=ScriptedModel("Hello.", call("add_note", note="tea"), "Done.", "Bye.")
    ).session()


async def test_after_a_rewind_what_enters_is_told_from_where_the_session_stands() -> None:
    note = call("add_note", note="tea")
    session = App(Notepad, model=ScriptedModel(note, "Done.", note, "Done.", note, "Done.")).session()
    await session.send("Note it.")
    session.rewind(None)
    prediction = session.predict(enters="Notes", calls=2)
    await session.send("Note it.")
    assert prediction.grade()
    prediction = session.predict(enters="none")
    await session.send("Note it.")
    assert prediction.grade()


async def test_a_cell_that_runs_again_is_told_from_where_it_was_sent_first() -> None:
    note = call("add_note", note="tea")
    session = App(Notepad, model=ScriptedModel("Hello.", note, "Done.", note, "Done.")).session()
    await session.send("Hello.")
    before = session.timeline[-1].id
    wrong = session.predict(enters="none")
    await session.send("Note it.")
    assert not wrong.grade()
    right = session.predict(enters="Notes")
    session.rewind(before)  # as a cell does that is run again, once its guess is mended
    await session.send("Note it.")
    assert right.grade()
    assert not wrong.grade()


async def test_each_guess_is_set_beside_what_came() -> None:
    session = noting()
    await session.send("Hello.")
    prediction = session.predict(tool="add_note", enters="Notes", calls=2, tokens=1)
    await session.send("Note: tea.")
    grade = prediction.grade()
    assert grade.points == 3
    assert not grade
    assert [mark.right for mark in grade.marks] == [True, True, True, False]
    tokens = session.ticks[-1].context.tokens
    assert f"✗ tokens of the last context: ≈1; it was ≈{tokens}" in str(grade)
    assert grade.diff is not None
    assert "notes" in str(grade.diff).lower()


@pytest.mark.parametrize("name", ["Notepad/Section[notes]", "Notes", "Section", "*/Section*"])
async def test_a_part_goes_by_its_path_its_title_its_component_or_a_pattern(name: str) -> None:
    session = noting()
    await session.send("Hello.")
    prediction = session.predict(enters=name)
    await session.send("Note: tea.")
    assert prediction.grade()


async def test_tokens_may_be_off_by_a_share() -> None:
    session = noting()
    await session.send("Hello.")
    tokens = session.compile("Note: tea.").tokens
    exact = session.predict(tokens=tokens, within=0.5)
    strict = session.predict(tokens=2 * tokens, within=0.1)
    await session.send("Note: tea.")
    assert exact.grade()
    assert not strict.grade()


async def test_nothing_may_be_predicted_too() -> None:
    session = noting()
    quiet = session.predict(tool="none", leaves="none")
    await session.send("Hello.")
    assert quiet.grade()
    wrong = session.predict(tool="none", enters="none")
    await session.send("Note: tea.")
    assert wrong.grade().points == 0


async def test_only_the_next_execution_counts() -> None:
    session = noting()
    prediction = session.predict(calls=1)
    await session.send("Hello.")
    await session.send("Note: tea.")
    assert prediction.grade()


async def test_a_prediction_is_graded_once_something_was_sent() -> None:
    prediction = noting().predict(tool="add_note")
    assert not prediction.done
    with pytest.raises(SessionError, match="send the message"):
        prediction.grade()


@pytest.mark.parametrize(
    ("guesses", "says"),
    [
        ({}, "says what it expects"),
        ({"toll": "x"}, "did you mean 'tool'"),
        ({"tokens": "many"}, "whole number"),
        ({"enters": 3}, "a name, several"),
        ({"tool": ""}, "a name, several"),
        ({"enters": ["Notes", " "]}, "a name, several"),
        ({"tokens": 3, "within": 2}, "share from 0 to 1"),
    ],
)
def test_what_cannot_be_graded_is_refused(guesses: dict[str, Any], says: str) -> None:
    with pytest.raises(SessionError, match=says):
        noting().predict(**guesses)
