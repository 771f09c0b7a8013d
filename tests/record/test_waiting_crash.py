"""A workflow that waits for a person goes on wherever its process was killed, and does nothing twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.approving import Workflow

ROOT = Path(__file__).parents[2]

DONE = ["draft", "sent Dear Bo"]
POINTS: dict[str, list[list[str]]] = {
    "tick_start": [DONE],
    "tick_context": [DONE],
    "message_stop": [DONE],
    "before the draft": [[]],
    "in the draft": [["draft"]],
    "before asking": [["draft"]],
    "question_asked": [DONE],
    "execution_end": [DONE],
    "answered": [DONE],
    "question_answered": [DONE],
    "gone on": [DONE],
    "confirming": [DONE],
    "confirmed": [DONE],
    "before sending": [["draft"]],
    "in sending": [DONE],
    "done": [DONE],
}
"""What the tools may have done in the end, by where the process was killed: a tool that was cut is not run again."""


def killed_at(point: str, folder: Path) -> Workflow:
    """Let the workflow die at a point, and return the one that goes on from its store."""
    command = [sys.executable, "-m", "tests.support.approving", str(folder), point]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    return Workflow(folder)


@pytest.mark.parametrize("point", POINTS)
async def test_it_goes_on_wherever_it_was_killed_and_does_nothing_twice(point: str, tmp_path: Path) -> None:
    workflow = killed_at(point, tmp_path)
    session = workflow.app.session("letter")
    end = await workflow.run(session)
    done = workflow.done.read_text().splitlines() if workflow.done.exists() else []
    assert done in POINTS[point], end
    assert session.waiting == []
    assert session.verify() == []
    assert len(done) == 2 or "unknown" in end.lower()
    await session.aclose()
