"""An app in a file, a store beside it, and the command run on both."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from nbsession.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AGENTS = '''
from nbsession import App, Pause, System, Timeline, component, tool, use_knob
from nbsession.testing import ScriptedModel, call

@tool
def ask(question: str) -> str:
    """Ask the person."""
    raise Pause(question, answer=bool)

@tool(confirm=True)
def add(a: int, b: int) -> int:
    """Add."""
    return a + b

@component
def Agent():
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    return [System(f"You are {tone}."), add, ask, Timeline()]

def answer(context):
    last = str(context.messages[-1])
    if "add" in last:
        return call("add", a=2, b=3)
    if "ask" in last:
        return call("ask", question="Shall I?")
    return f"You said: {last}"

app = App(Agent, model=ScriptedModel(*[answer] * 20))
number = 3
'''


class Done(NamedTuple):
    """What a command wrote, and its status."""

    status: int
    out: str
    err: str


@pytest.fixture
def nbsession(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run the command in a folder with an app in ``agents.py``; where nobody can be asked anything."""
    (tmp_path / "agents.py").write_text(AGENTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NBSESSION_STORE", "sqlite:///sessions.db")
    monkeypatch.delitem(__import__("sys").modules, "agents", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(*arguments: str) -> Done:
        try:
            status = main(arguments)
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return run
