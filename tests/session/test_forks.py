"""Forks: from any tick, of what runs, of forks and of restored sessions; and rewound sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, SessionClosedError, SessionError, StoreError
from nbsession.content import ToolCall, ToolResult
from nbsession.stores import MemoryStore, Row, SqlStore
from nbsession.testing import ScriptedModel, call, pause
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def app(path: Path, *responses: Any) -> App:
    return App(Notepad, model=ScriptedModel(*responses), store=SqlStore(f"sqlite:///{path}/s.db"))


def talk(session: Any) -> list[str]:
    return [f"{entry.role}: {entry.text}" for entry in session.timeline]


async def test_a_fork_from_the_middle_of_a_tick_has_it_as_interrupted_and_stays_so(tmp_path: Path) -> None:
    held = pause()
    opened = app(tmp_path, "a", ["x", held, "y"], "z")
    session = opened.session("s")
    await session.send("one")
    running = session.send("two")
    await held.reached
    fork = session.fork(id="fork")
    held.release()
    assert (await running).text == "xy"
    assert (fork.ticks[1].interrupted, session.ticks[1].interrupted) == (True, False)
    assert talk(fork) == ["user: one", "assistant: a", "user: two"]
    assert (await fork.send("go on")).text == "z"
    for each in (session, fork):
        await each.aclose()
    again = app(tmp_path).session("fork")
    assert [tick.interrupted for tick in again.ticks] == [False, True, False]
    assert again.verify() == []
    assert talk(again)[2:] == ["user: two", "user: go on", "assistant: z"]


async def test_a_fork_while_a_tool_runs_answers_its_call_as_interrupted(tmp_path: Path) -> None:
    opened = app(tmp_path, [call("add_note", note="n"), call("add_note", note="m")], "b", "c")
    session = opened.session("s")
    execution = session.send("one")
    async for event in execution:
        if event.type == "tool_start":
            break
    fork = session.fork(id="fork")
    await execution
    await fork.send("go on")
    calls = [block.id for block in fork.timeline[1].content if isinstance(block, ToolCall)]
    results = [block for block in fork.timeline[2].content if isinstance(block, ToolResult)]
    assert [result.call_id for result in results] == calls
    assert {result.status for result in results} == {"interrupted"}
    assert session.state == {"Notepad#1": ["n", "m"]}


async def test_a_tick_that_runs_can_be_forked_before_and_not_yet_after(tmp_path: Path) -> None:
    held = pause()
    session = app(tmp_path, "a", [held]).session("s")
    await session.send("one")
    running = session.send("two")
    await held.reached
    with pytest.raises(
        SessionError, match=r"tick 1 of session 's' has not ended; wait for it, or fork\(at=1"
    ):
        session.fork(at=-1)
    assert session.fork(at=-1, before=True).compile().hash == session.ticks[1].context.hash
    assert talk(session.fork(at=0)) == ["user: one", "assistant: a"]
    held.release()
    await running


async def test_forks_of_forks_of_restored_sessions_compile_to_each_ticks_hash(tmp_path: Path) -> None:
    first = app(tmp_path, [call("add_note", note="n")], "b", [call("add_note", note="m")], "d").session("s")
    await first.send("one")
    first.knobs["tone"] = "terse"
    await first.send("two")
    hashes = [tick.context.hash for tick in first.ticks]
    await first.aclose()
    opened = app(tmp_path, "e")
    second = opened.session("s").fork(at=3, id="second")
    await second.send("three")
    await second.aclose()
    opened = app(tmp_path)
    second = opened.session("second")
    assert [second.fork(at=n, before=True).compile().hash for n in range(4)] == hashes
    third = second.fork(at=1, id="third")
    assert (third.parent, third.forked) == ("second", (1, False))
    assert (third.state, third.knobs["tone"]) == ({"Notepad#1": ["n"]}, "friendly")
    assert [tick.context.hash for tick in third.ticks] == hashes[:2]
    await third.aclose()
    again = app(tmp_path).session("third")
    assert (again.parent, again.forked, again.verify()) == ("second", (1, False), [])
    assert again.fork(at=0, before=True).compile().hash == hashes[0]
    named = [branch[:3] for branch in again.history().branches if not branch.id.startswith("se_")]
    assert named == [("s", None, None), ("second", "s", (3, False)), ("third", "second", (1, False))]


async def test_a_rewound_session_is_rewound_after_a_restart_and_keeps_what_came_before(
    tmp_path: Path,
) -> None:
    replies = [call("add_note", note="n")], "b", [call("add_note", note="m")], "d"
    session = app(tmp_path, *replies).session("s")
    await session.send("one")
    await session.send("two")
    session.rewind(session.timeline[3].id)
    rewound = (session.compile().hash, session.state, talk(session))
    assert rewound[1] == {"Notepad#1": ["n"]}
    await session.aclose()
    again = app(tmp_path, "e").session("s")
    assert (again.compile().hash, again.state, talk(again)) == rewound
    await again.send("another")
    assert (again.ticks[-1].number, again.verify()) == (4, [])
    assert again.fork(at=3).state == {"Notepad#1": ["n", "m"]}
    assert talk(again.fork(at=3))[4] == "user: two"


# What a fork takes in the store


async def test_a_fork_of_a_long_session_takes_a_few_rows_and_its_first_send_few_bytes(tmp_path: Path) -> None:
    opened = app(tmp_path, *["an answer"] * 400)
    assert opened.store is not None
    session = opened.session("s")
    for number in range(300):
        await session.send(f"message {number}")
    forks = [
        session.fork(id="now"),
        session.fork(at=7, id="past"),
        session.fork(at=7, before=True, id="before"),
    ]
    for fork in forks:
        await fork.send("another")
        rows = opened.store.load(fork.id) or []
        assert [row.kind for row in rows[:2]] == ["session", "fork"]
        assert sum(row.kind == "entry" for row in rows) == 2
        assert sum(row.kind == "tick" for row in rows) == 3, "begun, answered, ended"
        assert sum(len(str(row.data)) for row in rows) < 4_000
        await fork.aclose()
    await session.aclose()
    again = app(tmp_path)
    for fork, count in zip(forks, (301, 9, 8), strict=True):
        restored = again.session(fork.id)
        assert talk(restored) == talk(fork)
        assert (len(restored.ticks), restored.verify()) == (count, [])
        assert [tick.context.hash for tick in restored.ticks] == [tick.context.hash for tick in fork.ticks]


async def test_a_fork_has_nothing_of_what_its_parent_does_afterwards(tmp_path: Path) -> None:
    opened = app(tmp_path, [call("add_note", note="n")], "a", [call("add_note", note="later")], "b")
    session = opened.session("s")
    await session.send("one", request_id="r")
    fork = session.fork(id="fork")
    await fork.aclose()
    await session.send("two")
    session.rewind(session.timeline[0].id)
    await session.aclose()
    again = app(tmp_path, "new").session("fork")
    assert again.state == {"Notepad#1": ["n"]}
    assert talk(again) == talk(fork)
    assert len(again.timeline.all()) == 4
    assert (await again.send("one", request_id="r")).text == "new", "requests are a session's own"


async def test_a_fork_is_whole_whatever_becomes_of_what_its_parent_had_not_stored(tmp_path: Path) -> None:
    class Failing(MemoryStore):
        def append(self, session: str, rows: Sequence[Row], *texts: Any, **options: Any) -> int:
            if session == "s" and any(row.data.get("role") == "tool" for row in rows):
                raise StoreError("the disk is full; make room")
            return super().append(session, rows, *texts, **options)

    store = Failing()
    opened = App(Notepad, model=ScriptedModel("a", [call("add_note", note="n")], "b", "c"), store=store)
    session = opened.session("s")
    await session.send("one")
    with pytest.raises(StoreError, match="disk is full"):
        await session.send("two")
    fork = session.fork(id="fork")
    assert (await fork.send("three")).text == "b"
    second = fork.fork(id="second")
    await second.aclose()
    await fork.aclose()
    other = App(Notepad, model=ScriptedModel(), store=store)
    for live in (fork, second):
        restored = other.session(live.id)
        assert talk(restored) == talk(live)
        assert (restored.verify(), restored.state) == ([], {"Notepad#1": ["n"]})


async def test_forks_of_forks_that_nothing_was_stored_of_yet_are_stored(tmp_path: Path) -> None:
    opened = app(tmp_path, "a", "b", "c")
    session = opened.session("s")
    await session.send("one")
    first = session.fork(id="first")
    second = first.fork(id="second")
    third = second.fork(at=0, before=True, id="third")
    await second.send("two")
    await third.send("three")
    for each in (first, second, third, session):
        await each.aclose()
    again = app(tmp_path)
    assert talk(again.session("second")) == ["user: one", "assistant: a", "user: two", "assistant: b"]
    assert talk(again.session("third")) == ["user: one", "user: three", "assistant: c"]
    assert [again.session(each).verify() for each in ("first", "second", "third")] == [[], [], []]
    assert [branch.parent for branch in again.session("third").history().branches] == [
        None,
        "s",
        "first",
        "second",
    ]


async def test_what_another_process_holds_can_be_forked_meanwhile(tmp_path: Path) -> None:
    held = pause()
    session = app(tmp_path, "a", ["x", held, "y"]).session("s")
    await session.send("one")
    running = session.send("two")
    await held.reached
    other = app(tmp_path, "z")  # as another process opens it
    fork = other.session("s").fork(id="fork")
    assert (await fork.send("three")).text == "z"
    held.release()
    assert (await running).text == "xy"
    await fork.aclose()
    await session.aclose()
    again = app(tmp_path).session("fork")
    assert talk(again) == talk(fork)
    assert [tick.interrupted for tick in again.ticks] == [False, True, False]
    assert again.verify() == []


async def test_a_branch_that_is_nowhere_stored_is_copied_when_it_is_forked(tmp_path: Path) -> None:
    opened = app(tmp_path, "a", "b", "c")
    session = opened.session("s")
    await session.send("one")
    branch = session.branch()
    await branch.send("two")
    fork = branch.fork(id="fork")
    await fork.send("three")
    await fork.aclose()
    again = app(tmp_path).session("fork")
    assert (talk(again), again.verify()) == (talk(fork), [])


async def test_no_store_takes_a_fork_without_the_past_that_it_shares(tmp_path: Path) -> None:
    store = MemoryStore()
    opened = App(Notepad, model=ScriptedModel("a"), store=store)
    session = opened.session("s")
    await session.send("one")
    await session.fork(id="fork").aclose()
    with pytest.raises(SessionClosedError, match=r"'fork' shares the first \d+ rows of 's', which has 0"):
        MemoryStore().append("fork", store.load("fork") or [], revision=0)


async def test_a_fork_from_what_is_no_tick_is_refused(tmp_path: Path) -> None:
    session = app(tmp_path, "a").session("s")
    await session.send("one")
    with pytest.raises(SessionError, match=r"there is no tick 1; session 's' has 1 tick$"):
        session.fork(at=1)
    with pytest.raises(SessionError, match="a tick is named by its number, such as at=0, got <Tick 0"):
        session.fork(at=session.ticks[0])  # type: ignore[arg-type]
    with pytest.raises(SessionError, match="a tick is named by its number, got '0'"):
        session.fork(at="0")  # type: ignore[arg-type]  # what a form gives
    with pytest.raises(SessionError, match=r"fork\(before=True\) needs a tick"):
        session.fork(before=True)
