"""The extension: light to load, gone when unloaded, and at home wherever IPython runs."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nbsession.notebook.forms import CELL, COMMANDS
from tests.notebook.kernels import ROOT, Kernel, running_kernel
from tests.notebook.test_magics import CURRENT, SETUP, fine, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAVY = ("anthropic", "anywidget", "ipywidgets", "jinja2", "markdown_it", "nh3", "pydantic", "sqlalchemy")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with running_kernel(XDG_DATA_HOME=str(tmp_path_factory.mktemp("data"))) as kernel:
        fine(kernel.run(SETUP))
        yield kernel


SEARCHER = """

@component
def Searcher():
    @tool
    def search(word: str) -> str:
        "Search."
        return word
    return [System("You search."), Section("First look.", title="Plan"), search, Timeline()]

bot = App(Searcher, model=ScriptedModel("a"))
"""


def ipython(*lines: str) -> str:
    """Run cells in plain IPython, without a kernel, and return what they printed."""
    program = [
        "from IPython.core.interactiveshell import InteractiveShell",
        "shell = InteractiveShell.instance(colors='nocolor')",
        *(f"shell.run_cell({line!r}, store_history=True)" for line in lines),
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(program)], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def python(module: str, *arguments: str) -> str:
    """Run a module of Python with this checkout importable, and return what it printed."""
    command = [sys.executable, "-m", module, *arguments]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=surroundings, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_loading_leaves_heavy_libraries_alone() -> None:
    printed = ipython("%load_ext nbsession", f"import sys; print([m for m in {HEAVY} if m in sys.modules])")
    assert printed.strip().splitlines()[-1] == "[]"


def test_a_terminal_sends_and_shows_in_plain_text() -> None:
    printed = ipython(
        SETUP + "bot = app('Hello from a terminal.')",
        "%session new bot",
        "%%session --as answer\nHi",
        "print('bound:', answer.text)",
    )
    assert "session" in printed
    assert printed.count("Hello from a terminal.") == 2
    assert "bound: Hello from a terminal." in printed


def test_a_terminal_shows_a_mistake_in_one_line() -> None:
    printed = ipython("%load_ext nbsession", "%session nwe")
    assert printed.splitlines()[1:] == ["SessionError: %session has no command 'nwe'; did you mean 'new'?"]


def test_colab_is_asked_to_show_our_widgets_when_the_extension_is_loaded() -> None:
    colab = """
import sys, types
names = ("google", "google.colab", "google.colab.output")
google, colab, output = modules = [types.ModuleType(name) for name in names]
google.colab, colab.output = colab, output
output.enable_custom_widget_manager = lambda: print("asked")
sys.modules.update(zip(names, modules))
"""
    assert ipython(colab, "%load_ext nbsession").startswith("asked\n")
    assert "asked" not in ipython("%load_ext nbsession")


def test_a_cell_that_only_loads_it_says_in_one_line_what_comes_next() -> None:
    said = ipython("%load_ext nbsession")
    assert said.count("\n") == 1
    assert "%session new" in said
    assert "%%session" in said
    assert ipython("%load_ext nbsession\nx = 1") == ""


def test_a_notebook_made_into_a_script_runs(tmp_path: Path) -> None:
    import nbformat

    cells = [
        SETUP,
        "bot = app('said by the script')",
        "%session new bot",
        '%%session --as x\nIt\'s "a" {test}',
    ]
    cells.append("print('heard:', bot.model.contexts[0].messages[-1])")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.language_info = {"name": "python", "nbconvert_exporter": "python"}
    path = tmp_path / "one.ipynb"
    nbformat.write(notebook, path)
    python("nbconvert", "--to", "script", str(path))
    printed = python("IPython", str(path.with_suffix(".py")))
    assert "said by the script" in printed
    assert 'It\'s "a" {test}' in printed


def test_loading_twice_changes_nothing(kernel: Kernel) -> None:
    fine(kernel.run("before = len(get_ipython().input_transformer_manager.line_transforms)"))
    fine(kernel.run("%reload_ext nbsession"))
    fine(kernel.run("%load_ext nbsession"))
    count = fine(kernel.run("print(len(get_ipython().input_transformer_manager.line_transforms) - before)"))
    assert count.text == "0\n"


def test_unloading_takes_everything_back(kernel: Kernel) -> None:
    fine(kernel.run("bot = app('a'); shell = get_ipython()"))
    fine(kernel.run("%session new bot"))
    fine(kernel.run(f"held = {CURRENT}"))
    fine(kernel.run("%unload_ext nbsession"))
    left = fine(kernel.run("print(held.status, hasattr(shell, 'nbsession'), shell.find_magic('session'))"))
    assert left.text == "closed False None\n"
    assert "not found" in kernel.run("%%session\nHi").text
    fine(kernel.run(SETUP))
    fine(kernel.run("bot = app('back again')"))
    fine(kernel.run("%session new bot"))
    assert "back again" in fine(kernel.run("%%session\nHi")).shown[-1]


def test_a_cell_still_works_after_the_namespace_was_cleared(kernel: Kernel) -> None:
    fine(kernel.run("bot = app('kept')"))
    fine(kernel.run("%session new bot"))
    fine(kernel.run("%reset -f"))
    fine(kernel.run(SETUP.replace("%load_ext nbsession", "")))
    assert "kept" in fine(kernel.run("%%session\nHi")).shown[-1]


def test_defaults_are_set_by_config(kernel: Kernel) -> None:
    fine(
        kernel.run("""
@tool
def again() -> str:
    "Go on."
    return "more"
bot = App(Echo, model=ScriptedModel(call("again"), call("again")), tools=[again])
%session new bot
%config Nbsession.max_ticks = 1
""")
    )
    fine(kernel.run("%%session --as answer\nGo."))
    assert fine(kernel.run("print(answer.stop_reason)")).text == "max_ticks\n"
    fine(kernel.run("%config Nbsession.max_ticks = 0"))
    fine(kernel.run("%config Nbsession.model = 'simulated'"))
    assert "model simulated" in fine(kernel.run("%session new Echo")).text
    fine(kernel.run("%config Nbsession.model = ''"))


def test_sessions_of_plain_code_live_on_the_engine_and_can_be_spoken_to(kernel: Kernel) -> None:
    fine(kernel.run("bot = app('one', 'two', 'three'); mine = bot.session()"))
    assert fine(kernel.run("print((await mine.send('Hi')).text)")).text == "one\n"
    assert fine(kernel.run("print(mine.run('Hi').text)")).text == "two\n"
    assert "three" in fine(kernel.run("%%session mine\nHi")).shown[-1]
    assert fine(kernel.run("import sys; print('nest_asyncio2._patched' in sys.modules)")).text == "False\n"


def test_a_session_that_lives_on_the_notebooks_loop_works_where_the_cell_awaits(kernel: Kernel) -> None:
    fine(
        kernel.run("""
import asyncio
bot = app("here")
bot.home.bind(asyncio.get_running_loop())
mine = bot.session()
""")
    )
    assert "here" in fine(kernel.run("%%session mine\nHi")).shown[-1]
    assert "lives on the notebook's own loop" in one_line(kernel.run("%%time\n%%session mine\nHi"))


@pytest.mark.parametrize(
    ("code", "wanted", "unwanted"),
    [
        ("%session n", {"new"}, {"list"}),
        ("%session new Ec", {"Echo"}, {"System"}),
        ("%session new Echo --", {"--id", "--model", "--name"}, {"--raw"}),
        ("%session new Echo --model s", {"simulated"}, set()),
        ("%session use ro", {"root"}, set()),
        ("%%session --ma", {"--max-ticks", "--max-cost"}, {"--model"}),
        ("%%session root --model an", {"anthropic:"}, set()),
        ("%session break on t", {"tool=", "tokens>"}, {"on", "part="}),
        ("%session break on tool=s", {"tool=search"}, set()),
        ("%session break on tool=search part=", {"part=Plan"}, set()),
        ("%session context --without S", {"Searcher/System.0"}, {"Searcher", "--json"}),
        ("%session fork --without S", {"Searcher/System.0"}, {"Searcher", "--before"}),
        ("%%session root --display q", {"quiet"}, {"off"}),
        ("%%session root --model my", {"my_model"}, set()),
        ("%%session root --model anthropic:claude-s", {"anthropic:claude-sonnet-5-5"}, set()),
        ("%%session mi", {"mine_too"}, set()),
        ("%%session root --model o", {"openai:", "ollama:"}, {"anthropic:"}),
    ],
)
def test_the_magics_lines_complete(kernel: Kernel, code: str, wanted: set[str], unwanted: set[str]) -> None:
    fine(kernel.run("bot = app('a'); my_model = ScriptedModel('a'); mine_too = bot.session()" + SEARCHER))
    fine(kernel.run("%session new bot --name root"))
    kernel.client.complete(code, len(code))
    reply = kernel.client.get_shell_msg(timeout=20)
    while reply["msg_type"] != "complete_reply":
        reply = kernel.client.get_shell_msg(timeout=20)
    content = reply["content"]
    made = {code[: content["cursor_start"]] + match for match in content["matches"]}
    begun = code[: len(code) - len(code.rsplit(maxsplit=1)[-1])]
    assert {begun + word for word in wanted} <= made
    assert not {begun + word for word in unwanted} & made


def test_a_question_mark_lists_every_option_with_its_meaning() -> None:
    printed = ipython("%load_ext nbsession", "%%session?")
    for option in CELL.options:
        assert option.usage in printed
        assert option.help in printed
    printed = ipython("%load_ext nbsession", "%session?")
    for command in COMMANDS.values():
        assert command.help in printed
        assert all(option.help in printed for option in command.options)


def test_the_body_of_a_cell_completes_as_always(kernel: Kernel) -> None:
    code = "%%session\nsys"
    kernel.client.complete(code, len(code))
    reply = kernel.client.get_shell_msg(timeout=20)
    while reply["msg_type"] != "complete_reply":
        reply = kernel.client.get_shell_msg(timeout=20)
    assert "--model" not in reply["content"]["matches"]
