"""The component in a tree, and an agent that works with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, RenderError, StopReason, System, Timeline
from nbsession.events import ConfirmationRequested, ToolEnd, ToolProgress, ToolStart
from nbsession.testing import EventRecorder, ScriptedModel, call, render
from nbsession.workdir import WorkDir
from tests.support.work import Coder, Work, until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession import Session
    from nbsession.content import ToolResult

ALL = ["edit_file", "glob", "grep", "list_files", "read_file", "shell", "write_file"]


class TestTree:
    def test_its_tools_are_in_the_context_and_nothing_else_is(self, tmp_path: Path) -> None:
        context = render([System("You work."), WorkDir(tmp_path), Timeline()]).context
        assert sorted(spec.name for spec in context.tools) == ALL
        assert str(context.system) == "You work."
        assert str(tmp_path) not in repr([spec.to_dict() for spec in context.tools])

    def test_each_tool_and_each_argument_says_what_it_is(self, tmp_path: Path) -> None:
        for tool in render(WorkDir(tmp_path)).tools.values():
            assert tool.spec.description
            for name, schema in tool.spec.input_schema["properties"].items():
                assert schema.get("description"), (tool.name, name)

    def test_what_changes_something_asks_and_what_reads_runs_side_by_side(self, tmp_path: Path) -> None:
        tools = render(WorkDir(tmp_path)).tools
        assert [name for name in ALL if tools[name].confirm] == ["edit_file", "shell", "write_file"]
        assert [name for name in ALL if tools[name].parallel] == ["glob", "grep", "list_files", "read_file"]
        tools = render(WorkDir(tmp_path, confirm=False)).tools
        assert [name for name in ALL if tools[name].confirm] == []

    def test_some_of_them_may_be_left_out(self, tmp_path: Path) -> None:
        assert sorted(render(WorkDir(tmp_path, shell=False)).tools) == [
            name for name in ALL if name != "shell"
        ]
        assert sorted(render(WorkDir(tmp_path, only=["grep", "read_file"])).tools) == ["grep", "read_file"]

    def test_the_same_context_comes_of_rendering_again(self, tmp_path: Path) -> None:
        rendered = render(WorkDir(tmp_path))
        before = rendered.context
        assert rendered.rerender(WorkDir(tmp_path)).context.hash == before.hash

    @pytest.mark.parametrize(
        ("options", "fault"),
        [
            ({"only": ["read"]}, "WorkDir has no tool 'read'; did you mean 'read_file'"),
            ({"only": "read_file"}, "takes only= as a list of names, got 'read_file'"),
        ],
    )
    def test_options_that_cannot_be_meant_are_refused(self, tmp_path: Path, options: Any, fault: str) -> None:
        with pytest.raises(RenderError, match=fault):
            render(WorkDir(tmp_path, **options))

    def test_a_folder_that_is_none_is_refused_with_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(RenderError, match=r"nowhere is not there; make the folder, or give another path"):
            render(WorkDir(tmp_path / "nowhere"))
        (tmp_path / "file").write_text("")
        with pytest.raises(RenderError, match=r"file is a file; make the folder, or give another path"):
            render(WorkDir(tmp_path / "file"))

    async def test_a_relative_path_is_that_of_the_first_render(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "project").mkdir()
        monkeypatch.chdir(tmp_path)
        rendered = render(WorkDir("project"))
        monkeypatch.chdir("/")
        rendered.rerender(WorkDir("project"))
        assert rendered.tools["list_files"]() == "('.' is empty)"


def coder(work: Work, *responses: Any) -> Session:
    return App(Coder(path=work.path), model=ScriptedModel(*responses)).session()


async def answering(session: Session, answers: Mapping[str, Any]) -> list[ToolResult]:
    """Send a message, answer each question by the tool's name, and return the results of the tools."""
    execution = session.send("Go.")
    results = []
    async for event in execution:
        if isinstance(event, ConfirmationRequested):
            execution.confirm(event.call.id, answers[event.call.name])
        elif isinstance(event, ToolEnd):
            results.append(event.result)
    await execution
    return results


class TestAgent:
    async def test_it_reads_edits_and_runs(self, work: Work) -> None:
        work.write("fib.py", "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 3)\n")
        session = coder(
            work,
            [call("glob", pattern="*.py"), call("read_file", path="fib.py")],
            call("edit_file", path="fib.py", old_string="fib(n - 3)", new_string="fib(n - 2)"),
            call(
                "write_file", path="tests/test_fib.py", content="from fib import fib\nassert fib(10) == 55\n"
            ),
            call(
                "shell",
                command="PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=. python3 tests/test_fib.py && echo passed",
            ),
            "Done.",
        )
        results = await answering(session, {"edit_file": True, "write_file": True, "shell": True})
        assert [result.status for result in results] == ["done"] * 5
        assert results[-1].text == "passed\n(exit code 0)"
        assert "fib(n - 2)" in (work.path / "fib.py").read_text()

    async def test_what_is_denied_does_not_happen(self, work: Work) -> None:
        work.write("a.txt", "a")
        session = coder(
            work,
            [
                call("shell", command="rm a.txt"),
                call("write_file", path="b.txt", content="b"),
                call("edit_file", path="a.txt", old_string="a", new_string="b"),
            ],
            "I see.",
        )
        results = await answering(session, {"shell": False, "write_file": False, "edit_file": False})
        assert [result.status for result in results] == ["denied"] * 3
        assert (work.names, (work.path / "a.txt").read_text()) == (["a.txt"], "a")

    async def test_an_abort_in_the_midst_of_a_command_ends_all_of_its_processes(self, work: Work) -> None:
        session = coder(
            work,
            call("shell", command="sleep 1000 & echo $! $$ > pids; echo begun; (sleep 1000; true) | cat"),
        )
        execution = session.send("Go.")
        async for event in execution:
            if isinstance(event, ConfirmationRequested):
                execution.confirm(event.call.id, True)
            if isinstance(event, ToolProgress):
                assert event.data == "begun\n"
                execution.abort()
        assert (await execution).stop_reason is StopReason.aborted
        group = int((work.path / "pids").read_text().split()[1])
        await until(lambda: is_empty(group))
        assert session.status == "idle"
        session.close()

    async def test_reading_tools_run_side_by_side(self, work: Work) -> None:
        work.write("a.txt", "a")
        work.write("b.txt", "b")
        session = coder(work, [call("read_file", path=f"{name}.txt") for name in "ab" * 4], "Read.")
        recorder = await EventRecorder().record(session.send("Go."))
        assert len(recorder.of(ToolStart)) == len(recorder.of(ToolEnd)) == 8
        assert [end.result.is_error for end in recorder.of(ToolEnd)] == [False] * 8

    async def test_what_one_session_has_read_another_has_not(self, work: Work) -> None:
        work.write("a.txt", "a")
        session = coder(
            work,
            call("read_file", path="a.txt"),
            "Read.",
            call("write_file", path="a.txt", content="b"),
            "Hm.",
        )
        await session.send("Read.")
        fork = session.fork()
        (result,) = await answering(fork, {"write_file": True})
        assert "was not read" in result.text

    async def test_a_question_may_depend_on_the_call(self, work: Work) -> None:
        def outside_docs(given: Mapping[str, Any], context: Any) -> bool:
            return context.name == "shell" or not given["path"].startswith("docs/")

        model = ScriptedModel(
            [
                call("write_file", path="docs/a.md", content="a"),
                call("write_file", path="docs/../b", content="b"),
            ],
            "Done.",
        )
        session = App(Coder(path=work.path, confirm=outside_docs), model=model).session()
        results = await answering(session, {})
        assert [result.status for result in results] == ["done", "error"]
        assert work.names == ["docs"]

    async def test_the_user_may_call_them_too(self, work: Work) -> None:
        session = coder(work)
        assert await session.dispatch("shell", command="echo hi") == "hi\n(exit code 0)"


def is_empty(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False
