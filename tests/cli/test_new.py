"""The notebook that ``nbsession new`` writes, and what it refuses."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbclient import NotebookClient

from nbsession.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_notebook_is_called_as_asked_and_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "trip-planner"]) == 0
    assert "trip-planner.ipynb" in capsys.readouterr().out
    notebook = nbformat.read(tmp_path / "trip-planner.ipynb", as_version=4)
    sources = [cell.source for cell in notebook.cells]
    assert any("def TripPlanner():" in source for source in sources)
    assert "%session new TripPlanner --id trip_planner" in sources
    assert not any("tarter" in source for source in sources)
    monkeypatch.setenv("NBSESSION_MODEL", "simulated")
    monkeypatch.setenv("NBSESSION_STORE", f"sqlite:///{tmp_path}/sessions.db")
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    (tested,) = [cell for cell in notebook.cells if cell.source.startswith("from nbsession import App")]
    assert "the fact is in the context" in tested.outputs[-1].data["text/plain"]


@pytest.mark.parametrize(("path", "command"), [("bin", "jupyter"), ("elsewhere", "bin/jupyter")])
def test_it_is_opened_by_the_jupyter_beside_this_python(
    path: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder in ("bin", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "jupyter").touch(mode=0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / path))
    assert main(["new", "mine"]) == 0
    assert capsys.readouterr().out.endswith(f"open it with: {command} lab mine.ipynb\n")


def test_a_notebook_that_is_there_is_not_written_over_unless_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.ipynb").write_text("work of a week")
    assert main(["new", "mine"]) == 1
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "mine.ipynb").read_text() == "work of a week"
    assert main(["new", "mine", "--force"]) == 0


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("9x", "begin with a letter"),
        ("none/x", "make it first"),
        ("", "begin with a letter"),
        ("system", "System is a name of nbsession's own"),
        ("Timeline", "Timeline is a name of nbsession's own"),
    ],
)
def test_a_name_that_cannot_be_is_told_in_one_line(
    name: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", name]) == 1
    said = capsys.readouterr().err.strip()
    assert says in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "component", "id"),
    [
        ("kickstarter", "Kickstarter", "kickstarter"),
        ("My starter", "MyStarter", "my_starter"),
        ("旅", "旅", "旅"),
        ("it's <b>", "ItSB", "it_s_b"),
    ],
)
def test_a_name_of_any_kind_gives_a_component_and_an_id(
    name: str, component: str, id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", name]) == 0
    assert shlex.split(capsys.readouterr().out.partition("with: ")[2])[-1] == f"{name}.ipynb"
    notebook = nbformat.read(tmp_path / f"{name}.ipynb", as_version=4)
    assert f"%session new {component} --id {id}" in [cell.source for cell in notebook.cells]
