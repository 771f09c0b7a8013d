"""Exporting a session: each file stands alone, reads as it was, and is written over nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from markdown_it import MarkdownIt
from nbconvert import MarkdownExporter

from nbsession import App, Knobs, Pause, Session, SessionError, System, Timeline, component, tool, use_knob
from nbsession.content.markdown import render
from nbsession.content.mathematics import TYPESET
from nbsession.events import ConfirmationRequested
from nbsession.export import panel_part
from nbsession.models import RecordedModel
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call
from tests.support.notepad import Notepad

ENDINGS = ("demo.html", "demo.ipynb", "demo.py", "test_demo.py", "demo.md", "demo.json")
HOSTILE = (
    "</script><script>window.ran = 1</script>",
    "<img src=x onerror=window.ran=1>",
    "[a](javascript:window.ran=1) and ![b](https://example.org/b.png)",
    "```\n</pre><script>window.ran = 1</script>\n````",
    "[a]: javascript:window.ran=1\n\n[a]",
    "<https://example.org> <!-- --> &lt;script>",
    "text \u202e reversed",
)


@pytest.fixture
def session() -> Session:
    answers: tuple[Any, ...] = (
        [call("add_note", note="Ryan"), "One moment."],
        "Noted, **Ryan**.",
        call("set_knob", name="tone", value="terse"),
        "Terse now.",
    )
    made = App(Notepad, model=ScriptedModel(*answers)).session("demo")
    made.run("My name is Ryan.")
    made.run("Be short, {{please}}.")
    return made


def careless(url: str) -> bool:
    """Take every link for a good one."""
    return bool(url)


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_script_says_it_all_again_from_its_recording(session: Session, tmp_path: Path) -> None:
    session.export(tmp_path / "demo.py")
    ran = run("demo.py", folder=tmp_path)
    assert ran.stderr == ""
    assert "[user] My name is Ryan." in ran.stdout
    assert "[assistant] Terse now." in ran.stdout
    assert (tmp_path / "demo.jsonl").is_file()


def test_a_test_holds_contexts_and_answers_to_what_they_were(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "test_demo.py"
    session.export(path)
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_demo.py")
    passed = run(*command, folder=tmp_path)
    assert passed.returncode == 0, passed.stdout
    text = path.read_text("utf-8")
    assert all(tick.context.hash in text for tick in session.ticks)
    path.write_text(text.replace("Terse now.", "Other words."), "utf-8")
    failed = run(*command, folder=tmp_path)
    assert failed.returncode == 1
    assert "Other words." in failed.stdout


def test_knobs_that_were_set_between_messages_are_set_again(tmp_path: Path) -> None:
    session = App(Notepad, model=ScriptedModel("One.", "Two.")).session("demo")
    session.run("First")
    session.knobs["tone"] = "terse"
    session.run("Second")
    session.export(tmp_path / "demo.py")
    assert "({'tone': 'terse'}, 'Second', {})" in (tmp_path / "demo.py").read_text("utf-8")
    recorded = App(Notepad, model=RecordedModel(tmp_path / "demo.jsonl", rate=0)).session()
    recorded.run("First")
    recorded.knobs["tone"] = "terse"
    assert recorded.run("Second").text == "Two."


MESSAGES = """
from nbsession import App, System, Timeline, component, tool
from nbsession.testing import ScriptedModel, call

@component
def Agent():
    return [System("Be brief."), Timeline()]

@tool
def root(number: float) -> float:
    "Take a root."
    return number ** 0.5

exec('@tool\\ndef lost(text: str) -> str:\\n    "Lose it."\\n    return text')
app = App(Agent, model=ScriptedModel(call("root", number=16.0), "It is 4.", "Plain."))
session = app.session("sent")
session.run("The root of 16?", tools=[root])
session.run("And now?")
session.run("Pull.", model="simulated")
session.run("Push.", model=ScriptedModel("Pushed."))
session.run("Lose.", model=ScriptedModel("Lost."), tools=[lost])
for path in ("out.py", "test_out.py", "out.ipynb"):
    session.export(path)
"""


def test_a_script_repeats_the_model_and_the_tools_that_a_message_was_sent_with_or_says_that_it_cannot(
    tmp_path: Path,
) -> None:
    (tmp_path / "cells.py").write_text(MESSAGES, "utf-8")
    assert run("cells.py", folder=tmp_path).stderr == ""
    text = (tmp_path / "out.py").read_text("utf-8")
    assert "({}, 'The root of 16?', {\"tools\": [root]})," in text
    assert "({}, 'And now?', {})," in text
    assert "({}, 'Pull.', {\"model\": 'simulated'})," in text
    assert "# sent with model='scripted', which is no name that others know\n    ({}, 'Push.', {})," in text
    assert (
        "# 1 more turns cannot be had again: the next was sent with tools=['lost'], which could not be written down.\n"
        in text
    )
    (tmp_path / "cells.py").unlink()
    again = run("out.py", folder=tmp_path)
    assert again.stderr == ""
    assert "It is 4." in again.stdout
    assert "Pushed." in again.stdout
    cells = [cell.source for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells]
    assert "%%session --model simulated\nPull." in cells


def test_a_session_of_another_process_whose_tools_are_not_known_any_more_is_exported_up_to_there(
    tmp_path: Path,
) -> None:
    @tool
    def root(number: float) -> float:
        """Take a root."""
        return number / 4

    store = SqlStore(f"sqlite:///{tmp_path / 'kept.db'}")
    session = App(Notepad, model=ScriptedModel("4."), store=store).session("first")
    session.run("The root of 16?", tools=[root])
    session.close()
    again = App(Notepad, model=ScriptedModel(), store=store).session("first")
    with pytest.raises(SessionError, match=r"its first message was sent with tools=\['root'\]"):
        again.export(tmp_path / "demo.py")
    session = App(Notepad, model=ScriptedModel("Hello.", "4."), store=store).session("second")
    session.run("Hi")
    session.run("The root of 16?", tools=[root])
    session.close()
    App(Notepad, model=ScriptedModel(), store=store).session("second").export(tmp_path / "demo.py")
    assert "the next was sent with tools=['root']" in (tmp_path / "demo.py").read_text("utf-8")
    assert "Hello." in run("demo.py", folder=tmp_path).stdout


def test_pictures_and_messages_that_were_sent_together_are_sent_so_again(tmp_path: Path) -> None:
    from PIL import Image

    session = App(Notepad, model=ScriptedModel("A red square.", "Yes.")).session("demo")
    session.run(["What is this?", Image.new("RGB", (8, 8), "red")])
    session.run([{"role": "assistant", "content": "Anything else?"}, {"role": "user", "content": "Sure?"}])
    session.export(tmp_path / "test_demo.py")
    passed = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_demo.py", folder=tmp_path)
    assert passed.returncode == 0, passed.stdout
    for name in ("demo.html", "demo.ipynb", "demo.md", "demo.json"):
        session.export(tmp_path / name)


def test_a_session_that_was_opened_again_is_exported_as_it_was(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'kept.db'}")
    session = App(Notepad, model=ScriptedModel("One."), store=store).session("demo")
    session.run("First")
    session.export(tmp_path / "before.json")
    session.close()
    App(Notepad, model=ScriptedModel(), store=store).session("demo").export(tmp_path / "after.json")
    assert (tmp_path / "after.json").read_text("utf-8") == (tmp_path / "before.json").read_text("utf-8")


def test_a_component_that_is_written_in_a_cell_stands_in_the_script(tmp_path: Path) -> None:
    cells = '''
import math
from nbsession import App, System, Timeline, component, tool
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call

FACTOR = 2

def half(number: float) -> float:
    return number / FACTOR

@tool
def root(number: float) -> float:
    """Take a root."""
    return half(math.sqrt(number)) * 2

@component
def Agent(name="Ann"):
    number = 3
    return [System(f"You are {name}, {number}."), root, Timeline()]

number = "not of the agent"
app = App(Agent, model=ScriptedModel(call("root", number=16.0), "It is 4."))
session = app.session("cells", name="Bob")
session.run("The root of 16?")
session.export("out.py")
'''
    (tmp_path / "cells.py").write_text(cells, "utf-8")
    made = run("cells.py", folder=tmp_path)
    assert made.stderr == ""
    text = (tmp_path / "out.py").read_text("utf-8")
    assert "not of the agent" not in text
    (tmp_path / "cells.py").unlink()
    again = run("out.py", folder=tmp_path)
    assert again.stderr == ""
    assert "[assistant] It is 4." in again.stdout


def test_a_notebook_has_the_messages_as_cells_with_what_came_of_them(
    session: Session, tmp_path: Path
) -> None:
    session.export(tmp_path / "demo.ipynb")
    notebook = nbformat.read(tmp_path / "demo.ipynb", 4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    sources = [cell.source for cell in notebook.cells]
    assert sources[0] == "# Session `demo`"
    assert "from tests.support.notepad import Notepad" in sources[1]
    assert sources[2] == "%session new app --as session"
    assert sources[3] == "%%session\nMy name is Ryan."
    assert sources[-1] == "%%session --raw\nBe short, {{please}}."
    (shown,) = notebook.cells[3].outputs
    assert shown.data["text/plain"] == "One moment.\n\nNoted, **Ryan**."
    assert "You are a friendly assistant with a notepad." in shown.data["text/html"]
    assert "<script" not in shown.data["text/html"]


def test_text_reads_as_it_was_said(session: Session, tmp_path: Path) -> None:
    session.export(tmp_path / "demo.md")
    text = (tmp_path / "demo.md").read_text("utf-8")
    assert "## User\n\n> My name is Ryan.\n" in text
    assert "> Noted, **Ryan**." in text
    assert (
        'Called `add_note` with\n\n```json\n{\n "note": "Ryan"\n}\n```\n\nIts result:\n\n```\nNoted.\n```'
        in text
    )


def test_data_has_every_text_once_and_all_ticks(session: Session, tmp_path: Path) -> None:
    session.export(tmp_path / "demo.json")
    data = json.loads((tmp_path / "demo.json").read_text("utf-8"))
    ticks = [tick for turn in data["turns"] for tick in turn["ticks"]]
    assert [tick["hash"] for tick in ticks] == [tick.context.hash for tick in session.ticks]
    for shown, tick in zip(ticks, session.ticks, strict=True):
        places = [at for first, last in shown["parts"] for at in range(first, last + 1)]
        texts = [data["texts"][data["parts"][at]["text"]] for at in places]
        assert texts == [part.readable for part in tick.context.parts]


def test_what_the_head_was_taken_back_from_is_not_exported(session: Session, tmp_path: Path) -> None:
    session.rewind(session.ticks[1].head_after)
    session.export(tmp_path / "demo.md")
    text = (tmp_path / "demo.md").read_text("utf-8")
    assert "My name is Ryan." in text
    assert "Be short" not in text


def test_turns_that_were_cut_off_are_left_out_of_a_script_and_it_says_so(tmp_path: Path) -> None:
    session = App(Notepad, model=ScriptedModel("One.", ConnectionError("gone"))).session("demo")
    session.run("First")
    with pytest.raises(Exception, match="gone"):
        session.run("Second")
    session.export(tmp_path / "demo.py")
    text = (tmp_path / "demo.py").read_text("utf-8")
    assert "Second" not in text
    assert "# 1 more turns were cut off" in text
    session.export(tmp_path / "demo.md")
    assert "Ended with" in (tmp_path / "demo.md").read_text("utf-8")


@pytest.mark.parametrize("name", ENDINGS)
def test_a_file_that_is_there_stays_as_it_is_without_force(
    session: Session, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_text("mine", "utf-8")
    with pytest.raises(SessionError, match=r"is there already; give another name, or force=True \(--force\)"):
        session.export(path)
    assert path.read_text("utf-8") == "mine"
    assert [found.name for found in tmp_path.iterdir()] == [name]
    session.export(path, force=True)
    assert path.read_text("utf-8") != "mine"


def test_a_recording_that_is_there_stays_as_it_is(session: Session, tmp_path: Path) -> None:
    (tmp_path / "demo.jsonl").write_text("mine", "utf-8")
    with pytest.raises(SessionError, match=r"demo.jsonl' is there already"):
        session.export(tmp_path / "demo.py")
    assert [found.name for found in tmp_path.iterdir()] == ["demo.jsonl"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none/demo.html", "there is no folder"),
        ("demo.docx", r"ends with '.docx', which nothing is written as; end it with one of .ipynb, .py, .md"),
        ("demo", "ends with 'nothing'"),
        ("folder.html", "is a folder"),
    ],
)
def test_where_nothing_can_be_written_is_said(
    session: Session, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(SessionError, match=message):
        session.export(tmp_path / name)
    assert [found.name for found in tmp_path.iterdir()] == ["folder.html"]


def test_a_session_without_a_message_says_so(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="session 'new' has no message to export yet"):
        App(Notepad, model=ScriptedModel()).session("new").export(tmp_path / "new.html")


def test_whatever_was_said_is_text_in_the_markdown(tmp_path: Path) -> None:
    session = App(Notepad, model=ScriptedModel(*HOSTILE)).session("<b>`x`</b>")
    for said in HOSTILE:
        session.run(said)
    session.export(tmp_path / "demo.md")
    parser = MarkdownIt("commonmark", {"html": True})
    parser.validateLink = careless  # type: ignore[method-assign]  # the documented way to widen links
    rendered = parser.render((tmp_path / "demo.md").read_text("utf-8"))
    for live in ("<script", "<img", "<a ", "<b>", "<!--"):
        assert live not in rendered
    assert "⟨U+202E⟩" in rendered


def test_outputs_are_text_in_a_notebook_that_was_converted_to_markdown(tmp_path: Path) -> None:
    said = "One line.\n\n" + "\n\n".join(HOSTILE)
    session = App(Notepad, model=ScriptedModel([call("add_note", note=said), said], said)).session("demo")
    session.run(said)
    session.export(tmp_path / "demo.ipynb")
    notebook = nbformat.read(tmp_path / "demo.ipynb", 4)
    panel = nbformat.v4.new_output("display_data", data={"text/html": panel_part(session.freeze().to_dict())})
    notebook.cells[-1].outputs.append(panel)
    notebook.cells[-1].source = "here"
    text, _ = MarkdownExporter().from_notebook_node(notebook)
    parser = MarkdownIt("commonmark", {"html": True})
    parser.validateLink = careless  # type: ignore[method-assign]  # the documented way to widen links
    rendered = parser.render(text)
    for live in ("<img", "<a ", "<!--", "<h2", "<li", "window.ran = 1</script>"):
        assert live not in rendered
    assert rendered.count("<script") == 2  # the panel's data and its own script


def test_answers_are_markdown_in_a_page_by_the_notebooks_renderer_also_where_no_script_runs(
    tmp_path: Path,
) -> None:
    said = (
        "**So.** <b onclick=x>no</b>\n\n| a |\n|--:|\n| 1 |\n\n$5 and $x^2$, ![p](https://example.org/p.png)"
    )
    session = App(Notepad, model=ScriptedModel(said)).session("said")
    session.run("Say it.")
    session.export(tmp_path / "said.html")
    page = (tmp_path / "said.html").read_text("utf-8")
    text, _, rest = page.partition('<script type="application/json">')
    data = json.loads(rest.partition("</script>")[0])
    (answer,) = data["ticks"][0]["answer"]
    assert answer["html"] == render(said).replace(' style="text-align:right"', ' class="right"')
    assert answer["html"].replace("\n", "&#10;") in text
    assert "&lt;b onclick=x&gt;" in answer["html"]
    assert TYPESET in answer["html"]
    assert "<img" not in text


@pytest.mark.parametrize(("name", "bytes_"), [("long.html", 700_000), ("long.ipynb", 500_000)])
def test_forty_ticks_make_a_small_file(tmp_path: Path, name: str, bytes_: int) -> None:
    @component
    def Agent() -> Any:
        use_knob("depth", 1, min=1, max=9)
        return [System("You are a guide. " * 60), Knobs(), Timeline()]

    words = "The way leads up to the pass, where the wind is strong and the view is wide. "
    session = App(Agent, model=ScriptedModel(*(f"{n}: {words * 16}" for n in range(40)))).session("long")
    for n in range(40):
        session.run(f"{n}: {words * 16}")
    assert session.ticks[-1].context.tokens >= 24_000
    session.export(tmp_path / name)
    assert (tmp_path / name).stat().st_size <= bytes_


@tool
def ask(question: str) -> str:
    """Ask the person."""
    raise Pause(question)


@tool(confirm=True)
def deliver(copies: int = 1) -> str:
    """Deliver it."""
    return f"{copies} delivered"


@component
def Letters() -> Any:
    return [System("You write letters."), ask, deliver, Timeline()]


async def waited() -> Session:
    """Return a session in which was asked, allowed while it ran, declined later, withdrawn, and that waits."""
    answers = (
        [call("ask", question="To **whom**?"), call("deliver")],
        "Done.",
        call("deliver", copies=2),
        "Left.",
        call("ask", question="Why?"),
        "Never mind.",
        call("ask", question="Now?"),
    )
    session = App(Letters, model=ScriptedModel(*answers)).session("letters")

    async def go(message: str, live: Any) -> None:
        execution = session.send(message)
        async for event in execution:
            if isinstance(event, ConfirmationRequested) and live is None:
                execution.pause()
            elif isinstance(event, ConfirmationRequested):
                session.answer(event.question, live)
        await execution

    await go("Write.", {"copies": 3})
    await session.answer(session.waiting[0].id, "Bo")
    await go("Again.", None)
    await session.answer(session.waiting[0].id, False)
    for message in ("Ask.", "Forget it.", "And?"):
        await go(message, None)
    return session


async def test_what_was_asked_and_answered_stands_in_every_form(tmp_path: Path) -> None:
    session = await waited()
    for name in ENDINGS:
        session.export(tmp_path / name)
        text = (tmp_path / name).read_text("utf-8")
        assert "Bo" in text, name
        if not name.endswith(".py"):
            assert "waits for an answer" in text, name
            assert "nobody answered: another message was sent" in text, name
    turns = json.loads((tmp_path / "demo.json").read_text("utf-8"))["turns"]
    first = turns[0]["ticks"][0]["tools"]
    assert [(each["asked"], each["outcome"]) for each in first] == [
        ("To **whom**?", "answered: Bo"),
        ("Run deliver()?", 'answered: {"copies": 3}'),
    ]
    assert turns[1]["asked"].startswith("To **whom**? (answered: Bo)")
    assert turns[-1]["ticks"][0]["tools"][0]["status"] == "waits"


@pytest.mark.parametrize("name", ["demo.py", "test_demo.py"])
async def test_a_script_answers_what_is_asked_as_it_was_answered(tmp_path: Path, name: str) -> None:
    session = await waited()
    session.export(tmp_path / name)
    if name == "demo.py":
        ran = run(name, folder=tmp_path)
        assert ran.stderr == ""
        assert [
            line for line in ran.stdout.splitlines() if line.startswith("[assistant] ") and ")" not in line
        ] == [
            "[assistant] Done.",
            "[assistant] Left.",
            "[assistant] Never mind.",
        ]
        assert "3 delivered" in ran.stdout
    else:
        passed = run("-m", "pytest", "-q", "-p", "no:cacheprovider", name, folder=tmp_path)
        assert passed.returncode == 0, passed.stdout


async def test_a_notebook_answers_in_a_cell_of_its_own(tmp_path: Path) -> None:
    session = await waited()
    session.export(tmp_path / "demo.ipynb")
    cells = json.loads((tmp_path / "demo.ipynb").read_text("utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    assert any("answers[str(waiting.call)]" in source for source in sources)
    assert "await session.answer(session.waiting[0].id, False)" in sources
    assert not any(source.strip() == "%%session" for source in sources)
