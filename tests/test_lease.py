"""One process writes a session; another is told who does, before any model is called."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from nbsession import SessionBusyError
from tests.support.crashing import app

ROOT = Path(__file__).parent.parent


@contextmanager
def talking(url: str) -> Iterator[int]:
    """Let another process be in the middle of an answer, and give its process id; kill it at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.crashing", url, "slow"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("text"):
            pass
        yield process.pid
        process.send_signal(signal.SIGKILL)


async def test_a_second_process_is_told_who_holds_the_session_and_may_read_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    here = app(url, rate=0)
    with talking(url) as pid:
        session = here.session("crash")
        assert [entry.text for entry in session.timeline][:1] == ["talk"]
        with pytest.raises(SessionBusyError, match=f"held by process {pid} on"):
            await session.send("me too")
        assert here.model.contexts == []
    with suppress(SessionBusyError):  # what it could not store is refused where the other wrote since
        await session.aclose()
    again = here.session("crash")
    assert (await again.send("now it is mine")).text
    await again.aclose()


async def test_what_an_old_owner_writes_late_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    old, new = app(url, rate=0).session("s"), app(url, rate=0).session("s")
    await old.send("first")
    with pytest.raises(SessionBusyError):
        await new.send("behind the back of the first")
    again = app(url, rate=0).session("s")
    await again.send("taken over by a second session of this process")
    with pytest.raises(SessionBusyError, match="again"):
        await old.send("late")
    assert [entry.text for entry in app(url).session("s").timeline if entry.role == "user"] == [
        "first",
        "taken over by a second session of this process",
    ]
