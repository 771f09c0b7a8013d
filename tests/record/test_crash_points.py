"""A process that dies at a chosen point leaves what it promised there."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import StopReason
from nbsession.content import ToolResult
from tests.record.test_crash import assert_told, assert_valid, events_of
from tests.support.dying import app

if TYPE_CHECKING:
    from nbsession import Session

ROOT = Path(__file__).parents[2]


def dead_at(point: str, folder: Path) -> str:
    """Let the program die at a point and return the URL of its store."""
    url = f"sqlite:///{folder}/sessions.db"
    ran = subprocess.run([sys.executable, "-m", "tests.support.dying", url, point], cwd=ROOT, check=False)
    assert ran.returncode == -signal.SIGKILL
    return url


def results(session: Session) -> list[str]:
    return [
        block.status for entry in session.timeline for block in entry.content if isinstance(block, ToolResult)
    ]


COUNT = {"Agent#0": 1}
NOTHING = {"Agent#0": 0}
POINTS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "thread": (["unknown", "interrupted"], NOTHING),
    "parallel": (["done", "unknown", "unknown"], NOTHING),
    "child": (["unknown"], NOTHING),
    "policy": ([], NOTHING),
    "after a tool": (["done", "unknown"], COUNT),
    "effect": (["done", "done"], COUNT),
    "tick end hook": (["done", "done"], COUNT),
    "execution end hook": (["done", "done"], COUNT),
    "rewind": ([], NOTHING),
}


@pytest.mark.parametrize("point", POINTS)
async def test_what_was_done_is_kept_and_what_was_cut_is_told(point: str, tmp_path: Path) -> None:
    url = dead_at(point, tmp_path)
    session = app(url, "on").session("s")
    outcomes, state = POINTS[point]
    assert (results(session), session.state) == (outcomes, state)
    assert_valid(session, [])
    told = await events_of(session)
    assert_told(told, session)
    assert (await session.send("go on")).text == "on"
    (last,) = session.executions[-1].ticks
    assert str(last.context.messages[-1]).endswith(f"go on\n\n## Count\n\n{state['Agent#0']} calm")
    assert session.knobs["mood"] == "calm"
    await session.aclose()
    again = app(url).session("s")
    assert (await events_of(again))[: len(told)] == told
    assert again.verify() == []


@pytest.mark.parametrize("point", ["thread", "after a tool", "tick end hook"])
async def test_an_answer_whose_tools_were_cut_keeps_its_text_calls_and_usage(
    point: str, tmp_path: Path
) -> None:
    session = app(dead_at(point, tmp_path)).session("s")
    tick = session.ticks[1]
    assert tick.interrupted
    assert (tick.stop_reason, tick.usage.output_tokens > 0) == ("tool_use", True)
    assert tick.response == session.timeline[3].content
    assert [run.call for run in tick.tool_calls] == list(session.timeline[3].tool_calls)
    assert all(run.result is not None for run in tick.tool_calls)
    assert session.usage.output_tokens == sum(tick.usage.output_tokens for tick in session.ticks)
    assert (await session.send("two", request_id="two")).text == tick.text


async def test_a_call_that_nobody_had_allowed_waits_after_the_crash(tmp_path: Path) -> None:
    session = app(dead_at("confirmation", tmp_path), "on").session("s")
    (question,) = session.waiting
    assert (question.kind, question.call.name) == ("confirmation", "risky")
    assert (await session.executions[-1]).stop_reason is StopReason.paused
    assert not session.ticks[1].interrupted
    assert [event.type for event in await events_of(session)][-2:] == ["execution_end", "done"]
    assert (await session.answer(question.id, True)).text == "on"
    assert [run.result.status for run in session.ticks[1].tool_calls if run.result] == ["done"]
    assert session.verify() == []


async def test_a_readers_text_of_a_cut_answer_is_there_after_the_crash(tmp_path: Path) -> None:
    session = app(dead_at("thread", tmp_path)).session("s")
    for _ in range(2):
        deltas = [event for event in await events_of(session) if event.type == "text_delta"]
        assert [delta.to_dict()["text"] for delta in deltas] == ["hi", "I look. "]
        await session.aclose()
        session = app(f"sqlite:///{tmp_path}/sessions.db").session("s")
