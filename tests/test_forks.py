"""Forks: from any tick, of what runs, of forks and of restored sessions; and rewound sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nbsession import App, SessionError
from nbsession.content import ToolCall, ToolResult
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call, pause
from tests.support.notepad import Notepad


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
