"""Data frames as Markdown tables, and these as tables again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbsession.content import Text, bounded, read_table, result_content
from nbsession.content.table import Table, table_of

CELLS = st.text(st.sampled_from(" ab|\\\n…-<é") | st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = CELLS | st.integers() | st.floats() | st.none() | st.dates()


def text_of(value: Any) -> str:
    (block,) = result_content(value)
    assert isinstance(block, Text)
    return block.text


def read(value: Any) -> Table:
    table = read_table(text_of(value))
    assert table is not None
    return table


def test_a_frame_reads_back_as_its_cells() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b|c": ["x\\|y", "z|"]}, index=pd.Index(["r", "s"], name="id"))
    assert read(frame) == Table(
        ("id", "a", "b|c"), (("r", "1", "x\\|y"), ("s", "2", "z|")), "2 rows × 2 columns"
    )


@given(
    st.lists(st.lists(VALUES, min_size=3, max_size=3), max_size=5), st.lists(CELLS, min_size=3, max_size=3)
)
def test_any_frame_reads_back_as_it_was_written(rows: list[list[Any]], names: list[str]) -> None:
    table = table_of(pd.DataFrame(rows, columns=names, dtype=object), 30_000)
    assert read_table(str(table)) == table


@pytest.mark.parametrize(
    "text",
    [
        "",
        "| a | b |",
        "| a | b |\n| --- | --- |\n| 1 | 2 |",
        "| a | b |\n| --- | --- |\n| 1 |\n\n1 row × 1 column",
        "| a | b |\n| 1 | 2 |\n\n1 row × 1 column",
        "Look:\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n1 row × 1 column",
        "3 rows × 2 columns",
    ],
)
def test_other_text_is_no_table(text: str) -> None:
    assert read_table(text) is None


def test_numbers_are_told_from_words_column_by_column() -> None:
    frame = pd.DataFrame(
        {
            "whole": [1, -2, 3],
            "part": [1.5, float("nan"), 1e-7],
            "words": ["1", "two", "3"],
            "days": pd.to_datetime(["2026-01-01", "2026-01-02", None]),
            "none": [None, None, None],
        }
    )
    assert read(frame).numeric == (True, True, True, False, False, False)


def test_a_frame_without_rows_or_columns_is_a_table_too() -> None:
    assert read(pd.DataFrame({"a": []})).rows == ()
    assert read(pd.DataFrame(index=[1, 2])).columns == ("",)
    assert read(pd.DataFrame()).shape == "0 rows × 0 columns"


def test_the_middle_that_is_left_out_has_a_place_of_its_own() -> None:
    table = read(pd.DataFrame(np.arange(500_000).reshape(10_000, 50)))
    assert len(table.rows) == 41
    assert set(table.rows[20]) == {"…"}
    assert {row[16] for row in table.rows} == {"…"}
    assert table.columns[15:18] == ("14", "…", "35")
    assert all(table.numeric[:16])


def test_a_very_wide_frame_has_shorter_cells_and_no_hole_in_the_middle() -> None:
    frame = pd.DataFrame({f"column {n} {'x' * 90}": ["word " * 60] * 60 for n in range(40)})
    text = text_of(frame)
    assert len(text) <= 30_000
    assert text == bounded(text)
    table = read(frame)
    assert len(table.rows) == 41
    assert len(table.columns) == 32
    assert {len(cell) for cell in table.rows[0][1:16]} == {len(table.columns[1])}
    assert table.rows[0][1].startswith("word word")


def test_a_narrow_frame_keeps_long_cells() -> None:
    assert len(read(pd.DataFrame({"a": ["x" * 500]})).rows[0][1]) == 200
