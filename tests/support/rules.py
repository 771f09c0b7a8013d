"""What providers refuse, checked on the body of a request: each function raises ``AssertionError``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Body = dict[str, Any]

PLAIN = re.compile(r"[a-zA-Z0-9_-]+")
BLOCKS = ("text", "thinking", "redacted_thinking", "tool_use", "tool_result", "image", "document")


def messages_api_takes(body: Mapping[str, Any], *, own_steps: bool = True) -> None:
    """Check a request to the Messages API; without ``own_steps`` the server knows no tools of its own."""
    messages = body["messages"]
    assert messages[0]["role"] == "user"
    assert messages[-1]["role"] == "user"
    ids: list[str] = []
    waiting: set[str] = set()
    for before, message in zip((None, *messages), messages, strict=False):
        assert before is None or before["role"] != message["role"]
        content = message["content"]
        assert content, "an empty message"
        kinds = [block["type"] for block in content]
        assert own_steps or set(kinds) <= set(BLOCKS), kinds
        assert all(block["text"].strip() for block in content if block["type"] == "text")
        results = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
        assert sorted(results) == sorted(waiting), "calls and results that do not pair"
        assert kinds[: len(results)] == ["tool_result"] * len(results), "results that do not come first"
        calls = [block["id"] for block in content if block["type"] == "tool_use"]
        assert all(PLAIN.fullmatch(call) for call in calls), calls
        ids += calls
        waiting = set(calls)
    assert not waiting
    assert len(set(ids)) == len(ids), "tool_use ids must be unique"


def chat_takes(body: Mapping[str, Any]) -> None:
    """Check a request to Chat Completions."""
    waiting: list[str] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            assert isinstance(message["content"], str)
            continue
        assert not waiting, "calls without their results"
        waiting = [call["id"] for call in message.get("tool_calls", ())]
        assert len(set(waiting)) == len(waiting)
        assert all(0 < len(call) <= 40 for call in waiting)
        assert message.get("content") or waiting, "an empty message"
        for part in message["content"] if isinstance(message["content"], list) else ():
            assert part["type"] in ("text", "image_url", "file")
    assert not waiting


def thoughts(body: Mapping[str, Any]) -> Sequence[str]:
    """Return the thinking of a request to the Messages API, in order."""
    blocks = [block for message in body["messages"] for block in message["content"]]
    return [block["thinking"] for block in blocks if block["type"] == "thinking"]
