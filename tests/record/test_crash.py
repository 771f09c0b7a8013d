"""A session survives the death of its process at any moment."""

# ruff: noqa: T201  # the seed, and what came of it

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nbsession.content import ToolCall, ToolResult
from nbsession.errors import SessionError
from nbsession.events import Event, TickContext, TickEnd, ToolEnd, ToolStart
from tests.support.crashing import app

if TYPE_CHECKING:
    from nbsession import Session

KILLS = int(os.environ.get("NBSESSION_KILLS", "30"))
SEED = int(os.environ.get("NBSESSION_SEED", "20"))


def killed_after(url: str, seconds: float, pace: str = "fast") -> list[str]:
    """Run the program, kill it so long after it was ready, and return what it had said."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.crashing", url, pace],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        killer = threading.Timer(seconds, process.send_signal, [signal.SIGKILL])
        killer.start()
        said = process.stdout.read().splitlines()
        killer.join()
    return said


async def events_of(session: Session, after: int | None = None) -> list[Event]:
    """Read what there is of a session's events."""
    events = []
    async for event in session.subscribe(after):
        events.append(event)
        if event.durable and event.sequence == session._core.feed.sequence:
            break
    return events


def assert_told(events: list[Event], session: Session) -> None:
    """Check that events have no gap and no duplicate, and that what was begun has an end, also where it was cut."""
    durable = [event for event in events if event.durable]
    assert [event.sequence for event in durable] == list(range(1, len(durable) + 1))
    kinds = [event.type for event in durable]
    executions = [kind for kind in kinds if kind in ("execution_start", "execution_end", "done")]
    assert executions == ["execution_start", "execution_end", "done"] * (len(executions) // 3)
    begun = [event.tick for event in durable if isinstance(event, TickContext)]
    ended = [event.tick for event in durable if isinstance(event, TickEnd)]
    assert begun == sorted(set(begun))
    assert set(begun) <= set(ended) == {tick.number for tick in session.ticks}
    started = [event.call.id for event in durable if isinstance(event, ToolStart)]
    answered = [event.result.call_id for event in durable if isinstance(event, ToolEnd)]
    assert set(started) <= set(answered)


def assert_valid(session: Any, said: list[str]) -> None:
    """Check what must hold of a session whose process was killed."""
    entries = list(session.timeline)
    texts = [entry.text for entry in entries if entry.role == "user"]
    for line in said:
        word, _, name = line.partition(" ")
        if word == "done":
            assert texts.count(name) == 1, f"{name} was answered and is not kept once"
    assert len(texts) == len(set(texts))
    for entry, follower in itertools.pairwise(entries):
        calls = [block.id for block in entry.content if isinstance(block, ToolCall)]
        results = [block.call_id for block in follower.content if isinstance(block, ToolResult)]
        assert calls == results, "a tool call without its result"
    assert not entries[-1:] or not entries[-1].tool_calls
    assert [tick.number for tick in session.ticks] == list(range(len(session.ticks)))
    assert session.verify() == []
    roles = [message.role for message in session.compile().messages]
    assert all(one != other for one, other in itertools.pairwise(roles))
    if session.ticks and session.ticks[-1].stop_reason == "":
        assert session.ticks[-1].interrupted
        assert session.executions[-1].status == "interrupted"


@pytest.fixture(params=["sqlite", "redis_url"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/sessions.db"
    made: str = request.getfixturevalue(request.param)
    return made


@pytest.mark.timeout(600)
async def test_killed_at_random_moments_a_session_is_whole_and_goes_on(url: str) -> None:
    kills = KILLS if url.startswith("sqlite") else KILLS // 3
    print(f"seed {SEED}, {kills} kills")
    chance = random.Random(SEED)
    unknown = 0
    for number in range(kills):
        said = killed_after(url, chance.uniform(0.005, 0.45))
        heir = app(url, rate=0)
        session = heir.session("crash")
        assert_valid(session, said)
        unknown += sum(
            block.status == "unknown"
            for entry in session.timeline[-3:]
            for block in entry.content
            if isinstance(block, ToolResult)
        )
        events = await events_of(session)
        assert_told(events, session)
        middle = chance.randint(0, session._core.feed.sequence - 1)
        later = [event.sequence for event in await events_of(session, middle) if event.durable]
        assert later == list(range(middle + 1, session._core.feed.sequence + 1))
        if chance.random() < 0.5:
            assert (await session.send(f"go on {number}")).text
            assert_told(await events_of(session), session)
        await session.aclose()
        assert heir.store is not None
        heir.store.close()
    print(f"{unknown} tool calls of unknown outcome")


async def test_no_more_than_half_a_second_of_a_cut_response_is_lost(url: str) -> None:
    said = killed_after(url, 2.5, "slow")
    seen = [
        (float(at), int(count))
        for word, at, count in (line.split() for line in said if line.startswith("text"))
    ]
    long_enough_ago = [count for at, count in seen if at < seen[-1][0] - 0.5]
    session = app(url).session("crash")
    answer = session.timeline[-1]
    assert (answer.role, answer.status) == ("assistant", "interrupted")
    assert len(answer.text) >= long_enough_ago[-1] > 0


async def test_a_request_is_answered_once_also_after_a_restart(url: str) -> None:
    first = app(url, rate=0)
    session = first.session("once")
    execution = session.send("hello", request_id="r1")
    assert session.send("hello", request_id="r1") is execution
    text = (await execution).text
    await session.aclose()
    again = app(url, rate=0).session("once")
    repeated = again.send("hello", request_id="r1")
    assert (await repeated).text == text
    assert len(again.ticks) == 2
    with pytest.raises(Exception, match="another message"):
        again.send("something else", request_id="r1")


async def test_a_request_that_a_crash_cut_is_not_sent_again_under_its_id(url: str) -> None:
    killed_after(url, 1.0, "slow")
    for _ in range(2):  # the second time after an orderly end
        heir = app(url, rate=0)
        session = heir.session("crash")
        cut = session.send("talk", request_id="slow")
        result = await cut
        assert (result.stop_reason, result.reason) == ("aborted", "the process ended while it ran")
        assert result.text == session.timeline[-1].text != ""
        assert [tick.execution for tick in session.ticks] == [cut.id]
        assert [entry.role for entry in session.timeline] == ["user", "assistant"]
        assert session.send("talk", request_id="slow") is cut
        with pytest.raises(SessionError, match="request 'slow' was sent before with another message"):
            session.send("talk louder", request_id="slow")
        await session.aclose()
        assert heir.store is not None
        heir.store.close()
    session = app(url, rate=0).session("crash")
    assert (await session.send("talk", request_id="another")).text
    assert len(session.timeline) > 2
