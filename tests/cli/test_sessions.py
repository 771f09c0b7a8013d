"""``nbsession sessions`` and ``nbsession replay``: what a store keeps, looked at and said again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done

    Command = Callable[..., Done]


@pytest.fixture
def kept(nbsession: Command) -> Command:
    """Have two sessions in the store."""
    nbsession("send", "--app", "agents:app", "--session", "one", "Hello")
    nbsession("send", "--app", "agents:app", "--session", "two", "ask")
    return nbsession


def test_the_list_has_the_last_used_first(kept: Command) -> None:
    lines = kept("sessions", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == ["SESSION", "two", "one"]
    assert [item["id"] for item in json.loads(kept("sessions", "list", "--json").out)] == ["two", "one"]
    page = kept("sessions", "list", "--limit", "1").out
    assert "one" not in page
    assert "… and more; --limit 2 shows them" in page


def test_a_tick_is_shown_exactly_as_it_was_sent(kept: Command) -> None:
    shown = kept("sessions", "show", "one", "--tick", "0").out
    assert "You are friendly." in shown
    assert "Hello" in shown
    data = json.loads(kept("sessions", "show", "one", "--tick", "-1", "--json").out)
    assert data["messages"][0]["role"] == "user"
    assert "has no tick 7; it has 1" in kept("sessions", "show", "one", "--tick", "7").err


@pytest.mark.parametrize("ending", ["html", "md", "json", "ipynb"])
def test_a_session_is_exported_without_its_app(kept: Command, ending: str) -> None:
    done = kept("sessions", "export", "one", f"out.{ending}")
    assert (done.status, done.out) == (0, f"wrote out.{ending}\n")
    assert "Hello" in Path(f"out.{ending}").read_text("utf-8")
    assert kept("sessions", "export", "one", f"out.{ending}").status == 1


def test_a_script_needs_the_app(kept: Command) -> None:
    assert "name the app they are of by --app" in kept("sessions", "export", "one", "out.py").err
    assert kept("sessions", "export", "one", "out.py", "--app", "agents:app").status == 0
    assert "from agents import" in Path("out.py").read_text("utf-8")


def test_a_session_that_is_not_there_is_named_with_one_that_is(kept: Command) -> None:
    assert "there is no session 'tow'" in kept("sessions", "show", "tow").err
    assert "did you mean 'two'?" in kept("sessions", "show", "tow").err
    assert (
        "there is no store sqlite:///none.db" in kept("sessions", "list", "--store", "sqlite:///none.db").err
    )


def test_a_replay_says_which_contexts_differ_now(kept: Command) -> None:
    done = kept("replay", "one", "--app", "agents:app")
    assert (done.status, done.out.count("the same")) == (0, 1)
    file = Path("agents.py")
    file.write_text(file.read_text().replace("You are {tone}", "You were {tone}"))
    import sys

    del sys.modules["agents"]
    done = kept("replay", "one", "--app", "agents:app")
    assert done.status == 1
    assert "differs" in done.out
    assert "You were friendly." in done.out


def test_a_replay_gives_the_answers_that_people_gave(kept: Command) -> None:
    kept("send", "--app", "agents:app", "--session", "two", "--answer", "true")
    kept("send", "--app", "agents:app", "--session", "two", "add")
    kept("send", "--app", "agents:app", "--session", "two", "--answer", "false")
    done = kept("replay", "two", "--app", "agents:app")
    assert (done.status, done.out.count("the same")) == (0, 4), done


def test_a_replay_without_an_app_shows_the_session(kept: Command) -> None:
    assert kept("replay", "one").out == kept("sessions", "show", "one").out
