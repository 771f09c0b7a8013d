"""``nbsession serve`` as it is used: started in a shell, asked by curl, killed and started again."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.server.conftest import events_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


MAIN = "import sys; from nbsession.cli import main; sys.exit(main())"


class Started:
    """A server in a process of its own, and what it said."""

    def __init__(self, process: subprocess.Popen[str], said: list[str]) -> None:
        self.process = process
        self.said = said
        self.url = re.findall(r"http://\S+", said[0])[0]
        self.lines = [line for line in said if line.startswith("curl ")]

    @property
    def token(self) -> str:
        return next(line.rpartition(" ")[2] for line in self.said if "token" in line)

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, **options)


@contextmanager
def started(folder: Path, *arguments: str, end: int = signal.SIGTERM) -> Iterator[Started]:
    """Start a server in a folder, with a store there, and end it by a signal."""
    environment = {
        **os.environ,
        "NBSESSION_STORE": f"sqlite:///{folder / 'sessions.db'}",
        "NBSESSION_MODEL": "simulated",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-c", MAIN, "serve", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line.rstrip())
        if line.startswith("curl -N"):
            break
    try:
        yield Started(process, said)
    finally:
        if process.poll() is None:
            process.send_signal(end)
        process.communicate(timeout=30)


def curl(line: str) -> str:
    """Run a line word for word, as a shell would."""
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "no_proxy": "*"},
    )
    return done.stdout


@pytest.mark.parametrize("arguments", [("--no-token",), ()])
def test_the_lines_that_are_printed_work_as_they_stand(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "notes.txt").write_text("tea")
    with started(tmp_path, *arguments) as server:
        assert "simulated" in server.said[1]
        create, message, stream = server.lines
        assert ("Bearer" in create) == (arguments == ())
        made = json.loads(curl(create))
        assert made["work_dir"] == str(tmp_path.resolve())
        answered = json.loads(curl(message.replace("What files are here?", "hello")))
        assert set(answered) >= {"response", "tool_calls", "usage", "steps"}
        assert answered["response"]
        streamed = curl(stream)
        assert "event: text_delta\n" in streamed
        *_, event, data, _, _ = streamed.split("\n")
        assert event == "event: done"
        assert json.loads(data.removeprefix("data: "))["steps"] >= 1


def test_without_its_token_a_server_says_nothing(tmp_path: Path) -> None:
    with started(tmp_path) as server, server.client() as client:
        assert client.get("/health").json()["status"] == "ok"
        assert client.get("/agents").status_code == 401
        headers = {"authorization": f"Bearer {server.token}"}
        assert client.get("/agents", headers=headers).status_code == 200
        assert server.process.poll() is None


def test_a_token_that_was_given_is_not_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBSESSION_TOKEN", "a-token-of-my-own")
    with started(tmp_path) as server, server.client() as client:
        assert "a-token-of-my-own" not in "\n".join(server.said)
        assert client.get("/agents", headers={"authorization": "Bearer a-token-of-my-own"}).status_code == 200
        assert json.loads(curl(server.lines[0]))["id"]


def test_the_folder_of_a_session_comes_back_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    with started(tmp_path, "--no-token", "--work-root", str(tmp_path)) as server, server.client() as client:
        client.post("/sessions", json={"id": "s", "work_dir": "project"}).raise_for_status()
        before = client.get("/sessions/s/context").json()
        outside = client.post("/sessions", json={"work_dir": "/etc"})
        assert outside.status_code == 403
        for wrong in ("../..", "project/../../..", "no-such", "pro\0ject"):
            assert client.post("/sessions", json={"work_dir": wrong}).status_code in (403, 422)
    with started(tmp_path, "--no-token", "--work-root", str(tmp_path)) as server, server.client() as client:
        assert client.get("/sessions/s").json()["work_dir"] == str(tmp_path / "project")
        after = client.get("/sessions/s/context").json()
    (tmp_path / "other").mkdir()
    with (
        started(tmp_path, "--no-token", "--work-root", str(tmp_path / "other")) as server,
        server.client() as client,
    ):
        elsewhere = client.get("/sessions/s")
        assert (elsewhere.status_code, elsewhere.json()["error"]["code"]) == (403, "work_dir")
    assert {"read_file", "shell"} <= {tool["name"] for tool in before["tools"]}
    assert after["hash"] == before["hash"]


def test_a_server_that_was_killed_lost_no_event_that_somebody_had(tmp_path: Path) -> None:
    seen: list[int] = []
    for time in range(3):
        with started(tmp_path, "--no-token", end=signal.SIGKILL) as server, server.client() as client:
            if time == 0:
                client.post("/sessions", json={"id": "s"}).raise_for_status()
            stored = client.get("/sessions/s/events/history", params={"limit": 1000}).json()["events"]
            numbers = [event["sequence"] for event in stored if "offset" not in event]
            assert numbers == list(range(1, len(numbers) + 1))
            assert set(seen) <= set(numbers)
            with client.stream("POST", "/sessions/s/message/stream", json={"message": "hello"}) as answer:
                for frame, event in events_of(answer):
                    if frame.id is not None:
                        seen.append(frame.id)
                    if event.type == ("text_delta" if time else "content_block_stop"):
                        server.process.send_signal(signal.SIGKILL)
                        break
    with started(tmp_path, "--no-token") as server, server.client() as client:
        answer = client.post("/sessions/s/message", json={"message": "hello again"})
        assert answer.status_code == 200


def test_an_interrupt_ends_it_in_order(tmp_path: Path) -> None:
    with started(tmp_path, "--no-token", end=signal.SIGINT) as server, server.client() as client:
        client.post("/sessions", json={"id": "s"}).raise_for_status()
    assert server.process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--no-token", "--host", "0.0.0.0"), "for this machine only"),
        (("nowhere:app",), "no module 'nowhere'"),
        (("--work-root", "no-such-folder"), "is no folder"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    command = [sys.executable, "-c", MAIN, "serve", "--port", "0", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_shell_words_of_a_folder_with_a_quote_in_its_name_stay_one_word(tmp_path: Path) -> None:
    folder = tmp_path / "it's"
    folder.mkdir()
    with started(folder, "--no-token") as server:
        assert json.loads(shlex.split(server.lines[0])[-1])["work_dir"] == str(folder.resolve())
        assert json.loads(curl(server.lines[0]))["work_dir"] == str(folder.resolve())


@pytest.mark.parametrize("package", ["starlette", "sse_starlette", "uvicorn"])
def test_without_what_it_takes_to_serve_the_command_says_what_to_install(
    tmp_path: Path, package: str
) -> None:
    without = f"import sys; sys.modules[{package!r}] = None; "
    for program in (
        without + MAIN.removeprefix("import sys; "),
        without + "from nbsession import App, Timeline; App(Timeline()).serve()",
    ):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program, "serve"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert 'pip install "nbsession[server]"' in done.stderr
