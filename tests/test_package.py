"""What importing the package costs, and what a reader of its README is promised."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

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


def test_an_installed_package_brings_the_first_notebook_and_the_static_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("nbsession-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "nbsession/notebooks/01-see-what-the-model-saw.ipynb" in names
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
