"""The nbsession command, run as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nbsession.cli.demo import _copy

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NOTEBOOK = "01-see-what-the-model-saw.ipynb"
COMMAND = [sys.executable, "-c", "from nbsession.cli import main; raise SystemExit(main())"]


def nbsession(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def test_the_version_is_printed(tmp_path: Path) -> None:
    assert nbsession("--version", cwd=tmp_path).stdout.startswith("nbsession 0.")


def test_a_wrong_option_is_answered_with_the_usage_and_no_traceback(tmp_path: Path) -> None:
    done = nbsession("demo", "--chekc", cwd=tmp_path)
    assert done.returncode == 2
    assert "usage: nbsession" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_made_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = nbsession("demo", "file/inside", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip() == "nbsession: Not a directory: file/inside"


def test_the_copies_are_of_all_notebooks_and_leave_alone_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "02-change-one-thing.ipynb").write_text("mine")
    _copy(ROOT / "notebooks", tmp_path)
    names = [path.relative_to(ROOT / "notebooks") for path in (ROOT / "notebooks").rglob("*.ipynb")]
    assert len(names) >= 10
    assert [name for name in names if not (tmp_path / name).is_file()] == []
    assert (tmp_path / "02-change-one-thing.ipynb").read_text() == "mine"


def test_check_prints_what_each_session_cell_showed(tmp_path: Path) -> None:
    done = nbsession("demo", "--check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    source = json.loads((ROOT / "notebooks" / NOTEBOOK).read_text("utf-8"))
    cells = ["".join(cell["source"]) for cell in source["cells"]]
    sessions = [cell for cell in cells if cell.startswith("%%session")]
    assert len(sessions) >= 4
    for cell in sessions:
        assert cell in done.stdout
    assert done.stdout.count("simulated") >= len(sessions)
    assert "add_note" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def demo(tmp_path: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    jupyter = {
        f"JUPYTER_{kind}_DIR": str(tmp_path / "jupyter" / kind) for kind in ("CONFIG", "DATA", "RUNTIME")
    }
    options = [
        "--no-browser",
        f"--port={port}",
        "--",
        "--IdentityProvider.token=",
        "--ServerApp.ip=127.0.0.1",
    ]
    with (tmp_path / "demo.log").open("w") as log:
        server = subprocess.Popen(
            [*COMMAND, "demo", "here", *options],
            cwd=tmp_path,
            env={**os.environ, **jupyter},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    yield server  # type: ignore[misc]  # the text mode has no bearing on a process without pipes
    os.killpg(server.pid, signal.SIGTERM)
    server.wait(20)


def answer(url: str, server: subprocess.Popen[str], log: Path) -> Any:
    """Ask until the server is up, and return its JSON answer."""
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return json.load(response)
        except OSError:
            assert server.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < until, log.read_text("utf-8")


def test_demo_opens_a_copy_of_the_first_notebook(
    demo: subprocess.Popen[str], port: int, tmp_path: Path
) -> None:
    log = tmp_path / "demo.log"
    shown = answer(f"http://127.0.0.1:{port}/api/contents/{NOTEBOOK}?type=notebook", demo, log)
    assert shown["content"]["cells"]
    assert f"/lab/tree/{NOTEBOOK}" in log.read_text("utf-8")
    assert (tmp_path / "here" / NOTEBOOK).read_bytes() == (ROOT / "notebooks" / NOTEBOOK).read_bytes()
    brought = {
        path.relative_to(tmp_path / "here").as_posix() for path in (tmp_path / "here").rglob("*.ipynb")
    }
    assert brought == {
        path.relative_to(ROOT / "notebooks").as_posix() for path in (ROOT / "notebooks").rglob("*.ipynb")
    }
    said = log.read_text("utf-8")
    assert "the lessons and more, to here" in said
    assert "Ctrl+C here ends it" in said
