"""Work beside the caller's: in threads, and in one thread where no other can be started."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nbsession import threads
from nbsession.errors import SessionBusyError, SessionError
from nbsession.notebook.loop import Engine
from nbsession.record import lease
from nbsession.stores import SqlStore

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
PYODIDE = Path(sys.prefix) / "pyodide"
IN_PYODIDE = "import tests.support.one_thread as t; await t.main('/tmp', shown=False)"


def run(command: Sequence[str | Path]) -> str:
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
    return ended.stdout


def test_sessions_and_magics_work_where_no_thread_can_be_started(tmp_path: Path) -> None:
    assert "one thread was enough" in run([sys.executable, "-m", "tests.support.one_thread", tmp_path])


def test_sessions_work_in_a_browsers_python() -> None:
    node = shutil.which("node")
    assert node is not None, "no Node.js to run Pyodide; install nodejs and npm"
    assert (PYODIDE / "installed").is_file(), "Pyodide is missing: run sh tests/support/pyodide/install.sh"
    script = ROOT / "tests" / "support" / "pyodide" / "run.mjs"
    assert "one thread was enough" in run([node, script, PYODIDE, ROOT, IN_PYODIDE])


async def test_what_blocks_runs_beside_the_caller() -> None:
    assert threads.can_start()
    assert await threads.beside(threading.get_ident) != threading.get_ident()
    assert threads.each(str, range(3)) == ["0", "1", "2"]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "can_start", lambda: False)


async def test_alone_what_blocks_runs_in_the_callers_thread(alone: None) -> None:
    assert await threads.beside(threading.get_ident) == threading.get_ident()
    assert threads.each(lambda _: threading.get_ident(), range(2)) == [threading.get_ident()] * 2


async def test_alone_the_engine_runs_on_the_loop_of_the_cells(alone: None) -> None:
    engine = Engine()

    async def work() -> int:
        return threading.get_ident()

    assert await engine.submit(work()) == threading.get_ident()
    assert engine.is_the_cells
    engine.stop()


def test_alone_without_a_loop_the_engine_says_what_to_do(alone: None) -> None:
    with pytest.raises(SessionError, match="no event loop is running; put this in a cell, or in an async"):
        _ = Engine().loop


def test_alone_a_lease_is_renewed_on_the_way_to_a_write(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'sessions.db'}")
    held = lease.Lease(store, "s")
    monkeypatch.setattr(lease, "SECONDS", 0.2)
    token = held.hold(0)
    over = time.time() + 0.2
    monkeypatch.setattr(lease, "SECONDS", 60)
    monkeypatch.setattr(lease, "HEARTBEAT", 0)
    assert held.hold(0) == token
    while time.time() <= over:
        pass
    with pytest.raises(SessionBusyError):
        store.acquire("s", "another", 1)
    held.release()
    store.close()
