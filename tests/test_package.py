"""What importing the package costs, and what a reader of its README is promised."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rattler_build import Stage0Recipe

ROOT = Path(__file__).parents[1]
LATER = {
    "IPython",
    "aiohttp",
    "anthropic",
    "anywidget",
    "fastapi",
    "httpx",
    "ipykernel",
    "ipywidgets",
    "jinja2",
    "jupyter_client",
    "markdown_it",
    "nest_asyncio2",
    "openai",
    "pydantic",
    "sqlalchemy",
    "starlette",
    "tornado",
    "traitlets",
}


def loaded_by(code: str) -> set[str]:
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_the_package_loads_no_notebook_no_provider_and_no_framework() -> None:
    assert loaded_by("import nbsession") & LATER == set()


def test_every_public_name_is_there_and_none_of_them_brings_the_notebook_along() -> None:
    code = "import nbsession\nfor name in nbsession.__all__: getattr(nbsession, name)"
    unwanted = {"IPython", "ipywidgets", "anywidget", "anthropic", "openai", "starlette", "fastapi"}
    assert loaded_by(code) & unwanted == set()


def test_loading_the_extension_waits_with_widgets_and_providers() -> None:
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "InteractiveShell.instance().run_line_magic('load_ext', 'nbsession')"
    )
    assert loaded_by(code) & {"anthropic", "openai", "anywidget", "ipywidgets", "sqlalchemy"} == set()


def test_the_package_ships_its_types_and_its_version() -> None:
    import nbsession

    assert (Path(nbsession.__file__).parent / "py.typed").is_file()
    assert nbsession.__version__ == metadata.version("nbsession")


def run(*command: str | Path, cwd: Path, **added: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **added}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.timeout(600)
def test_a_source_distribution_installs_where_nothing_is_and_has_all_that_a_wheel_has(tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip")
    run(*pip, "install", "-q", "--target", tmp_path / "tools", "hatchling", cwd=tmp_path)
    hatch = (sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path))
    run(*hatch, cwd=ROOT, PYTHONPATH=str(tmp_path / "tools"))
    (source,) = tmp_path.glob("nbsession-*.tar.gz")
    for place, of in (("packed", source), ("tree", ROOT)):
        run(*pip, "wheel", "-q", "--no-deps", "-w", tmp_path / place, of, cwd=tmp_path)
    (packed,), (tree,) = (list((tmp_path / place).glob("*.whl")) for place in ("packed", "tree"))
    assert names_in(packed) == names_in(tree)

    run(sys.executable, "-m", "venv", tmp_path / "environment", cwd=tmp_path)
    programs = tmp_path / "environment" / "bin"
    run(programs / "pip", "install", "-q", packed, cwd=tmp_path)
    told = {"PYTHONPATH": "", "HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")}
    assert "simulated" in run(programs / "nbsession", "demo", "--check", cwd=tmp_path, **told)
    run(programs / "nbsession", "new", "trips", cwd=tmp_path, **told)
    assert list(tmp_path.glob("**/trips.ipynb"))


def bounds(needs: list[str]) -> dict[str, SpecifierSet]:
    return {need.name: need.specifier for need in map(Requirement, needs)}


def test_the_conda_recipe_renders_and_tells_what_the_package_tells() -> None:
    (rendered,) = Stage0Recipe.from_file(ROOT / "conda" / "recipe" / "recipe.yaml").render()
    recipe = rendered.recipe.to_dict()
    needs, about = recipe["requirements"], recipe["about"]
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project, tools = pyproject["project"], pyproject["build-system"]["requires"]
    python = f"python {project['requires-python']}"
    assert recipe["package"] == {"name": project["name"], "version": project["version"]}
    assert bounds(needs["run"]) == bounds([python, *project["dependencies"]])
    assert bounds(needs["host"]) == bounds([python, "pip", *tools])
    commands = [f"{name} = {place}" for name, place in project["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == commands
    assert (about["summary"], about["license"]) == (project["description"], project["license"])
    assert about["license_file"] == project["license-files"]
    assert about["homepage"] == project["urls"]["Home"]
    assert about["documentation"] == project["urls"]["Documentation"]


def test_the_citation_has_the_packages_version() -> None:
    told = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {metadata.version('nbsession')}\n" in told


def test_an_installed_package_brings_the_notebooks_and_the_static_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("nbsession-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for notebook in (ROOT / "notebooks").rglob("*.ipynb"):
        assert f"nbsession/{notebook.relative_to(ROOT).as_posix()}" in names
    assert "nbsession/cli/starter.ipynb" in names
    assert "nbsession/py.typed" in names
    for static in (ROOT / "nbsession" / "notebook").glob("*/static/*"):
        if static.is_file():
            assert static.relative_to(ROOT).as_posix() in names


def test_the_readmes_test_line_is_what_continuous_integration_calls() -> None:
    blocks = re.findall(r"```sh\n(.*?)\n```", (ROOT / "README.md").read_text("utf-8"), flags=re.DOTALL)
    install, test = blocks
    assert install.endswith("nbsession demo")
    assert (ROOT / ".ci" / "run").read_text("utf-8").splitlines()[-1] == test


def test_every_code_block_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"```(?:python|ipython)\n(.*?)\n```", text, flags=re.DOTALL)
    assert len(blocks) >= 4
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(block) for block in blocks])
    monkeypatch.setenv("NBSESSION_STORE", f"sqlite:///{tmp_path / 'sessions.db'}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute(cwd=str(tmp_path))
    unknown = [out.text for cell in notebook.cells for out in cell.outputs if out.get("name") == "stderr"]
    assert unknown == []


def test_an_installed_package_brings_an_extension_that_jupyterlab_lists(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("nbsession-*.whl"))) as wheel:
        wheel.extractall(tmp_path)
    (data,) = tmp_path.glob("nbsession-*.data/data/share/jupyter")
    listed = subprocess.run(
        [sys.executable, "-m", "jupyter", "labextension", "list"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "JUPYTER_PATH": str(data), "JUPYTER_DATA_DIR": str(tmp_path / "data")},
    )
    assert re.search(r"nbsession v0\.1\.0 .*enabled.*OK", listed.stdout + listed.stderr)


def test_the_extension_has_the_packages_version() -> None:
    package = json.loads((ROOT / "labextensions" / "nbsession" / "package.json").read_text("utf-8"))
    assert package["version"] == metadata.version("nbsession")
    assert (ROOT / "labextensions" / "nbsession" / package["jupyterlab"]["_build"]["load"]).is_file()
