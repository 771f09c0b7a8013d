"""Servers that mean ill, or do badly: what they say is bounded and shown as it is, and the session goes on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from nbsession.mcp import MCP
from nbsession.mcp.listing import names_of
from nbsession.testing import call
from tests.support.mcp_sessions import app_of, plain, results

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession import Session

    Open = Callable[..., Session]


async def test_descriptions_are_bounded_and_hide_nothing(tmp_path: Path, opened: Open) -> None:
    session = opened(app_of(MCP("evil", command=plain(tmp_path, "tricks")), says=["ok"]))
    result = await session.send("Go.")
    tricky = result.ticks[0].context.tools[2]
    texts = [tricky.description, tricky.input_schema["properties"]["a"]["description"]]
    for text in texts:
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\U000e0000-\U000e007f]", text)
        assert "⟨U+001B⟩[2J" in text
        assert "⟨U+202E⟩evil" in text
    assert len(texts[0]) < 8_200


async def test_ten_thousand_tools_are_cut_and_said(tmp_path: Path, opened: Open) -> None:
    session = opened(app_of(MCP("many", command=plain(tmp_path, "many")), says=["ok", "two"]))
    result = await session.send("Go.")
    assert len(result.ticks[0].context.tools) == 500
    notes = session.notes
    assert any("it lists 8,000 tools after the 2,000 that are read" in note for note in notes)
    assert any("has 2,000 tools, and 500 are given to the model" in note for note in notes)


async def test_only_reaches_past_the_tools_that_a_model_is_given(tmp_path: Path, opened: Open) -> None:
    session = opened(app_of(MCP("many", command=plain(tmp_path, "many"), only=["tool_1999"]), says=["ok"]))
    result = await session.send("Go.")
    assert [tool.name for tool in result.ticks[0].context.tools] == ["tool_1999"]


async def test_names_fit_providers_and_no_two_are_one(tmp_path: Path, opened: Open) -> None:
    says = [call("get_file_path_2"), "ok"]
    session = opened(app_of(MCP("odd", command=plain(tmp_path, "names")), says=says))
    result = await session.send("Go.")
    names = [tool.name for tool in result.ticks[0].context.tools]
    assert names[2:4] == ["get_file_path", "get_file_path_2"]
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in names)
    assert len(set(names)) == len(names)
    assert results(session)[0].text == "called (1)"


def test_longer_names_avoid_those_of_the_same_server() -> None:
    listed = [
        {"name": name, "description": "", "schema": {}, "reads": False} for name in ("x", "a_x", "y" * 64)
    ]
    names = names_of(listed, "a")  # type: ignore[arg-type]  # plain dicts say the same
    assert [longer for _, longer in names][:2] == ["a_x_2", "a_a_x"]
    assert all(len(longer) <= 64 for _, longer in names)


async def test_schemas_that_refer_to_themselves_or_match_for_ever_check_nothing(
    tmp_path: Path, opened: Open
) -> None:
    says = [call("cycle", a={"a": 1}, b="a" * 40 + "!", c=1), "ok"]
    session = opened(app_of(MCP("evil", command=plain(tmp_path, "schemas")), says=says))
    result = await session.send("Go.")
    assert results(session)[0].text == "called (1)"
    assert [tool.name for tool in result.ticks[0].context.tools] == ["echo", "die", "cycle"]
    assert any("more than 100,000 characters are left out: 'large'" in note for note in session.notes)


async def test_what_is_printed_between_messages_is_no_harm(tmp_path: Path, opened: Open) -> None:
    says = [call("echo", text="x"), "ok"]
    session = opened(app_of(MCP("noisy", command=plain(tmp_path, "noise")), says=says))
    await session.send("Go.")
    assert results(session)[0].text == "x (1)"
