"""A data frame as the Markdown table that a model reads, and that text as a table again."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_ROWS = 40
MOST_COLUMNS = 30
MOST_CELL_CHARACTERS = 200
"""Characters of a cell; fewer where a frame is so wide that its table would be too long."""

LEFT_OUT = "…"
"""What stands in the row, or the column, for those in the middle that are left out."""

_EDGE = re.compile(r"(?<!\\)\|")
_SHAPE = re.compile(r"[\d,]+ rows? × [\d,]+ columns?")
_NUMBER = re.compile(r"[+-]?(\d[\d_,]*(\.\d*)?|\.\d+)(e[+-]?\d+)?%?|[+-]?inf", re.IGNORECASE)
_MISSING = frozenset({"", LEFT_OUT, "nan", "NaN", "NaT", "None", "<NA>"})


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under columns; the first column is the frame's index.

    ``shape`` is that of the whole frame, in words, of which this may be the first and
    last rows and columns. As text it is Markdown, and ``read_table`` reads that back.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shape: str

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Of each column whether it holds numbers."""
        return tuple(map(_is_numeric, zip(*self.rows, strict=True))) or (False,) * len(self.columns)

    def __str__(self) -> str:
        rule = ("---",) * len(self.columns)
        lines = (_line(cells) for cells in (self.columns, rule, *self.rows))
        return "\n".join([*lines, "", self.shape])


def table_of(frame: Any, most: int) -> Table:
    """Return the first and last rows and columns of a data frame, as a table of about ``most`` characters at most.

    Cells are shortened, all to the same length, until it is; 12 characters of each stay in any case.
    """
    rows, columns = frame.shape
    if columns > MOST_COLUMNS:
        half = MOST_COLUMNS // 2
        frame = frame.iloc[:, [*range(half), *range(columns - half, columns)]]
    heads = [frame.index.name, *frame.columns]
    pieces = [frame] if rows <= MOST_ROWS else [frame.head(MOST_ROWS // 2), frame.tail(MOST_ROWS // 2)]
    lines = [[list(row) for row in piece.itertuples(name=None)] for piece in pieces]
    if len(lines) == 2:
        lines.insert(1, [[LEFT_OUT] * len(heads)])
    body = [row for piece in lines for row in piece]
    if columns > MOST_COLUMNS:
        for row in (heads, *body):
            row.insert(1 + MOST_COLUMNS // 2, LEFT_OUT)
    shape = f"{rows:,} row{'' if rows == 1 else 's'} × {columns:,} column{'' if columns == 1 else 's'}"
    index, *names = map(_words, heads)
    whole = Table(
        ("" if heads[0] is None else index, *names), tuple(tuple(map(_words, row)) for row in body), shape
    )
    length = MOST_CELL_CHARACTERS
    table = _shortened(whole, length)
    while len(str(table)) > most and length > 12:
        length = max(12, length * 4 // 5)
        table = _shortened(whole, length)
    return table


def read_table(text: str) -> Table | None:
    """Return the table that ``text`` is, as ``Table`` writes it, or ``None`` where it is something else."""
    head, _, shape = text.rpartition("\n\n")
    lines = head.split("\n")
    if len(lines) < 2 or not _SHAPE.fullmatch(shape) or any(line[:1] != "|" for line in lines):
        return None
    columns, rule, *rows = [_cells(line) for line in lines]
    if set(rule) != {"---"} or any(len(row) != len(columns) for row in (rule, *rows)):
        return None
    return Table(columns, tuple(rows), shape)


def _words(value: Any) -> str:
    text = " / ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return " ".join(text.split())


def _shortened(table: Table, most: int) -> Table:
    def shorten(cells: Iterable[str]) -> tuple[str, ...]:
        return tuple(cell if len(cell) <= most else cell[: most - 1] + "…" for cell in cells)

    return replace(table, columns=shorten(table.columns), rows=tuple(map(shorten, table.rows)))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip().replace("\\|", "|") for cell in _EDGE.split(line)[1:-1])


def _is_numeric(cells: Sequence[str]) -> bool:
    told = [cell for cell in cells if cell not in _MISSING]
    return bool(told) and all(_NUMBER.fullmatch(cell) for cell in told)
