"""Expressions in a cell's text stand for what they give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from nbsession import App, Session, System, Timeline, component
from nbsession.errors import SessionError
from nbsession.notebook.inserted import Inserted, filled
from nbsession.notebook.view.execution import ExecutionView
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel

if TYPE_CHECKING:
    from pathlib import Path


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


class Odd:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no such thing")

    def __repr__(self) -> str:
        return "Odd()"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{df.head}}", r"^\{\{df\.head\}\} cannot be said: head is a method, .*call it.*; nothing was sent"),
        ("{{(c for c in 'ab')}}", r"cannot be said: an iterator \(generator\) .*list\("),
        ("{{object()}}", r"cannot be said: object has no text of its own"),
        ("{{ {'a': len} }}", r"cannot be said: len is a builtin"),
        ("{{10**5000}}", r"\{\{10\*\*5000\}\} cannot be said: ValueError: Exceeds the limit"),
        ("{{odd}}", r"\{\{odd\}\} cannot be said: RuntimeError: no such thing; nothing was sent"),
    ],
)
def test_what_cannot_be_said_is_named_with_what_to_do(text: str, said: str) -> None:
    with pytest.raises(SessionError, match=said):
        filled(text, {"df": pd.DataFrame(), "odd": Odd()})


def test_an_expression_may_go_over_lines() -> None:
    message, inserted = filled("It is {{\nx\n  + 1  # the next\n}}.", {"x": 1})
    assert (message, inserted) == ("It is 2.", (Inserted("x + 1 # the next"),))


@component
def Echo() -> Any:
    return [System("You count."), Timeline()]


async def shown(session: Session, text: str, names: dict[str, Any]) -> dict[str, str]:
    made = filled(text, names)
    metadata = {"inserted": [list(each) for each in made.inserted]}
    view = ExecutionView(session.send(made.message, metadata=metadata), live=False)
    await view.follow()
    return view.static()


async def test_the_context_shows_which_expressions_a_message_was_made_with() -> None:
    session = App(Echo, model=ScriptedModel("Four.", "Nothing.")).session()
    rows = pd.DataFrame({"a": [1, 2, 3, 4]})
    static = await shown(session, "Count {{df}} and {{n}}", {"df": rows, "n": 3})
    assert "<i>made with df, 4 rows; n</i>" in static["text/html"]
    assert "made with df, 4 rows; n" in static["text/markdown"]
    assert "made with df, 4 rows; n" in static["text/plain"]
    later = await shown(session, "And now?", {})
    assert "made with" not in later["text/plain"]


async def test_many_expressions_are_named_in_part_and_markup_in_them_is_escaped() -> None:
    session = App(Echo, model=ScriptedModel("Yes.")).session()
    text = "".join(f"{{{{'<b>{n}</b>' * 20}}}} " for n in range(5))
    html = (await shown(session, text, {}))["text/html"]
    note = html.partition("<i>made with ")[2].partition("</i>")[0]
    assert "&lt;b&gt;0&lt;/b&gt;" in note
    assert "<" not in note
    assert str(session.ticks[0].context.parts[-1].inserted).endswith("; 2 more")


async def test_a_stored_tick_and_the_context_to_be_sent_know_of_them_too(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'talks.db'}")
    session = App(Echo, model=ScriptedModel("Four."), store=store).session("kept")
    await shown(session, "Count {{df}}", {"df": pd.DataFrame({"a": [1, 2]})})
    await session.aclose()
    again = App(Echo, model=ScriptedModel(), store=store).session("kept")
    assert [part.inserted for part in again.ticks[0].context.flow] == ["df, 2 rows"]
    assert again.compile().flow[0].inserted == "df, 2 rows"
    await again.aclose()
    store.close()


@pytest.mark.parametrize("odd", [3, "df", [["a"]], [3], {"a": 1}, [["df", 4]]])
async def test_metadata_of_the_senders_own_under_that_word_harms_nothing(odd: Any) -> None:
    session = App(Echo, model=ScriptedModel("Yes.")).session()
    await session.send("Hi", metadata={"inserted": odd})
    assert session.ticks[0].context.flow[0].inserted in ("", "df, 4")
