"""Commands: what they give, what they may see, and that all they start ends with them."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nbsession.workdir import process
from nbsession.workdir.surroundings import without_keys
from tests.support.work import Work, until

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    except OSError:
        os.kill(pid, 0)
        return True
    return state != "Z"


def descriptors() -> int:
    """Count what this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


@pytest.fixture
def pids(work: Work) -> Iterator[Any]:
    """The process ids that a command wrote to a file, once they are there."""
    found: list[int] = []

    def read(count: int) -> list[int]:
        file = work.path / "pids"
        found[:] = map(int, file.read_text().split())
        assert len(found) == count
        return found

    yield read
    for pid in found:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


class TestResult:
    async def test_output_errors_and_the_exit_code_come_in_order(self, work: Work) -> None:
        assert await work.text("shell", command="echo out; echo err >&2; echo out again; exit 3") == (
            "out\nerr\nout again\n(exit code 3)"
        )
        assert await work.text("shell", command="true") == "(no output; exit code 0)"
        assert await work.text("shell", command="kill -9 $$") == "(no output; ended by SIGKILL)"
        assert "command not found" in await work.text("shell", command="no-such-command")

    async def test_it_runs_in_the_folder_and_begins_anew_each_time(self, work: Work) -> None:
        work.write("sub/a.txt", "")
        assert await work.text("shell", command="cd sub && X=1 && ls") == "a.txt\n(exit code 0)"
        assert await work.text("shell", command='echo "$PWD $X"') == f"{work.path.resolve()} \n(exit code 0)"

    async def test_there_is_nothing_to_read_and_no_terminal_to_ask_at(self, work: Work) -> None:
        assert await work.text("shell", command="cat; read x || echo no input") == "no input\n(exit code 0)"
        assert "no terminal" in await work.text("shell", command="cat < /dev/tty || echo no terminal")

    async def test_of_a_long_output_the_beginning_and_the_end_are_kept(self, work: Work) -> None:
        text = await work.text("shell", command="seq 1 100000")
        assert len(text) < 25_000
        assert text.startswith("1\n2\n3\n")
        assert text.endswith("99999\n100000\n(exit code 0)")
        assert re.search(r"\n… \[564,895 of 588,895 bytes left out; write the output to a file", text)

    async def test_bytes_that_are_no_text_are_marked(self, work: Work) -> None:
        text = await work.text("shell", command=r"printf 'na\xefve \x00 \xe2\x9c\x93'")
        assert text == "na\N{REPLACEMENT CHARACTER}ve \N{REPLACEMENT CHARACTER} ✓\n(exit code 0)"

    async def test_it_has_a_session_of_its_own_apart_from_the_notebooks_terminal(self, work: Work) -> None:
        command = f"'{sys.executable}' -c 'import os; print(os.getsid(0))'"
        assert (await work.text("shell", command=command)).split()[0] != str(os.getsid(0))

    async def test_progress_is_told_while_it_runs_and_never_much_of_it(self, work: Work) -> None:
        await work.text(
            "shell",
            command="echo one; until [ -e go ]; do sleep 0.05; [ $((i++)) -gt 8 ] && touch go; done; seq 1 30000",
        )
        assert work.told[0] == "one\n"
        assert all(len(told) <= 2_000 for told in work.told)

    @pytest.mark.parametrize("timeout", [0, -1, 601, 10**9])
    async def test_a_timeout_is_within_bounds(self, work: Work, timeout: int) -> None:
        assert "timeout is 1 to 600 seconds" in await work.fault("shell", command="true", timeout=timeout)

    @pytest.mark.parametrize("command", ["a\0b", "echo \ud800", "echo " + "x" * 3_000_000])
    async def test_what_cannot_be_a_command_is_said(self, work: Work, command: str) -> None:
        assert "could not be started" in await work.fault("shell", command=command)

    async def test_sh_stands_in_for_bash(self, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "which", lambda _: None)
        assert await work.text("shell", command="echo $0") == "/bin/sh\n(exit code 0)"

    async def test_a_folder_that_is_gone_is_said(self, work: Work) -> None:
        work.path.rmdir()
        assert "No such file or directory" in await work.fault("shell", command="true")


class TestEnd:
    async def test_what_holds_the_output_open_in_the_background_is_not_waited_for_but_ended(
        self, work: Work, pids: Any
    ) -> None:
        started = time.monotonic()
        text = await work.text("shell", command="sleep 1000 & echo $! > pids; echo done")
        assert text == "done\n(exit code 0; what it left running in the background was stopped)"
        assert time.monotonic() - started < 20
        (pid,) = pids(1)
        await until(lambda: not is_alive(pid))

    async def test_a_timeout_ends_the_whole_group_and_keeps_what_was_said(
        self, work: Work, pids: Any
    ) -> None:
        fault = await work.fault(
            "shell", command="echo begun; sleep 1000 & echo $! $$ > pids; (sleep 1000; true) | cat", timeout=1
        )
        assert fault == "begun\n(stopped after 1 s, with all that it had started)"
        for pid in pids(2):
            await until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]  # mypy sees no default

    async def test_what_does_not_end_when_asked_is_killed(
        self, work: Work, pids: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(process, "GRACE", 0.3)
        await work.fault(
            "shell", command="trap '' TERM; echo $$ > pids; while true; do sleep 0.1; done", timeout=1
        )
        (pid,) = pids(1)
        assert not is_alive(pid)

    async def test_what_is_asked_may_clean_up(self, work: Work) -> None:
        await work.fault("shell", command="trap 'echo bye > bye; exit' TERM; sleep 1000 & wait", timeout=1)
        assert (work.path / "bye").read_text() == "bye\n"

    async def test_a_flood_ends_in_time(self, work: Work) -> None:
        fault = await work.fault("shell", command="yes", timeout=1)
        assert fault.endswith("(stopped after 1 s, with all that it had started)")

    async def test_a_command_that_closes_its_output_is_waited_for(self, work: Work) -> None:
        assert (
            await work.text("shell", command="exec >&- 2>&-; sleep 0.3; touch done; exit 4")
            == "(no output; exit code 4)"
        )
        assert (work.path / "done").exists()

    async def test_a_process_that_leaves_the_group_and_floods_does_not_hold_the_call(
        self, work: Work, pids: Any
    ) -> None:
        text = await work.text("shell", command="setsid yes & echo $! > pids; sleep 0.2")
        assert "exit code 0" in text
        for pid in pids(1):
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)

    async def test_no_descriptor_stays_open(self, work: Work) -> None:
        await work.text("shell", command="true")
        before = descriptors()
        for _ in range(5):
            await work.text("shell", command="sleep 100 & true")
            await work.text("grep", pattern="x")
            await work.text("list_files")
            await work.fault("read_file", path="nothing/there")
        assert descriptors() == before

    async def test_the_end_of_the_interpreter_ends_what_runs(self, work: Work, pids: Any) -> None:
        program = (
            "import os, sys, threading\n"
            "from nbsession.workdir.process import CommandGroup\n"
            "from pathlib import Path\n"
            "group = CommandGroup('echo $$ > pids; sleep 1000', Path(sys.argv[1]), dict(os.environ))\n"
            "reader = threading.Thread(target=lambda: list(group.output(1e12)), daemon=True)\n"
            "reader.start()\n"
            "while not Path(sys.argv[1], 'pids').exists(): reader.join(0.01)\n"
        )
        command = [sys.executable, "-W", "ignore", "-c", program, str(work.path)]
        assert await asyncio.to_thread(subprocess.call, command, timeout=60) == 0
        for pid in pids(1):
            await until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]  # as above


class TestEnvironment:
    def test_what_is_likely_a_secret_is_taken_out_by_name(self) -> None:
        secret = [
            "ANTHROPIC_API_KEY",
            "OPENAI_API_KEY",
            "ANTHROPIC_AUTH_TOKEN",
            "HF_TOKEN",
            "GITHUB_TOKEN",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "PGPASSWORD",
            "MYSQL_PWD",
            "my_secret",
            "JPY_API_TOKEN",
            "SSH_KEYS",
            "APIKEY",
            "DB_PASSWD",
            "GPG_PASSPHRASE",
        ]
        plain = [
            "PATH",
            "HOME",
            "LANG",
            "PWD",
            "OLDPWD",
            "TERM",
            "KEYBOARD",
            "TOKENIZERS_PARALLELISM",
            "SECRETARY",
            "VIRTUAL_ENV",
        ]
        assert sorted(without_keys(dict.fromkeys([*secret, *plain], "x"))) == sorted(plain)

    def test_and_by_a_password_in_a_url(self) -> None:
        values = {
            "STORE": "postgresql+psycopg://me:pass@host/db",
            "SITE": "https://example.org:80/a@b",
            "USER_AT": "ssh://git@host",
        }
        assert sorted(without_keys(values)) == ["SITE", "USER_AT"]

    async def test_a_command_sees_no_key_but_those_that_were_given_to_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-one")
        monkeypatch.setenv("GITHUB_TOKEN", "gh-two")
        monkeypatch.setenv("PLAIN", "three")
        work = Work(tmp_path, env={"GITHUB_TOKEN": "gh-four"})
        assert (
            await work.text("shell", command='echo "$ANTHROPIC_API_KEY,$GITHUB_TOKEN,$PLAIN"')
            == ",gh-four,three\n(exit code 0)"
        )
