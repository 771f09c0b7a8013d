"""Lessons: with their exercises solved, and as nbgrader takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from nbsession.cli import main
from nbsession.cli.lesson import BEGIN, END, graded, marked
from nbsession.exercise import check

if TYPE_CHECKING:
    from pathlib import Path

START = "def double(n):\n    return n"
SOLUTION = "def double(n):\n    return 2 * n"


@pytest.fixture
def lesson(tmp_path: Path) -> Path:
    cells = [
        nbformat.v4.new_markdown_cell("# Doubling"),
        nbformat.v4.new_code_cell("from nbsession.exercise import check"),
        nbformat.v4.new_code_cell(START, metadata={"nbsession": {"solution": SOLUTION}}),
        nbformat.v4.new_code_cell(
            'check({"2 becomes 4": double(2) == 4})', metadata={"nbsession": {"points": 1}}
        ),
    ]
    path = tmp_path / "doubling.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def outcome(notebook: Any) -> Any:
    there: dict[str, Any] = {"display": print}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            exec(cell.source, there)  # the lesson above
    return there


def test_a_solved_lesson_has_the_solutions_in_place(lesson: Path, tmp_path: Path) -> None:
    assert main(["lesson", str(lesson), str(tmp_path / "solved.ipynb"), "--solved"]) == 0
    notebook = nbformat.read(tmp_path / "solved.ipynb", as_version=4)
    assert notebook.cells[2].source == SOLUTION
    assert outcome(notebook)["double"](2) == 4


def test_an_assignment_has_nbgraders_marks_around_what_is_to_be_written(lesson: Path, tmp_path: Path) -> None:
    assert main(["lesson", str(lesson), str(tmp_path / "source.ipynb"), "--nbgrader"]) == 0
    notebook = nbformat.read(tmp_path / "source.ipynb", as_version=4)
    exercise, checked = notebook.cells[2:]
    assert exercise.source == (
        "def double(n):\n    # return n\n    ### BEGIN SOLUTION\n    return 2 * n\n    ### END SOLUTION"
    )
    assert exercise.metadata.nbgrader.solution
    assert checked.metadata.nbgrader.points == 1
    assert checked.metadata.nbgrader.locked
    assert outcome(notebook)["_checked"]
    exercise.source = START
    with pytest.raises(AssertionError, match="2 becomes 4"):
        outcome(notebook)


LISTED = "def root():\n    return [\n        {},\n        2,\n    ]\n\n\nroot()"
DECORATED = "x = {0}\n\n\n@staticmethod\ndef root():\n    return {0}"


@pytest.mark.parametrize(
    ("start", "solution", "between"),
    [
        ("a\nb\nc", "a\nB\nc", ["B"]),
        ("a", "a\nb", ["b"]),
        ("# write it here", "x = 1\ny = 2", ["x = 1", "y = 2"]),
        ("a\n...\nz", "a\nb\nc\nz", ["b", "c"]),
        (LISTED.format(0), LISTED.format(1), ["    return [", "        1,", "        2,", "    ]"]),
        (DECORATED.format(0), DECORATED.format(1), DECORATED.format(1).splitlines()),
        ("%%time\nf(0)", "%%time\nf(1)", ["%%time", "f(1)"]),
    ],
)
def test_the_marks_hold_the_statements_that_differ(start: str, solution: str, between: list[str]) -> None:
    lines = marked(start, solution).splitlines()
    first, last = (next(n for n, line in enumerate(lines) if mark in line) for mark in (BEGIN, END))
    assert lines[first + 1 : last] == between
    ours = [line for line in lines if not line.lstrip().startswith("#")]
    assert ours == solution.splitlines()


def test_what_is_handed_out_is_python_and_shows_what_stood_there() -> None:
    lines = marked(LISTED.format(0), LISTED.format(1)).splitlines()
    first, last = (next(n for n, line in enumerate(lines) if mark in line) for mark in (BEGIN, END))
    handed_out = [*lines[:first], "    raise NotImplementedError()", *lines[last + 1 :]]
    assert handed_out[1:4] == ["    # return [", "    #     0,", "    #     2,"]
    with pytest.raises(NotImplementedError):
        exec("\n".join(handed_out), {})  # as nbgrader makes it


def test_only_a_check_is_graded() -> None:
    assert graded("x = 1") == "x = 1"
    assert graded("x = 1\ncheck({'a': s.check()})").startswith("x = 1\n_checked = check({'a': s.check()})\n")


def test_what_is_there_and_what_is_no_lesson_are_refused(
    lesson: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lesson", str(lesson), str(lesson), "--solved"]) == 1
    assert "--force" in capsys.readouterr().err
    (tmp_path / "text.ipynb").write_text("hello")
    assert main(["lesson", str(tmp_path / "text.ipynb"), str(tmp_path / "x.ipynb"), "--solved"]) == 1
    assert "is no notebook" in capsys.readouterr().err
    assert main(["lesson", str(tmp_path / "none.ipynb"), str(tmp_path / "x.ipynb"), "--solved"]) == 1
    assert "there is no notebook" in capsys.readouterr().err
    assert main(["lesson", str(lesson), str(tmp_path / "none" / "x.ipynb"), "--solved"]) == 1
    assert "there is no folder" in capsys.readouterr().err
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "plain.ipynb")
    assert main(["lesson", str(tmp_path / "plain.ipynb"), str(tmp_path / "x.ipynb"), "--solved"]) == 1
    assert "has no exercises" in capsys.readouterr().err


def test_a_check_says_what_holds_and_gives_a_hint_where_something_does_not() -> None:
    checked = check({"one is one": True, "one is <two>": False}, hint="count again")
    assert str(checked) == "✓ one is one\n○ one is <two>\nhint: count again"
    assert not checked
    assert "hint" not in str(check({"one is one": 1}, hint="none"))


def test_what_cannot_be_told_true_or_false_does_not_hold_and_the_claim_says_why() -> None:
    async def answer() -> str:
        return "yes"

    class Torn:
        def __bool__(self) -> bool:
            raise ValueError("both")

    checked = check({"it answers": answer(), "it knows": answer, "it is whole": Torn(), "it is one": 1})
    assert str(checked) == (
        "○ it answers (await it)\n○ it knows (call it)\n○ it is whole (ValueError: both)\n✓ it is one"
    )


@pytest.mark.parametrize(
    "text", ["[]", "{}", '"text"', '{"nbformat": 9, "nbformat_minor": 0, "metadata": {}, "cells": []}']
)
def test_json_that_is_no_notebook_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.ipynb").write_text(text)
    assert main(["lesson", str(tmp_path / "odd.ipynb"), str(tmp_path / "x.ipynb"), "--solved"]) == 1
    assert "is no notebook" in capsys.readouterr().err
    assert not (tmp_path / "x.ipynb").exists()


@pytest.mark.parametrize("form", ["--solved", "--nbgrader"])
@pytest.mark.parametrize(
    ("at", "about"), [(2, {"solution": ["a = 1"]}), (2, {"solution": None}), (3, {"points": "many"})]
)
def test_an_exercise_whose_metadata_is_odd_is_named_and_nothing_is_written(
    at: int, about: Any, form: str, lesson: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = nbformat.read(lesson, as_version=4)
    notebook.cells[at].metadata["nbsession"] = about
    nbformat.write(notebook, lesson)
    assert main(["lesson", str(lesson), str(tmp_path / "x.ipynb"), form]) == 1
    assert f"of cell {at} of {lesson} must be" in capsys.readouterr().err
    assert not (tmp_path / "x.ipynb").exists()
