"""``Markdown`` and ``XML``: how formatting inside compiles."""

from __future__ import annotations

from typing import Literal

from nbsession.context import Foldable


class _Mode(Foldable):
    def __init__(self, name: str, mode: Literal["markdown", "xml"]) -> None:
        super().__init__(name)
        self.mode = mode


Markdown = _Mode("Markdown", "markdown")
Markdown.__doc__ = """Formatting inside compiles to Markdown, the default: ``Markdown(*children)``."""

XML = _Mode("XML", "xml")
XML.__doc__ = """Formatting inside compiles to XML: ``XML(*children)``."""
