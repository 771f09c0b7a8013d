"""``context_lock``, as a project of a user's runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.notebook.kernels import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TREE = """
from nbsession import *
from nbsession.testing import ScriptedModel, call
from nbsession.content import Image

@component
def Guide(town="Basel"):
    @tool
    def look_up(place: str) -> str:
        "Look a place up."
        return f"{place} is by the Rhine."
    return [System("You know towns."), Section(f"The town is {town}.", id="town"), look_up, Timeline()]
"""


class Ran(NamedTuple):
    passed: bool
    text: str


def pytest_in(folder: Path, test: str, *options: str, tree: str = TREE) -> Ran:
    (folder / "test_guide.py").write_text(tree + test, "utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "nbsession.pytest_plugin",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    return Ran(done.returncode == 0, done.stdout + done.stderr)


ELEMENT = "def test_guide(context_lock):\n    context_lock(Guide())\n"

RESULT = """
def test_talk(context_lock):
    model = ScriptedModel(call("look_up", place="Basel"), "By the Rhine.")
    session = App(Guide, model=model).session()
    context_lock(session.run("Where is Basel?"))
    context_lock(session, name="afterwards")
"""


def test_a_lock_is_made_by_the_flag_and_holds_without_it(tmp_path: Path) -> None:
    first = pytest_in(tmp_path, ELEMENT)
    assert not first.passed
    assert "no context is kept in __contexts__/test_guide.test_guide.json yet" in first.text
    assert "pytest --update-contexts" in first.text
    assert pytest_in(tmp_path, ELEMENT, "--update-contexts").passed
    assert pytest_in(tmp_path, ELEMENT).passed


def test_a_lock_that_fails_tells_component_tokens_and_the_broken_prefix(tmp_path: Path) -> None:
    assert pytest_in(tmp_path, ELEMENT, "--update-contexts").passed
    changed = TREE.replace("The town is {town}.", "The town is {town}, and it rains all day.")
    ran = pytest_in(tmp_path, ELEMENT.replace("Guide()", 'Guide(), model="claude-sonnet-5-5"'), tree=changed)
    assert not ran.passed
    for said in (
        "the context differs from __contexts__/test_guide.test_guide.json",
        "~ town · Guide/Section[town] (+5 tokens)",
        "-The town is Basel.",
        "+The town is Basel, and it rains all day.",
        "tokens of the prefix are kept, up to town · Guide/Section[town]",
        "the cached prefix is broken there",
        "a call of claude-sonnet-5-5",
        "if it is meant to be so: pytest --update-contexts",
    ):
        assert said in ran.text
    assert "+$0.0000" in ran.text


def test_without_a_known_price_no_dollars_are_told(tmp_path: Path) -> None:
    assert pytest_in(tmp_path, ELEMENT, "--update-contexts").passed
    ran = pytest_in(tmp_path, ELEMENT, tree=TREE.replace("You know", "You love"))
    assert "-You know towns." in ran.text
    assert "$" not in ran.text


def test_all_ticks_of_a_result_are_kept_alike_in_every_run(tmp_path: Path) -> None:
    assert pytest_in(tmp_path, RESULT, "--update-contexts").passed
    folder = tmp_path / "__contexts__"
    kept = {path.name: path.read_text("utf-8") for path in folder.iterdir()}
    assert set(kept) == {"test_guide.test_talk.json", "test_guide.test_talk.afterwards.json"}
    first, second = json.loads(kept["test_guide.test_talk.json"])["contexts"]
    assert first["messages"][0]["text"] == ["Where is Basel?"]
    assert second["system"] == [0, 1]
    assert second["messages"][1]["text"] == ['→ call 0: look_up {"place": "Basel"}']
    assert second["messages"][2]["text"] == ["← call 0: Basel is by the Rhine."]
    assert pytest_in(tmp_path, RESULT).passed
    assert pytest_in(tmp_path, RESULT, "--update-contexts").passed
    assert {path.name: path.read_text("utf-8") for path in folder.iterdir()} == kept
    assert str(tmp_path) not in "".join(kept.values())


def test_a_changed_tool_result_and_a_tick_more_are_told_by_tick(tmp_path: Path) -> None:
    assert pytest_in(tmp_path, RESULT, "--update-contexts").passed
    ran = pytest_in(tmp_path, RESULT, tree=TREE.replace('by the Rhine."', 'on the Rhine."'))
    assert "tick 1:" in ran.text
    assert "tick 0:" not in ran.text
    assert "-← call 0: Basel is by the Rhine." in ran.text
    more = RESULT.replace('place="Basel"), "By', 'place="Basel"), call("look_up", place="Bern"), "By')
    assert "tick 2: is new" in pytest_in(tmp_path, more).text


def test_pictures_and_settings_are_locked_too(tmp_path: Path) -> None:
    test = """
from nbsession.content import Message as Said
from nbsession.context import context_of
def test_album(context_lock):
    picture = Said("user", (Image("image/png", b"1"),))
    context_lock(context_of(["Look."], [picture], settings={"max_tokens": 9}))
"""
    assert pytest_in(tmp_path, test, "--update-contexts").passed
    assert pytest_in(tmp_path, test).passed
    assert "1 bytes 6b86b273ff34fce1" in pytest_in(tmp_path, test.replace('b"1"', 'b"2"')).text
    assert "~ max_tokens: 9 → 10" in pytest_in(tmp_path, test.replace(": 9", ": 10")).text


@pytest.mark.parametrize("kept", ["", "[]", '{"form": 1, "contexts": [{"parts": 3}]}', '{"form": 0}'])
def test_a_file_that_cannot_be_read_says_how_to_make_it_anew(kept: str, tmp_path: Path) -> None:
    (tmp_path / "__contexts__").mkdir()
    (tmp_path / "__contexts__" / "test_guide.test_guide.json").write_text(kept, "utf-8")
    ran = pytest_in(tmp_path, ELEMENT)
    assert "cannot be read" in ran.text
    assert "make it anew: pytest --update-contexts" in ran.text


def test_tests_whose_names_no_file_may_have_keep_files_of_their_own(tmp_path: Path) -> None:
    test = """
import pytest
@pytest.mark.parametrize("town", ["a/b", "a b", "ä" * 200])
def test_guide(town, context_lock): context_lock(Guide(town=town))
"""
    assert pytest_in(tmp_path, test, "--update-contexts").passed
    assert len(list((tmp_path / "__contexts__").iterdir())) == 3
    assert pytest_in(tmp_path, test).passed


def test_what_is_no_context_is_refused_with_what_may_stand_there(tmp_path: Path) -> None:
    ran = pytest_in(tmp_path, "def test_guide(context_lock): context_lock('text')\n")
    assert "takes a compiled context, a session, a result, an element or a component, got str" in ran.text


EXPERIMENT = """
from nbsession.experiment import Case, Experiment, contains
from nbsession.models import RecordedModel

def test_guide():
    model = RecordedModel("guide.jsonl", record="new" if RECORD else None, model=RECORD, rate=0)
    cases = [Case(f"What is number {n}?", str(n), f"case-{n}") for n in range(20)]
    run = Experiment(App(Guide, model=model), cases, score=contains).run().wait()
    assert run.arms["default"].mean > 0.8
    assert run.arms["default"].mean == 0.9
"""

RECORDING = """
from nbsession.models import SimulatedModel

class Counting(SimulatedModel):
    async def stream(self, context):
        asked = str(context.messages[-1]).rstrip("?").split()[-1]
        async for event in ScriptedModel(f"It is {asked}." if int(asked) > LOST else "Who knows?").stream(context):
            yield event

RECORD, LOST = Counting(), 1
"""


def test_a_mean_that_is_too_low_shows_the_cases_that_were_lost(tmp_path: Path) -> None:
    assert pytest_in(tmp_path, RECORDING + EXPERIMENT).passed
    replayed = pytest_in(tmp_path, "RECORD = None" + EXPERIMENT)
    assert replayed.passed, replayed.text
    (tmp_path / "guide.jsonl").unlink()
    failed = pytest_in(tmp_path, RECORDING.replace(", 1", ", 7") + EXPERIMENT)
    assert not failed.passed
    assert "0.6 > 0.8" in failed.text
    assert "arm 'default': contains 0.60 (0.39 to 0.78, n=20)" in failed.text
    assert "lost 0.00 'case-0' (What is number 0?), expected '0', got 'Who knows?'" in failed.text
    assert "and 3 more" in failed.text
