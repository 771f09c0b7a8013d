"""Reading a magic's line: values out, or one sentence that says what is wrong with it."""

from __future__ import annotations

import pytest

from nbsession.errors import SessionError
from nbsession.notebook.arguments import describe, parse_cell, parse_command
from nbsession.notebook.forms import COMMANDS


def test_a_bare_cell_line_has_no_name_and_no_options() -> None:
    line = parse_cell("")
    assert (line.word(0), dict(line.options)) == (None, {})


def test_name_and_options_stand_in_any_order() -> None:
    line = parse_cell("--model simulated draft --max-ticks 3 --as answer --quiet --max-cost $0.05")
    assert line.word(0) == "draft"
    assert dict(line.options) == {
        "model": "simulated",
        "max-ticks": 3,
        "as": "answer",
        "quiet": True,
        "max-cost": 0.05,
    }


def test_an_option_takes_its_value_after_an_equals_sign_too() -> None:
    assert parse_cell("--model=anthropic:x").get("model") == "anthropic:x"


@pytest.mark.parametrize(
    ("text", "fork", "name"),
    [("--fork", True, None), ("--fork 3 draft", 3, "draft"), ("--fork draft", True, "draft")],
)
def test_fork_takes_a_number_only_where_one_stands(text: str, fork: object, name: str | None) -> None:
    line = parse_cell(text)
    assert (line.get("fork"), line.word(0)) == (fork, name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--modle x", "%%session has no option --modle; did you mean '--model'?"),
        ("--max-ticks 0", "--max-ticks takes a whole number from 1, got '0'"),
        ("--max-cost nan", "--max-cost takes an amount of US dollars above 0, got 'nan'"),
        ("--as 3x", "--as takes a variable's name, got '3x'"),
        ("--raw=1", "--raw takes no value, got '1'; leave it away"),
        ("--model", "--model needs a value: --model MODEL (the model, e.g. simulated or anthropic:<id>)"),
        ("it's", 'cannot read "it\'s": no closing quotation; put words with quotes in quotes'),
    ],
)
def test_a_wrong_cell_line_is_explained(text: str, message: str) -> None:
    with pytest.raises(SessionError) as raised:
        parse_cell(text)
    assert str(raised.value) == message


def test_a_message_on_the_line_is_sent_to_its_place() -> None:
    with pytest.raises(
        SessionError, match=r"'there' is one word too many: .*; the message goes below this line"
    ):
        parse_cell("hello there")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nwe Notepad", "%session has no command 'nwe'; did you mean 'new'?"),
        ("new", "%session new needs COMPONENT: %session new COMPONENT"),
        ("list --all", "%session list has no option --all; it takes none"),
        ("use a b", "'b' is one word too many: %session use NAME"),
    ],
)
def test_a_wrong_command_is_explained(text: str, message: str) -> None:
    with pytest.raises(SessionError) as raised:
        parse_command(text)
    assert str(raised.value).startswith(message)


def test_an_empty_line_asks_for_help_and_help_names_every_command() -> None:
    assert parse_command("").command.name == "help"
    assert all(f"%session {name}" in describe() for name in COMMANDS)
