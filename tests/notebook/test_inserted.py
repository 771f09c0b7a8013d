"""Expressions in a cell's text stand for what they give."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from nbsession.errors import SessionError
from nbsession.notebook.inserted import Inserted, filled


def test_a_text_stands_where_its_expression_stood() -> None:
    city = "Basel"
    assert filled("From {{city}} to {{ city.upper() }}.", {"city": city}).message == "From Basel to BASEL."


@pytest.mark.parametrize(
    "text",
    ["{single} braces", "a { {b} }", "{}", "{{ not closed", "no braces", 'json: {"a": {"b": 1}}', "}} {{"],
)
def test_what_is_no_expression_stays(text: str) -> None:
    if text == 'json: {"a": {"b": 1}}':
        assert filled(text, {}).message == text
    assert filled(text, {}) == (text, ())


def test_an_expression_may_hold_braces_itself() -> None:
    assert filled("{{ {'a': 1}['a'] }}{{ {'b': {'c': 2}}}}!", {}).message == '1{"b":{"c":2}}!'


def test_what_was_inserted_is_not_looked_at_again() -> None:
    assert filled("{{a}} {{b}}", {"a": "{{b}}", "b": "{{a}}"}).message == "{{b}} {{a}}"


def test_each_expression_is_worked_out_once_in_order() -> None:
    calls: list[int] = []

    def count(n: int) -> int:
        calls.append(n)
        return n

    assert filled("{{count(1)}} {{count(2)}} {{count(1)}}", {"count": count}).message == "1 2 1"
    assert calls == [1, 2, 1]


def test_frames_and_figures_become_content_and_are_named_with_their_size() -> None:
    frame = pd.DataFrame({"city": ["Basel", "Bern"], "stops": [1, 2]})
    figure = Figure()
    figure.subplots().plot([1, 2])
    message, inserted = filled("See {{frame}} and {{figure}}.", {"frame": frame, "figure": figure})
    kinds = [type(piece).__name__ for piece in message]
    assert kinds == ["str", "list", "str", "list", "str"]
    assert "| Basel |" in message[1][0].text
    assert inserted == (Inserted("frame", "2 rows"), Inserted("figure", "Figure"))


@pytest.mark.parametrize(
    ("value", "size"),
    [(3, ""), ("x" * 50, "50 characters"), ([1], "1 item"), ({"a": 1, "b": 2}, "2 items"), (None, "")],
)
def test_sizes_are_said_in_words(value: Any, size: str) -> None:
    assert filled("{{value}}", {"value": value}).inserted == (Inserted("value", size),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{df.hed()}}", r"\{\{df\.hed\(\)\}\} raised AttributeError: .*; nothing was sent \(--raw"),
        ("{{missing}}", r"\{\{missing\}\} raised NameError"),
        ("{{first name}}", r"\{\{first name\}\} is no Python expression: .*--raw sends the braces"),
        ("{{}}", r"\{\{\}\} is no Python expression"),
    ],
)
def test_a_faulty_expression_is_named_with_what_to_do(text: str, said: str) -> None:
    with pytest.raises(SessionError, match=said):
        filled(text, {"df": pd.DataFrame()})
