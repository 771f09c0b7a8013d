"""One process writes a session; another is told who does, before any model is called."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nbsession import (
    App,
    SessionBusyError,
    Timeline,
    component,
    use_data,
    use_effect,
    use_on_execution_end,
    use_on_mount,
)
from nbsession.record import lease as leases
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel
from tests.support.crashing import app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


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
        assert here.store is not None
        opened_at = here.store.revision("crash")
        assert [entry.text for entry in session.timeline][:1] == ["talk"]
        with pytest.raises(SessionBusyError, match=f"held by process {pid} on"):
            await session.send("me too")
        assert here.model.contexts == []
        reader = app(url, rate=0).session("crash")
        assert (reader.verify(), len(reader.compile().messages)) == ([], 1)
        await reader.aclose()
        while here.store.revision("crash") == opened_at:
            pass
    again = here.session("crash")
    assert again is not session, "the other one has written since"
    assert [entry.text for entry in session.timeline][-1] == "me too"
    assert (await again.send("now it is mine")).text
    kept = session.fork(id="kept")
    assert [entry.text for entry in kept.timeline][-1] == "me too"
    with pytest.raises(SessionBusyError, match="fork what is in memory here under a new id"):
        await session.aclose()
    await again.aclose()


async def test_what_another_process_runs_is_shown_as_it_stands_and_left_to_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    here = app(url, rate=0)
    with talking(url) as pid:
        session = here.session("crash")
        running = session.ticks[-1]
        assert (running.ended, running.interrupted) == (None, False)
        assert running.reason.startswith(f"process {pid} on ")
        assert [note for note in session.notes if f"process {pid} on " in note]
        assert [entry.status for entry in session.timeline] == ["complete"]
        assert here.session("crash") is session
        reading = session.subscribe()
        types = [(await anext(reading)).type for _ in range(3)]
        assert types == ["execution_start", "entry_committed", "tick_start"]
        await reading.aclose()
    # It was killed without another word: what is here is not taken for what it left.
    with pytest.raises(SessionBusyError, match="open it again"):
        await session.send("me too")
    again = here.session("crash")
    assert again is not session
    assert (again.ticks[-1].interrupted, again.ticks[-1].reason) == (True, "the process ended while it ran")
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


async def test_nothing_of_the_tree_runs_in_a_process_that_may_not_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    ran: list[str] = []

    @component
    def Agent() -> object:
        use_effect(lambda: ran.append("effect"), ())
        use_on_mount(lambda: ran.append("mount"))
        use_on_execution_end(lambda: ran.append("end"))
        use_data("data", lambda: ran.append("fetch"))
        return Timeline()

    with talking(url):
        here = App(
            Agent, model=ScriptedModel(), store=SqlStore(url), policies=[lambda _: ran.append("policy")]
        )
        with pytest.raises(SessionBusyError):
            await here.session("crash").send("me too")
    assert ran == []


async def test_who_was_taken_over_and_nothing_was_written_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "SECONDS", 0.0)
    url = f"sqlite:///{tmp_path}/sessions.db"
    old = app(url, rate=0).session("s")
    await old.send("first")
    store = SqlStore(url)
    store.release("s", store.acquire("s", "process 1 on elsewhere", 60))
    with pytest.raises(SessionBusyError, match="was acquired by another and released"):
        await old.send("second")
    assert not old.superseded
    assert (await old.send("third")).text
    assert [entry.text for entry in app(url).session("s").timeline if entry.role == "user"][1:] == [
        "second",
        "third",
    ]
    await old.aclose()
