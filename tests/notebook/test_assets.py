"""Scripts, style sheets and templates work wherever they are loaded: other hosts than JupyterLab, without a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nbsession

PACKAGE = Path(nbsession.__file__).parent
ASSETS = sorted(
    path for path in PACKAGE.rglob("*") if path.suffix in (".js", ".css", ".j2") and "static" in path.parts
)
SCRIPTS = [path for path in ASSETS if path.suffix == ".js"]
STYLED = [path for path in ASSETS if path.suffix != ".js"]
COMMENT = re.compile(r"/\*.*?\*/|\{#.*?#\}|(?<![:\"'`])//[^\n]*", re.DOTALL)


def code(path: Path) -> str:
    return COMMENT.sub("", path.read_text("utf-8"))


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", ASSETS, ids=name)
def test_nothing_is_loaded_from_anywhere(path: Path) -> None:
    # A widget's module is loaded from a blob, where no relative address leads anywhere.
    loading = r"https?://|//cdn|@import|url\(|\bimport\s*\(|\bimport\b[^;\n]*\bfrom\b|\bfetch\(|\bXMLHttpRequest\b|src=[\"']?/"
    assert re.findall(loading, code(path)) == []


@pytest.mark.parametrize("path", STYLED, ids=name)
def test_each_variable_of_jupyters_themes_has_a_value_where_there_is_none(path: Path) -> None:
    assert re.findall(r"var\(\s*--jp-[\w-]+\s*\)", code(path)) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_what_only_some_hosts_have_is_asked_for_and_never_taken_for_granted(path: Path) -> None:
    script = code(path)
    assert (
        re.findall(
            r"\bwindow\.(?:jupyter\w*|_JUPYTERLAB|google|vscode)|\bacquireVsCodeApi\b|\bgoogle\.colab\b",
            script,
        )
        == []
    )
    assert re.findall(r"\bwidget_manager\b(?!\?\.)", script) == []
    assert re.findall(r"\b_rendermime\b(?!\?\.)", script) == []
