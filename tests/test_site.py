"""The site: it builds without a warning, and what it tells to write runs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import nbsession.experiment
from nbsession.session import SessionDiff, TickPair
from nbsession.statistics import Comparison, Interval

DOCS = Path(__file__).parents[1] / "docs"
GUIDE = re.findall(r"^(guide/[\w-]+)$", (DOCS / "index.md").read_text("utf-8"), flags=re.MULTILINE)
APART = sorted(
    path.relative_to(DOCS).with_suffix("").as_posix()
    for folder in ("howto", "coming-from")
    for path in (DOCS / folder).glob("*.md")
)


def blocks(page: str) -> list[str]:
    text = (DOCS / f"{page}.md").read_text("utf-8")
    found: list[str] = re.findall(r"```(?:python|ipython)\n(.*?)\n```", text, flags=re.DOTALL)
    return found


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-E",
        "-W",
        "--keep-going",
        "-d",
        str(tmp_path / "trees"),
    ]
    done = subprocess.run(
        [*command, str(DOCS), str(tmp_path / "html")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Make a function" in (tmp_path / "html" / "reference" / "components.html").read_text("utf-8")


def test_every_public_name_is_in_the_reference() -> None:
    pages = "\n".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md"))
    named = set(re.findall(r"^\.\. auto\w+:: (\w+)$", pages, flags=re.MULTILINE))
    assert "automodule:: nbsession.errors" in pages
    public = {*nbsession.__all__, *nbsession.experiment.__all__}
    assert {name for name in public - named if not hasattr(nbsession.errors, name)} == set()


@pytest.mark.parametrize("shown", [Interval, Comparison, SessionDiff, TickPair])
def test_what_is_compared_and_how_surely_stands_in_the_reference_with_all_its_fields(shown: type) -> None:
    pages = [path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md")]
    room = shown.__module__.rpartition(".")[0]
    told = [block for page in pages for block in page.split("```") if f"currentmodule:: {room}\n" in block]
    assert sum(f"autoclass:: {shown.__name__}\n" in block for block in told) == 1
    fields = [*inspect.signature(shown).parameters] if shown is not SessionDiff else ["one", "other", "pairs"]
    assert [field for field in fields if f"``{field}``" not in str(shown.__doc__)] == []


def test_every_page_of_the_guide_is_in_its_list() -> None:
    assert sorted(GUIDE) == sorted(f"guide/{path.stem}" for path in (DOCS / "guide").glob("*.md"))


def test_the_code_on_the_pages_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide is read in its order, every other page by itself."""
    sources = [block for page in GUIDE for block in blocks(page)]
    for page in APART:
        assert blocks(page) or page.endswith("real-model"), f"{page} shows no code"
        sources += ["%reset -f", *blocks(page)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    monkeypatch.setenv("NBSESSION_STORE", f"sqlite:///{tmp_path / 'sessions.db'}")
    monkeypatch.setenv("NBSESSION_MODEL", "simulated")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute(cwd=str(tmp_path))
    said = [out.text for cell in notebook.cells for out in cell.outputs if out.get("name") == "stderr"]
    assert said == []
