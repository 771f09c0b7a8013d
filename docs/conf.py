"""How the site is built: ``sphinx-build -W docs docs/_build/html``, after ``pip install '.[docs]'``."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LESSONS = HERE / "lessons"

project = "nbsession"
author = "nbsession contributors"
release = metadata.version("nbsession")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"nbsession {release}"

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests execute the lessons; here they are only shown

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": False}
add_module_names = False
intersphinx_mapping: dict[str, Any] = {}

# A magic is no Python: it is shown as it stands.
suppress_warnings = ["misc.highlighting_failure", "mystnb.unknown_mime_type"]


def _bring_lessons(*_: object) -> None:
    """Bring the lessons below the site's folder: a page stands there or nowhere."""
    shutil.copytree(
        HERE.parent / "notebooks", LESSONS, dirs_exist_ok=True, ignore=lambda _, names: _not_pages(names)
    )


def _not_pages(names: list[str]) -> list[str]:
    return [name for name in names if "." in name and not name.endswith(".ipynb")]


def _write_magics(*_: object) -> None:
    """Write the page of the magics from their forms."""
    from nbsession.notebook.forms import CELL, COMMANDS

    lines = [
        "# Magics",
        "",
        "`%load_ext nbsession` brings both; `%session help` lists them in the notebook, too.",
        "",
    ]
    for group, commands in {"Cells": [CELL], **_by_group(COMMANDS.values())}.items():
        lines += [f"## {group}", ""]
        for command in commands:
            name = command.form if command is CELL else f"%session {command.form}"
            lines += [f"`{name}`", f": {command.help}", ""]
            lines += [f"  - `{option.usage}`: {option.help}" for option in command.options]
            lines += [""] if command.options else []
    (HERE / "reference" / "magics.md").write_text("\n".join(lines), "utf-8")


def _by_group(commands: Any) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for command in commands:
        groups.setdefault(command.group, []).append(command)
    return groups


def setup(app: Any) -> None:
    """Let Sphinx call what is above before it looks for pages."""
    app.connect("config-inited", _bring_lessons)
    app.connect("config-inited", _write_magics)
