"""The project that a notebook stands in: ``[tool.nbsession]`` of the nearest pyproject.toml that has one."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Project:
    """What the file at ``path`` says, not checked yet; ``complaint`` where it cannot be read."""

    path: Path | None = None
    values: dict[str, Any] = field(default_factory=dict)
    complaint: str = ""


def find_project(folder: Path | None = None) -> Project:
    """Look for the table in ``folder`` (the working directory) and those above it; an empty project if none has it.

    A file that is no TOML ends the search: its table may be the one that was meant.
    """
    try:
        start = (folder or Path.cwd()).resolve()
    except OSError:  # the working directory was deleted
        return Project()
    for parent in (start, *start.parents):
        path = parent / "pyproject.toml"
        try:
            tools = tomllib.loads(path.read_text("utf-8")).get("tool")
        except OSError:
            continue
        except ValueError as error:
            return Project(path, complaint=f"{path}: cannot be read, so no [tool.nbsession] holds: {error}")
        if not isinstance(tools, dict) or "nbsession" not in tools:
            continue
        values = tools["nbsession"]
        if isinstance(values, dict):
            return Project(path, values)
        return Project(
            path, complaint=f"{path}: tool.nbsession is a table, got {values!r}; write [tool.nbsession]"
        )
    return Project()
