"""Notebooks that nobody looks at while they run: papermill, ``jupyter execute``, ``nbconvert --execute``."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import papermill
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SETUP = """
%load_ext nbsession
from nbsession import *
from nbsession.testing import ScriptedModel, call

@tool
def look(place: str) -> str:
    "Look somewhere."
    return f"Nothing in the {place}."

@component
def Agent():
    tone, _ = use_knob("tone", "kind", options=["kind", "curt"])
    return [System(f"Be {tone}."), look, Timeline()]

app = App(Agent, model=ScriptedModel(call("look", place="cellar"), "Nothing **there**."))
%session new app --as talk
"""
CELLS = (
    SETUP,
    "place = 'attic'\nnights = 1",
    "%%session\nLook in the {{place}} for {{nights}} nights.",
    "%session knobs",
    "%session inspect",
    "print(talk.timeline[0].text)",
)


def notebook(path: Path) -> Path:
    """Write a notebook whose second cell has the parameters."""
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    cells[1].metadata.tags = ["parameters"]
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)
    return path


def with_papermill(path: Path) -> Path:
    done = path.with_name("done.ipynb")
    parameters = {"place": "cellar", "nights": 3}
    papermill.execute_notebook(path, done, parameters=parameters, progress_bar=False, kernel_name="python3")
    return done


def with_jupyter_execute(path: Path) -> Path:
    run("jupyter", "execute", "--inplace", str(path))
    return path


def with_nbconvert(path: Path) -> Path:
    run("jupyter", "nbconvert", "--to", "notebook", "--execute", "--output", "done.ipynb", str(path))
    return path.with_name("done.ipynb")


def run(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("execute", "asked"),
    [
        (with_papermill, "Look in the cellar for 3 nights."),
        (with_jupyter_execute, "Look in the attic for 1 nights."),
        (with_nbconvert, "Look in the attic for 1 nights."),
    ],
)
def test_session_cells_run_and_leave_clean_static_outputs(
    execute: Callable[[Path], Path], asked: str, tmp_path: Path
) -> None:
    done: Any = nbformat.read(execute(notebook(tmp_path / "made.ipynb")), as_version=4)
    cells = {cell.source: cell.outputs for cell in done.cells if cell.cell_type == "code"}
    assert cells[CELLS[-1]][0].text.strip() == asked
    (answer,) = cells[CELLS[2]]
    assert "Nothing <strong>there</strong>." in answer.data["text/html"]
    assert "Nothing in the cellar." in answer.data["text/html"]
    assert "Nothing **there**." in answer.data["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" not in answer.data
    for panel in CELLS[3:5]:
        assert any("text/html" in output.data for output in cells[panel])
    assert "widgets" not in done.metadata
