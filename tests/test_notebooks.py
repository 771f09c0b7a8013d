"""Every notebook runs from top to bottom, again after a restart, and is kept without its outputs."""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from nbsession.cli.lesson import solved

WIDTH = 88
FOLDER = Path(__file__).parents[1] / "notebooks"
LESSONS = sorted(FOLDER.glob("*.ipynb"))
MORE = sorted(FOLDER.glob("more/*.ipynb"))


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBSESSION_STORE", f"sqlite:///{tmp_path / 'sessions.db'}")
    monkeypatch.setenv("NBSESSION_MODEL", "simulated")
    monkeypatch.setenv("NBSESSION_SIMULATED_RATE", "0")


@pytest.fixture(params=[*LESSONS, *MORE], ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> Any:
    return nbformat.read(request.param, as_version=4)


def run(notebook: Any, folder: Path) -> None:
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute(cwd=str(folder))
    for cell in notebook.cells:
        if cell.source.startswith("%%session"):
            assert any("simulated" in str(out.get("data")) for out in cell.outputs), cell.source


def said(cell: Any) -> str:
    return "".join(out.data.get("text/plain", "") for out in cell.get("outputs", ()) if "data" in out)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_as_it_is_and_with_its_exercises_solved_in_a_new_kernel(
    path: Path, tmp_path: Path
) -> None:
    lesson = nbformat.read(path, as_version=4)
    checks = [n for n, cell in enumerate(lesson.cells) if "points" in cell.metadata.get("nbsession", {})]
    assert len(checks) >= 3
    done = solved(lesson)
    run(lesson, tmp_path)
    assert any("○" in said(lesson.cells[n]) for n in checks), "nothing was left to do"
    run(done, tmp_path)
    assert [n for n in checks if "○" in said(done.cells[n]) or "✓" not in said(done.cells[n])] == []


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lessons_code_has_lines_that_a_notebook_shows_whole(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    texts = [
        text
        for cell in cells
        for text in (cell.source, cell.metadata.get("nbsession", {}).get("solution", ""))
    ]
    assert [line for text in texts for line in text.splitlines() if len(line) > WIDTH] == []


@pytest.mark.parametrize("path", LESSONS[1:], ids=lambda path: path.stem)
def test_an_exercise_is_solved_in_the_kernel_of_a_wrong_answer(path: Path, tmp_path: Path) -> None:
    lesson = nbformat.read(path, as_version=4)
    done = solved(lesson)
    tried = nbformat.v4.new_notebook()
    begun = None
    for at, cell in enumerate(lesson.cells):
        about = cell.metadata.get("nbsession", {})
        if "solution" in about and begun is None:
            begun = at
        tried.cells.append(cell)
        if "points" in about and begun is not None:
            tried.cells += copy.deepcopy(done.cells[begun : at + 1])
            begun = None
    run(tried, tmp_path)
    last = {cell.source: said(cell) for cell in tried.cells if cell.source.count("check(")}
    assert [text for text in last.values() if "○" in text] == []


WRONG = {
    "01-see-what-the-model-saw": {"notepad of {len(notes)} notes": "notepad of 1 notes"},
    "03-debug-an-agent": {
        "and at < last": "and at < 0",
        'Priority(-1, Section(offers, id="offers", title="Offers of the week"))': "None",
    },
    "04-build-an-agent": {"Priority(-1, Section(book": "Priority(1, Section(book"},
    "05-is-it-better": {"luck = await Experiment(": "luck = Experiment("},
    "06-keep-wait-and-serve": {', request_id="bread"': ""},
}


@pytest.mark.parametrize("name", WRONG)
def test_an_answer_that_only_looks_right_does_not_pass(name: str, tmp_path: Path) -> None:
    lesson = solved(nbformat.read(FOLDER / f"{name}.ipynb", as_version=4))
    for cell in lesson.cells:
        for right, wrong in WRONG[name].items():
            if not cell.source.startswith("check("):
                cell.source = cell.source.replace(right, wrong)
    run(lesson, tmp_path)
    assert sum("○" in said(cell) for cell in lesson.cells) == len(WRONG[name])


def test_a_fork_is_asked_again_as_often_as_its_cell_is_run(tmp_path: Path) -> None:
    lesson = solved(nbformat.read(FOLDER / "02-change-one-thing.ipynb", as_version=4))
    twice = next(
        n
        for n, cell in enumerate(lesson.cells)
        if "turned.render()" in cell.source and "knobs" in cell.source
    )
    lesson.cells.insert(twice, nbformat.v4.new_code_cell(lesson.cells[twice].source))
    run(lesson, tmp_path)
    assert not any("○" in said(cell) for cell in lesson.cells)


@pytest.mark.parametrize("path", MORE, ids=lambda path: path.stem)
def test_a_notebook_runs_and_runs_again_in_a_new_kernel(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for _ in range(2):
        run(notebook, tmp_path)


def test_a_notebook_is_kept_without_outputs(notebook: Any) -> None:
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in codes)
    assert notebook.metadata.kernelspec.name == "python3"


def test_a_notebook_imports_nothing_that_an_install_does_not_bring(notebook: Any) -> None:
    codes = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    imported = set(re.findall(r"^(?:from|import) (\w+)", codes, re.MULTILINE))
    written = re.findall(r"^%%writefile (\w+)\.py$", codes, re.MULTILINE)
    assert imported <= {"nbsession", *written, *sys.stdlib_module_names}


@pytest.mark.parametrize("path", [*LESSONS, *MORE], ids=lambda path: path.stem)
def test_a_notebooks_links_lead_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    linked = re.findall(r"\]\(([\w./-]+\.ipynb)\)", text)
    assert [link for link in linked if not (path.parent / link).is_file()] == []
