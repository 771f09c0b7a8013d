"""``nbsession send``: answers, questions, and what goes wrong in one line."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done

    Command = Callable[..., Done]


def test_a_message_is_answered(nbsession: Command) -> None:
    done = nbsession("send", "--app", "agents:app", "Hello")
    assert (done.status, done.out.strip()) == (0, "You said: Hello")


def test_a_session_goes_on_where_it_was(nbsession: Command) -> None:
    nbsession("send", "--app", "agents:app", "--session", "s", "Hello")
    nbsession("send", "--app", "agents:app", "--session", "s", "Again")
    shown = nbsession("sessions", "show", "s").out
    assert "> Hello" in shown
    assert "> Again" in shown
    assert "tick 1 · scripted" in shown


def test_a_message_is_read_from_standard_input(nbsession: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe"))
    assert "You said: from a pipe" in nbsession("send", "--app", "agents:app", "-").out


def test_json_is_one_document_for_a_script(nbsession: Command) -> None:
    done = nbsession("send", "--app", "agents.py:app", "--json", "Hello")
    data: dict[str, Any] = json.loads(done.out)
    assert (data["text"], data["stop_reason"], data["source"]) == ("You said: Hello", "end_turn", "simulated")
    assert data["usage"]["output_tokens"] > 0


def test_quiet_writes_the_answer_alone(nbsession: Command) -> None:
    done = nbsession("send", "--app", "agents:app", "--quiet", "Hello")
    assert (done.out, done.err) == ("You said: Hello\n", "")


@pytest.mark.parametrize(("message", "answer", "said"), [("add", "true", "5"), ("ask", "true", "true")])
def test_what_waits_for_a_person_ends_with_a_status_of_its_own_and_goes_on_by_an_answer(
    nbsession: Command, message: str, answer: str, said: str
) -> None:
    done = nbsession("send", "--app", "agents:app", "--session", "s", message)
    assert done.status == 3
    assert "waits for an answer" in done.err
    assert "waits for an answer" in nbsession("sessions", "show", "s").out
    done = nbsession("send", "--app", "agents:app", "--session", "s", "--answer", answer)
    assert done.status == 0
    assert f"→ {said}" in done.out
    done = nbsession("send", "--app", "agents:app", "--session", "s", "--answer", answer)
    assert (done.status, done.err.strip()) == (1, "nbsession: session 's' waits for no answer")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--app", "agents", "hi"], "'agents' names no app; write module:name"),
        (["--app", "agents:ap", "hi"], "agents has no 'ap'; did you mean 'app'?"),
        (["--app", "agents:number", "hi"], "agents:number is a int; name an App or a component"),
        (["--app", "nowhere:app", "hi"], "there is no module 'nowhere' here"),
        (["--app", "nowhere.py:app", "hi"], "there is no file nowhere.py"),
        (["--app", "agents:app"], "give a message"),
        (["--app", "agents:app", "--answer", "yes"], "--answer needs the session that waits"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(nbsession: Command, arguments: list[str], said: str) -> None:
    done = nbsession("send", *arguments)
    assert done.status == 1
    assert done.err.startswith(f"nbsession: {said}")
    assert len(done.err.splitlines()) == 1


def test_what_the_model_writes_cannot_command_the_terminal(nbsession: Command) -> None:
    done = nbsession("send", "--app", "agents:app", "clear \x1b[2J")
    assert "\x1b" not in done.out
