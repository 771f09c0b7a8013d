"""What was found out about a session, as a reader of the notebook sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from nbsession import App, ModelError, Section, SessionError, System, Timeline, component, tool, use_knob
from nbsession.notebook import extension
from nbsession.notebook.arguments import parse_command
from nbsession.notebook.commands import Commands, ShowContext
from nbsession.notebook.panels.spans import spans
from nbsession.statistics import Interval
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@tool
def search(query: str) -> str:
    """Search."""
    return f"Found <b>{query}</b>."


@component
def Agent() -> Any:
    tone, _ = use_knob("tone", "kind", options=["kind", "blunt"])
    return [System(f"You are {tone}."), search, Section("<script>alert(1)</script>", id="hint"), Timeline()]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    without_history = Config({"HistoryManager": {"enabled": False}})
    made = InteractiveShell.instance(ipython_dir=str(tmp_path), config=without_history)
    extension.load(made)
    yield made
    extension.unload(made)
    InteractiveShell.clear_instance()


def opened(shell: InteractiveShell, *responses: Any) -> Any:
    shell.user_ns["bot"] = App(Agent, model=ScriptedModel(*responses))
    shell.run_line_magic("session", "new bot")
    return shell.nbsession.sessions.current  # type: ignore[attr-defined]  # put there by the extension


def said(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], line: str) -> str:
    capsys.readouterr()
    shell.run_line_magic("session", line)
    return capsys.readouterr().out


def html(shell: InteractiveShell, value: object) -> str:
    assert shell.display_formatter is not None
    data, _ = shell.display_formatter.format(value)  # type: ignore[no-untyped-call]  # IPython does not type it
    return str(data["text/html"])


def test_a_check_is_a_table(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    session = opened(shell)
    text = said(shell, capsys, "check")
    assert "1 note" in text
    assert "undescribed-parameter" in text
    assert "describe it under Args:" in text
    shown = html(shell, session.check())
    assert "undescribed-parameter" in shown


def test_a_context_says_what_may_be_read_from_the_cache(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    session = opened(shell, "Yes.")
    assert "unknown: nothing was sent before" in said(shell, capsys, "context --cache")
    session.run("Hello.")
    assert "tokens may be read from the cache" in html(shell, session.forecast())
    table = said(shell, capsys, "context --cache")
    assert "Agent/System.0" in table
    assert "as before" in table
    shown = Commands(shell.nbsession.sessions).perform(parse_command("context"))  # type: ignore[attr-defined]  # the extension's
    assert isinstance(shown, ShowContext)
    assert "tokens may be read from the cache" in shown.title
    assert "unknown" in said(shell, capsys, "ticks")


def test_a_component_is_left_out_of_a_context_and_of_a_fork(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    session = opened(shell, "Yes.", "No.")
    session.run("Hello.")
    without = said(shell, capsys, "context --without Agent/Section[hint]").splitlines()
    assert [line for line in without if "alert" in line] == ["-<script>alert(1)</script>"]
    assert "after tick 0 without Agent/System.0" in said(shell, capsys, "fork 0 --without Agent/System.0")
    fork = shell.nbsession.sessions.current  # type: ignore[attr-defined]  # put there by the extension
    assert "You are kind" not in str(fork.compile())
    with pytest.raises(SessionError, match="not at tick 0"):
        shell.run_line_magic("session", "context 0 --without Agent/System.0")


def test_a_bisection_shows_its_steps_and_sends_nothing_unless_asked(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    session = opened(shell, "Good.", "BAD", "BAD", "Good.")
    session.run("One.")
    session.knobs["tone"] = "blunt"
    session.run("Two.")
    shell.user_ns["wrong"] = "BAD"
    text = said(shell, capsys, "bisect wrong in tick.text and 'x y' not in tick.text")
    assert "False at 0, True at 1" in text
    assert "no model was called" in text
    assert "%session context 1 --diff 0" in text
    assert "2 model calls" in said(shell, capsys, "bisect wrong in tick.text --calls 3")
    assert "because knob `tone`" not in html(shell, session.bisect(lambda tick: "BAD" in tick.text))
    with pytest.raises(SessionError, match="is no Python expression"):
        shell.run_line_magic("session", "bisect in tick.text")


def test_two_forks_stand_beside_each_other(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    session = opened(shell, "<b>One</b>.", "Kindly.", "Bluntly.")
    session.run("One.")
    fork = session.fork(id="other")
    shell.user_ns["other"] = fork
    session.run("Two.")
    fork.knobs["tone"] = "blunt"
    fork.run("Two.")
    text = said(shell, capsys, "compare other")
    assert "they part at tick 1: the context, from Agent/System.0 on" in text
    assert "Kindly." in text
    assert "Bluntly." in text
    shown = html(shell, session.compare(fork))
    assert "<th scope=col>other</th>" in shown
    assert "<b>One" not in shown


def test_the_request_is_shown_as_the_provider_s_json_and_stays_bounded(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    session = opened(shell, "Yes.")
    session.run("x" * 20_000 + "\u202e")
    text = said(shell, capsys, "context 0 --json anthropic:claude-test-1")
    assert '"model": "claude-test-1"' in text
    assert "(20,001 characters in all)" in text
    assert len(text) < 15_000
    assert '"model": "gpt-test-1"' in said(shell, capsys, "context --json openai:gpt-test-1")
    with pytest.raises(ModelError, match="scripted sends no request"):
        shell.run_line_magic("session", "context --json")


def test_a_prediction_is_graded_under_the_next_cell(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    session = opened(shell, call("search", query="tea"), "Found.", "Bye.")
    assert "noted the prediction tool=search calls=3" in said(shell, capsys, "predict tool=search calls=3")
    shell.run_cell_magic("session", "", "Look for tea.")  # type: ignore[no-untyped-call]  # as IPython has it
    shown = capsys.readouterr().out
    assert "1 of 2 right" in shown
    assert "model calls" in shown
    shell.run_cell_magic("session", "", "Goodbye.")  # type: ignore[no-untyped-call]  # as IPython has it
    assert "right" not in capsys.readouterr().out
    expected = session.predict(enters="search")
    with pytest.raises(SessionError, match="written kind=value"):
        shell.run_line_magic("session", "predict search")
    with pytest.raises(SessionError, match="a whole number"):
        shell.run_line_magic("session", "predict tokens=many")
    assert "enters" in repr(expected)


def test_an_explanation_says_its_price_first_and_then_draws_what_each_component_is_worth(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(context: Any) -> str:
        return "Kind words, my friend." if "You are kind" in str(context.system) else "No."

    session = opened(shell, *[answer] * 60)
    session.run("One.")
    text = said(shell, capsys, "explain 0")
    assert "nothing was asked so far; it takes ≈20 model calls, " in text
    assert "%session explain 0 --max-cost USD" in text
    assert "Agent/Section[hint]" in text
    text = said(shell, capsys, "explain 0 --repeat 5")
    assert "1 of 2 components made a difference that is no noise: Agent/System.0" in text
    assert "*  Agent/System.0       ≈" in text
    assert "●  a real difference (+1.00, 95% interval 0.48 to 1.00" in text
    assert "no difference in any of 5 runs" in text
    assert "dead context  Agent/Section[hint]" in text
    assert "seen in one tick, no effect measured" in text
    assert "%session fork 0 --before --without Agent/Section[hint]" in text
    text = said(shell, capsys, "explain 0 --repeat 1 --score \"'Kind' in tick.text\"")
    assert "too few runs to say (n=1)" in text
    assert "by score; the full context has 1.00 (" in text
    with pytest.raises(SessionError, match="has no tick 3; it has ticks 0 to 0"):
        shell.run_line_magic("session", "explain 3")
    shown = html(shell, session.explain(0).run())
    assert 'aria-label="+1.00, +0.48 to +1.00"' in shown
    assert ";--m:100.0%;--w:" in shown
    assert "nothing was asked so far" in html(shell, session.explain(0))


def test_intervals_are_drawn_on_one_scale_that_has_nothing_on_it() -> None:
    drawn = spans(
        [Interval(0.5, 0.0, 1.0, 9, 9), Interval(-0.5, -1.0, 0.5, 9, 9), None, Interval(1, None, None, 1, 1)]
    )
    assert list(map(str, drawn)) == ["          ┼────●─────", "─────●────┼─────     ", "", ""]
    assert str(spans([Interval(0.0, 0.0, 0.0, 9, 9)])[0]) == "●" + " " * 20
