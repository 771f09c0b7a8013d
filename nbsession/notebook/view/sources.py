"""Where the components of a context are written, in words: the cell, or the file, and the line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.tree import Source


class Sources:
    """The sources of a session's components, by path."""

    __slots__ = ("_by_path",)

    def __init__(self, by_path: Mapping[str, Source]) -> None:
        self._by_path = by_path

    def at(self, path: str) -> str:
        """Say where the component at a path is written; ``""`` for one of the package's."""
        source = self._by_path.get(path)
        return words(source) if source is not None else ""

    def around(self, path: str) -> str:
        """Say where the author's component that the part at a path came from is written."""
        segments = path.split("/")
        places = ("/".join(segments[:end]) for end in range(len(segments), 0, -1))
        return next(filter(None, map(self.at, places)), "")


NO_SOURCES = Sources({})


def words(source: Source) -> str:
    """Write a source: ``"In[3], line 5"`` for a cell, else the file, from this folder or by its last two names."""
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    cell = shell.compile.format_code_name(source.file) if shell is not None else None
    return f"{_file(source.file) if cell is None else cell[1]}, line {source.line}"


def _file(name: str) -> str:
    path = Path(name)
    # No saved notebook is to tell where on a disk it was run.
    return (
        path.relative_to(Path.cwd()).as_posix()
        if path.is_relative_to(Path.cwd())
        else "/".join(path.parts[-2:])
    )
