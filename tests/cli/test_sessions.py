"""``nbsession sessions`` and ``nbsession replay``: what a store keeps, looked at and said again."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nbsession import App, Timeline
from nbsession.stores import SqlStore

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


def listed(command: Command) -> list[str]:
    return [item["id"] for item in json.loads(command("sessions", "list", "--json").out)]


def test_sessions_are_removed_for_good(kept: Command) -> None:
    assert kept("sessions", "rm", "one", "--yes").out == "removed one\n"
    assert listed(kept) == ["two"]
    assert "there is no session 'one'" in kept("sessions", "show", "one").err
    assert b"Hello" not in Path("sessions.db").read_bytes()
    kept("send", "--app", "agents:app", "--session", "one", "Hello")
    assert kept("sessions", "rm", "one", "two", "-y").out == "removed one, two\n"
    assert listed(kept) == []


def test_nothing_is_removed_where_nobody_can_be_asked_or_one_is_not_there(kept: Command) -> None:
    done = kept("sessions", "rm", "one")
    assert (done.status, "add --yes to remove them for good" in done.err) == (1, True)
    done = kept("sessions", "rm", "one", "tow", "--yes")
    assert (done.status, "did you mean 'two'?" in done.err) == (1, True)
    assert listed(kept) == ["two", "one"]


@pytest.mark.parametrize(("answer", "left"), [("y", ["two"]), ("", ["two", "one"]), ("no", ["two", "one"])])
def test_a_person_is_asked_before_a_session_is_removed(
    kept: Command, monkeypatch: pytest.MonkeyPatch, answer: str, left: list[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with monkeypatch.context() as patch:
        patch.setattr("sys.stdin", Terminal(f"{answer}\n"))
        done = kept("sessions", "rm", "one")
    assert done.status == 0
    assert "remove one for good? [y/N]" in done.out
    assert ("nothing was removed" in done.out) == (len(left) == 2)
    assert listed(kept) == left


def test_a_session_with_forks_is_not_removed_without_them(kept: Command) -> None:
    store = SqlStore("sqlite:///sessions.db")
    fork = App(Timeline(), store=store).session("one").fork(id="branch")
    fork.close()
    store.close()
    done = kept("sessions", "rm", "one", "-y")
    assert (done.status, "its fork 'branch'" in done.err) == (1, True)
    assert kept("sessions", "rm", "one", "branch", "-y").status == 0
    assert listed(kept) == ["two"]
