"""Every notebook runs from top to bottom, again after a restart, and is kept without its outputs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> Any:
    return nbformat.read(request.param, as_version=4)


def test_a_notebook_runs_and_runs_again_in_a_new_kernel(
    notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBSESSION_STORE", f"sqlite:///{tmp_path / 'sessions.db'}")
    monkeypatch.setenv("NBSESSION_SIMULATED_RATE", "0")
    for _ in range(2):
        NotebookClient(notebook, timeout=60, kernel_name="python3").execute(cwd=str(tmp_path))
        for cell in notebook.cells:
            if cell.source.startswith("%%session"):
                assert any("simulated" in str(out.get("data")) for out in cell.outputs), cell.source


def test_a_notebook_is_kept_without_outputs(notebook: Any) -> None:
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in codes)
    assert notebook.metadata.kernelspec.name == "python3"


def test_a_notebook_imports_nothing_that_an_install_does_not_bring(notebook: Any) -> None:
    codes = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    imported = set(re.findall(r"^(?:from|import) (\w+)", codes, re.MULTILINE))
    written = re.findall(r"^%%writefile (\w+)\.py$", codes, re.MULTILINE)
    assert imported <= {"nbsession", *written, *sys.stdlib_module_names}
