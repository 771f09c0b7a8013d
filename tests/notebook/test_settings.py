"""What is set once for a notebook: by ``%config``, and by the project around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from traitlets.config import Config

from nbsession import App, System, Timeline, component
from nbsession.notebook.project import find_project
from nbsession.notebook.settings import Nbsession
from nbsession.notebook.view.execution import ExecutionView
from nbsession.notebook.view.look import Look, look
from nbsession.testing import ScriptedModel
from tests.notebook.kernels import Kernel, running_kernel
from tests.notebook.test_magics import SETUP, fine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROJECT = """
[tool.nbsession]
model = "simulated"
store = "sqlite:///{store}"
budget = 2
max_ticks = 7
folds = "all"
live = "yes"
displai = "off"
"""


@pytest.fixture(autouse=True)
def _looks() -> Iterator[None]:
    yield
    look.folds, look.theme = Look().folds, Look().theme


def project(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text, "utf-8")
    inner = folder / "notebooks" / "deep"
    inner.mkdir(parents=True, exist_ok=True)
    return inner


def test_a_project_is_found_above_the_working_directory_where_its_table_stands(tmp_path: Path) -> None:
    inner = project(tmp_path, "[tool.nbsession]\nmodel = 'simulated'\n")
    (inner / "pyproject.toml").write_text("[tool.other]\n", "utf-8")
    found = find_project(inner)
    assert (found.path, found.values) == (tmp_path / "pyproject.toml", {"model": "simulated"})


def test_what_is_wrong_in_a_project_is_told_in_a_line_each_and_the_rest_holds(tmp_path: Path) -> None:
    settings = Nbsession()
    found = find_project(project(tmp_path, PROJECT))
    live, displai = settings.adopt(found)
    where = f"{tmp_path / 'pyproject.toml'}: [tool.nbsession] "
    assert live == f"{where}live is true or false, got 'yes'"
    assert displai == f"{where}has no key 'displai'; did you mean 'display'?"
    assert (settings.model, settings.budget, settings.max_ticks) == ("simulated", 2.0, 7)
    assert (settings.live, settings.display, look.folds) == (True, "full", "all")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("theme = 'drak'", "theme is one of 'auto', 'light', 'dark', got 'drak'"),
        ("max_ticks = true", "max_ticks is a whole number, 0 or more, got True"),
        ("max_ticks = -1", "max_ticks is a whole number, 0 or more, got -1"),
        ("budget = '1'", "budget is an amount of US dollars, 0 or more, got '1'"),
        ("budget = -0.5", "budget is an amount of US dollars, 0 or more, got -0.5"),
        ("model = 3", "model is a text, got 3"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_what_is_allowed(line: str, said: str, tmp_path: Path) -> None:
    (complaint,) = Nbsession().adopt(find_project(project(tmp_path, f"[tool.nbsession]\n{line}\n")))
    assert complaint.endswith(f"[tool.nbsession] {said}")


@pytest.mark.parametrize("text", ["[tool.nbsession\n", "[tool]\nnbsession = 3\n"])
def test_a_file_that_cannot_be_read_is_told_and_sets_nothing(text: str, tmp_path: Path) -> None:
    found = find_project(project(tmp_path, text))
    assert found.complaint.startswith(str(tmp_path / "pyproject.toml"))
    assert found.values == {}
    assert "\n" not in found.complaint


def test_a_configuration_goes_before_the_project(tmp_path: Path) -> None:
    config = Config({"Nbsession": {"max_ticks": 3}})
    settings = Nbsession(config=config)
    settings.adopt(find_project(project(tmp_path, "[tool.nbsession]\nmax_ticks = 7\nbudget = 1\n")))
    assert (settings.max_ticks, settings.budget) == (3, 1.0)


@component
def Echo() -> object:
    return [System("You are terse. " * 20), Timeline()]


async def html_of(folds: str = "changed", theme: str = "auto") -> str:
    look.folds, look.theme = folds, theme
    view = ExecutionView(App(Echo, model=ScriptedModel("Hello.")).session().send("Hi"), live=False)
    await view.follow()
    return view.static()["text/html"]


async def test_folds_say_what_is_unfolded_at_first() -> None:
    assert "<details class=ctx>" in await html_of("none")
    assert "<details class=ctx>" in await html_of("changed")
    assert "<details class=ctx open>" in await html_of("all")


async def test_a_theme_is_forced_on_the_root_of_an_output() -> None:
    assert '<div class="nbs mathjax_ignore tex2jax_ignore">' in await html_of()
    assert '<div class="nbs mathjax_ignore tex2jax_ignore dark">' in await html_of(theme="dark")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with running_kernel(XDG_DATA_HOME=str(tmp_path_factory.mktemp("data"))) as kernel:
        fine(kernel.run(SETUP))
        yield kernel


def test_with_display_off_a_cell_shows_nothing_and_binds_its_result(kernel: Kernel) -> None:
    fine(kernel.run("bot = app('one', 'two', 'three')\n%session new bot"))
    fine(kernel.run("%config Nbsession.display = 'off'"))
    ran = fine(kernel.run("%%session --as answer\nHi"))
    assert (ran.of("display_data"), ran.text) == ([], "")
    assert fine(kernel.run("print(answer.text)")).text == "one\n"
    assert "two" in fine(kernel.run("%%session --display full\nHi")).shown[-1]
    fine(kernel.run("%config Nbsession.display = 'full'"))
    assert fine(kernel.run("%%session --display off\nHi")).of("display_data") == []


def test_the_projects_file_holds_in_a_kernel_and_the_model_of_an_app_goes_before_it(
    kernel: Kernel, tmp_path: Path
) -> None:
    inner = project(tmp_path, PROJECT.format(store=tmp_path / "talks.db"))
    fine(kernel.run(f"import os; before = os.getcwd(); os.chdir({str(inner)!r})"))
    fine(kernel.run("%unload_ext nbsession"))
    told = fine(kernel.run("%load_ext nbsession"))
    assert "has no key 'displai'" in "".join(said["text"] for said in told.of("stream"))
    assert "model simulated" in fine(kernel.run("%session new Echo --id kept")).text
    fine(kernel.run("%%session\nHi"))
    assert (tmp_path / "talks.db").is_file()
    fine(kernel.run("bot = app('mine')\n%session new bot"))
    assert "mine" in fine(kernel.run("%%session\nHi")).shown[-1]
    assert "budget" in fine(kernel.run("%config Nbsession")).text
    fine(kernel.run("os.chdir(before)"))
    fine(kernel.run("%unload_ext nbsession"))
    fine(kernel.run("%load_ext nbsession"))
