"""Where a component is written."""

from __future__ import annotations

import inspect
import linecache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from nbsession.tree.element import Component


class Source(NamedTuple):
    """A file, or what stands for a notebook's cell there, and the line on which the component begins."""

    file: str
    line: int

    def lines(self, most: int = 40) -> tuple[str, ...]:
        """Return the component's own lines as they are now, at most ``most``; empty where they cannot be had."""
        found = linecache.getlines(self.file)[self.line - 1 :]
        try:
            return tuple(line.rstrip("\n") for line in inspect.getblock(found)[:most])
        except (IndentationError, SyntaxError):
            return ()


def source_of(component: Component) -> Source:
    """Say where a component is written; a decorator below ``@component`` is looked through."""
    code = inspect.unwrap(component.function).__code__
    return Source(code.co_filename, code.co_firstlineno)
