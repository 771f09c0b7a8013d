"""A server's life: started for the first message and by nothing before it, there again when it died, gone with its session."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import System, component, use_knob
from nbsession.errors import RenderError
from nbsession.mcp import MCP, server
from nbsession.mcp.link import link_of
from nbsession.mcp.listing import list_tools
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call
from tests.support.mcp_sessions import alive, app_of, pids, plain, results
from tests.support.work import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession import App, Session

    Open = Callable[..., Session]


class TestStart:
    async def test_a_server_starts_for_the_first_message_and_its_tools_are_the_models(
        self, tmp_path: Path, opened: Open
    ) -> None:
        app = app_of(MCP("plain", command=plain(tmp_path)), says=[call("echo", text="hello"), "said"])
        session = opened(app)
        result = await session.send("Go.")
        assert [tool.name for tool in result.ticks[0].context.tools] == ["echo", "die"]
        assert result.ticks[0].context.tools[0].input_schema["required"] == ["text"]
        assert [item.text for item in results(session)] == ["hello (1)"]
        assert len(pids(tmp_path)) == 1

    async def test_looking_starts_nothing_and_says_that_the_tools_are_pending(
        self, tmp_path: Path, opened: Open
    ) -> None:
        @component
        def Agent() -> Any:
            tone, _ = use_knob("tone", "calm")
            return [System(tone), MCP("plain", command=plain(tmp_path))]

        session = opened(app_of(Agent()))
        assert session.compile().pending == ("the tools of plain",)
        assert session.preview(tone="loud").context.pending == ("the tools of plain",)
        session.outline()
        assert pids(tmp_path) == []

    async def test_a_command_may_be_a_line_and_gets_the_environment_that_is_added(
        self, tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET_OF_THE_KERNEL", "s3cret")
        script = tmp_path / "server.sh"
        script.write_text(f"env > {tmp_path}/env\nexec {sys.executable} {plain(tmp_path)[1]} {tmp_path}\n")
        session = opened(app_of(MCP("plain", command=f"sh '{script}'", env={"ADDED": "yes"}), says=["ok"]))
        await session.send("Go.")
        environment = (tmp_path / "env").read_text()
        assert "ADDED=yes" in environment
        assert "PATH=" in environment
        assert "s3cret" not in environment

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({}, "takes either command="),
            ({"command": ["x"], "url": "http://127.0.0.1/mcp"}, "takes either command="),
            ({"command": []}, "takes command= as a list of texts"),
            ({"command": "a 'b"}, "cannot be read"),
            ({"command": ["x", 1]}, "takes command= as a list of texts"),
            ({"url": "ftp://127.0.0.1"}, "takes url= as http"),
            ({"url": "http://127.0.0.1/mcp", "env": {"A": "b"}}, "takes env= only with command="),
            ({"command": ["x"], "headers": {"A": "b"}}, "takes headers= only with url="),
            ({"command": ["x"], "env": {"A": 5}}, "as names and texts, got 'A': int"),
            ({"command": ["x"], "only": "echo"}, "takes only= as a list"),
            ({"command": ["x"], "confirm": "echo"}, "takes confirm= as a list"),
        ],
    )
    async def test_what_does_not_fit_is_refused_before_anything_starts(
        self, options: dict[str, Any], said: str, opened: Open
    ) -> None:
        with pytest.raises(RenderError, match=said):
            opened(app_of(MCP("bad", **options))).compile()


class TestOther:
    async def test_another_command_is_another_server_once_a_message_is_sent(
        self, tmp_path: Path, opened: Open
    ) -> None:
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()

        @component
        def Agent() -> Any:
            which, _ = use_knob("which", "a", options=["a", "b"])
            return MCP("plain", command=plain(tmp_path / which))

        session = opened(app_of(Agent(), says=["one", call("echo", text="x"), "two"]))
        await session.send("Go.")
        assert session.preview(which="b").context.pending == ("the tools of plain",)
        assert pids(tmp_path / "b") == []
        session.knobs["which"] = "b"
        await session.send("Go on.")
        assert results(session)[0].text == "x (1)"
        assert (len(alive(tmp_path / "a")), len(alive(tmp_path / "b"))) == (0, 1)

    async def test_a_server_that_cannot_tell_of_changes_is_asked_once_at_each_look(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lists = []

        async def listing(client: Any) -> Any:
            lists.append(client)
            return await list_tools(client)

        monkeypatch.setattr(server, "list_tools", listing)
        made = server.Server("plain", link_of("plain", plain(tmp_path), None, None, None), print)
        await made.listed()
        (await made._connected()).blind = True
        handlers = len(logging.getLogger("mcp").handlers)
        server._load()
        before = len(lists)
        await made.listed()
        await made.stop()
        assert len(lists) == before + 1
        assert len(logging.getLogger("mcp").handlers) == handlers

    async def test_after_going_back_there_is_one_server(self, tmp_path: Path, opened: Open) -> None:
        session = opened(app_of(MCP("plain", command=plain(tmp_path)), says=["one", "two", "three"]))
        await session.send("Go.")
        entry = session.timeline[-1].id
        await session.send("Go on.")
        session.rewind(entry)
        await session.send("Go on, otherwise.")
        assert len(alive(tmp_path)) == 1


class TestFailure:
    async def test_one_that_ends_at_once_is_told_of_with_its_command_its_code_and_its_last_lines(
        self, tmp_path: Path, opened: Open
    ) -> None:
        session = opened(app_of(MCP("bad", command=plain(tmp_path, "exits")), says=["never"]))
        with pytest.raises(RenderError) as caught:
            await session.send("Go.")
        text = str(caught.value)
        assert "MCP server 'bad' (" in text
        assert "mcp_plain.py" in text
        assert "no configuration found" in text
        assert "exit code 3" in text
        assert "\x1b" not in text
        assert session.status == "idle"

    async def test_a_command_that_is_not_there_is_named(self, opened: Open) -> None:
        session = opened(app_of(MCP("bad", command=["no-such-program-anywhere"]), says=["never"]))
        with pytest.raises(RenderError, match=r"no-such-program-anywhere\) did not start: No such file"):
            await session.send("Go.")

    async def test_one_that_never_answers_is_given_up_and_ended(
        self, tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "PATIENCE", 1.0)
        session = opened(app_of(MCP("mute", command=plain(tmp_path, "mute")), says=["never"]))
        with pytest.raises(RenderError, match="did not answer within 1 seconds"):
            await session.send("Go.")
        await until(lambda: alive(tmp_path) == [])
        assert len(pids(tmp_path)) == 1

    async def test_the_next_message_tries_again(self, tmp_path: Path, opened: Open) -> None:
        script = tmp_path / "server.py"
        session = opened(app_of(MCP("late", command=[sys.executable, str(script)]), says=["there"]))
        with pytest.raises(RenderError, match="did not start"):
            await session.send("Go.")
        script.write_text(
            f"import runpy, sys; sys.argv = {plain(tmp_path)[1:]!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
        )
        assert (await session.send("Again.")).text == "there"

    async def test_stopping_while_it_starts_ends_it(self, tmp_path: Path, opened: Open) -> None:
        session = opened(app_of(MCP("mute", command=plain(tmp_path, "mute")), says=["never"]))
        execution = session.send("Go.")
        await until(lambda: pids(tmp_path) != [])
        execution.abort()
        await execution
        await session.aclose()
        assert alive(tmp_path) == []


class TestEnd:
    async def test_it_ends_with_its_session(self, tmp_path: Path, opened: Open) -> None:
        session = opened(app_of(MCP("plain", command=plain(tmp_path)), says=["ok"]))
        await session.send("Go.")
        assert len(alive(tmp_path)) == 1
        await session.aclose()
        assert alive(tmp_path) == []

    async def test_it_ends_with_its_component(self, tmp_path: Path, opened: Open) -> None:
        @component
        def Agent() -> Any:
            on, _ = use_knob("on", True)
            return on and MCP("plain", command=plain(tmp_path))

        session = opened(app_of(Agent(), says=ScriptedModel("one", "two")))
        await session.send("Go.")
        session.knobs["on"] = False
        result = await session.send("Without.")
        assert result.ticks[0].context.tools == ()
        assert alive(tmp_path) == []

    async def test_one_that_will_not_end_is_killed_with_all_that_it_started(
        self, tmp_path: Path, opened: Open
    ) -> None:
        session = opened(app_of(MCP("stubborn", command=plain(tmp_path, "stubborn")), says=["ok"]))
        await session.send("Go.")
        assert len(alive(tmp_path)) == 2
        await session.aclose()
        await until(lambda: alive(tmp_path) == [])

    def test_it_ends_with_a_kernel_that_is_killed(self, tmp_path: Path) -> None:
        program = tmp_path / "kernel.py"
        program.write_text(
            textwrap.dedent(f"""
            import asyncio
            from nbsession.mcp import MCP
            from tests.support.mcp_sessions import app_of

            async def main():
                session = app_of(MCP("stubborn", command={plain(tmp_path, "stubborn")!r}), says=["ok"]).session()
                await session.send("Go.")
                print("up", flush=True)
                await asyncio.sleep(600)

            asyncio.run(main())
            """)
        )
        surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, str(program)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=surroundings) as kernel:
            assert kernel.stdout is not None
            assert kernel.stdout.readline() == b"up\n"
            assert len(alive(tmp_path)) == 2
            kernel.send_signal(signal.SIGKILL)
        asyncio.run(until(lambda: alive(tmp_path) == []))

    def test_blocking_runs_each_have_it(self, tmp_path: Path) -> None:
        app = app_of(
            MCP("plain", command=plain(tmp_path)),
            says=[call("echo", text="a"), "one", call("echo", text="b"), "two"],
        )
        session = app.session()
        session.run("Go.")
        session.run("Go on.")
        assert [item.text for item in results(session)] == ["a (1)", "b (1)"]
        session.close()
        assert alive(tmp_path) == []


class TestDeath:
    async def test_one_that_dies_in_a_call_fails_the_call_and_is_there_for_the_next(
        self, tmp_path: Path, opened: Open
    ) -> None:
        app = app_of(
            MCP("plain", command=plain(tmp_path)),
            says=[call("die"), call("echo", text="again"), "ok"],
        )
        session = opened(app)
        await session.send("Go.")
        died, again = results(session)
        assert died.is_error
        assert "about to go; exit code 7" in died.text
        assert "it is not known whether it did what the call asks for" in died.text
        assert again.text == "again (1)"
        assert any("exit code 7; it is started again" in note for note in session.notes)
        assert len(pids(tmp_path)) == 2

    async def test_one_that_dies_in_silence_is_started_again(self, tmp_path: Path, opened: Open) -> None:
        session = opened(app_of(MCP("plain", command=plain(tmp_path)), says=["ok"]))
        await session.send("Go.")
        (pid,) = alive(tmp_path)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: len(alive(tmp_path)) == 1 and alive(tmp_path) != [pid])
        assert any("ended by signal 9; it is started again" in note for note in session.notes)

    async def test_one_that_dies_each_time_is_left_in_the_end_and_said(
        self, tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "DELAYS", (0.01, 0.01))
        session = opened(app_of(MCP("crash", command=plain(tmp_path, "crash")), says=["ok"]))
        await session.send("Go.")
        notes: list[str] = []

        def given_up() -> bool:
            notes.extend(session.notes)
            return any("it is not started again before a tool of it is called" in note for note in notes)

        await until(given_up)
        assert len(pids(tmp_path)) == 3
        assert session.status == "idle"


class TestKeeping:
    def app(self, folder: Path, store: Path, *says: Any) -> App:
        return app_of(
            MCP("plain", command=plain(folder)), says=says, store=SqlStore(f"sqlite:///{store / 'kept.db'}")
        )

    async def test_a_session_that_is_opened_again_has_its_tools_before_the_server_starts(
        self, tmp_path: Path, opened: Open
    ) -> None:
        session = opened(self.app(tmp_path, tmp_path, "ok"), "kept")
        await session.send("Go.")
        before = session.compile()
        await session.aclose()
        again = opened(self.app(tmp_path, tmp_path, call("echo", text="x"), "ok"), "kept")
        assert again.compile().hash == before.hash
        assert again.compile().pending == ()
        assert len(pids(tmp_path)) == 1
        await again.send("Go on.")
        assert results(again)[-1].text == "x (1)"
        assert len(pids(tmp_path)) == 2

    async def test_one_whose_server_is_gone_keeps_its_tools_and_their_calls_fail(
        self, tmp_path: Path, opened: Open
    ) -> None:
        command = [sys.executable, str(tmp_path / "server.py")]
        (tmp_path / "server.py").write_text(
            f"import runpy, sys; sys.argv = {plain(tmp_path)[1:]!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
        )
        store = SqlStore(f"sqlite:///{tmp_path / 'kept.db'}")
        first = opened(app_of(MCP("plain", command=command), says=["ok"], store=store), "kept")
        await first.send("Go.")
        await first.aclose()
        (tmp_path / "server.py").unlink()
        says = [call("echo", text="x"), "well"]
        again = opened(app_of(MCP("plain", command=command), says=says, store=store), "kept")
        assert (await again.send("Go on.")).text == "well"
        assert results(again)[-1].is_error
        assert "did not start" in results(again)[-1].text
        assert any("its tools are those of before" in note for note in again.notes)

    async def test_a_fork_has_a_server_of_its_own(self, tmp_path: Path, opened: Open) -> None:
        app = app_of(
            MCP("plain", command=plain(tmp_path)),
            says=[call("echo", text="a"), "one", call("echo", text="b"), "two"],
        )
        session = opened(app)
        await session.send("Go.")
        fork = session.fork()
        assert [tool.name for tool in fork.compile().tools] == ["echo", "die"]
        assert len(pids(tmp_path)) == 1
        await fork.send("Go on.")
        assert results(fork)[-1].text == "b (1)"
        await fork.aclose()
        assert len(alive(tmp_path)) == 1
