"""The blocking client: the same surface, for a program without a loop."""

from __future__ import annotations

import signal
import sys
import threading
import traceback

import pytest

from nbsession import SessionError
from nbsession.client import Client
from nbsession.events import Done, TextDelta
from nbsession.testing import call, pause
from tests.client.conftest import TOKEN, blocking, serving
from tests.server.conftest import notepad


def test_a_program_without_a_loop_sends_reads_and_sets() -> None:
    app = notepad([call("add_note", note="a")], "done", "again", "more")
    with blocking(app) as client:
        session = client.create("s", metadata={"of": "me"})
        result = session.run("hi")
        assert (result.text, len(result.ticks)) == ("done", 2)
        assert (session.status, session.metadata, len(session.timeline)) == ("idle", {"of": "me"}, 4)
        session.knobs["tone"] = "terse"
        assert (session.knobs["tone"], list(session.knobs), len(session.ticks)) == ("terse", ["tone"], 2)
        assert session.tick(1).context.hash == app.opened["s"].ticks[1].context.hash
        fork = session.fork(0)
        assert fork.run("from there").text == "again"
        assert session.usage == app.opened["s"].usage.total
        assert session.compile("x").hash == app.opened["s"].compile("x").hash
        assert {entry.id for entry in client.sessions()} >= {"s"}
        fork.delete()
        session.delete()


def test_iterating_an_execution_gives_its_events_as_they_come() -> None:
    held = pause()
    with blocking(notepad(["one ", held, "two"])) as client:
        said = ""
        for event in client.create("s").send("hi"):
            if isinstance(event, TextDelta):
                said += event.text
                if said == "one ":
                    held.release()
        assert said == "one two"


def test_a_reader_may_leave_before_the_end() -> None:
    held = pause()
    with blocking(notepad(["one ", held, "two"])) as client:
        session = client.create("s")
        execution = session.send("hi")
        for event in execution:
            if isinstance(event, TextDelta):
                break
        for event in session.subscribe():
            if isinstance(event, TextDelta):
                break
        held.release()
        assert execution.result.text == "one two"
        assert [event for event in execution][-1].type == Done.type  # noqa: C416


def test_an_interrupt_ends_the_wait_and_not_what_runs_and_says_so() -> None:
    held = pause()
    with blocking(notepad(["one ", held, "two"])) as client:
        execution = client.create("s").send("hi")

        main = threading.main_thread().ident

        def waits() -> bool:
            frames = traceback.extract_stack(sys._current_frames()[main or 0])
            return any(frame.name == "result" for frame in frames) and frames[-1].name == "wait"

        def interrupt() -> None:
            while not waits():
                pass
            signal.raise_signal(signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt) as caught:
            _ = execution.result
        assert "goes on at the server" in caught.value.__notes__[0]
        held.release()
        assert execution.result.text == "one two"


def test_a_client_that_was_closed_says_so() -> None:
    with serving(notepad("one")) as server:
        client = Client(server.url, token=TOKEN)
        session = client.create("s")
        client.close()
        with pytest.raises(SessionError, match="was closed"):
            session.run("hi")


def test_several_threads_use_one_client_at_once() -> None:
    with blocking(notepad(*["word"] * 8)) as client:
        said: list[str] = []
        threads = [
            threading.Thread(target=lambda n=n: said.append(client.create(f"s{n}").run("hi").text))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert said == ["word"] * 8
