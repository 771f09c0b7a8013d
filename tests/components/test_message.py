from __future__ import annotations

from typing import Any

import pytest

from nbsession import (
    Assistant,
    Bold,
    CompiledContext,
    Message,
    RenderError,
    Section,
    System,
    User,
    component,
    tool,
)
from nbsession.testing import render


def turns(context: CompiledContext) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in context.messages]


def test_messages_are_turns_in_tree_order() -> None:
    context = render([System("s"), User("q"), Assistant("a"), Message("user", "q2")]).context

    assert turns(context) == [("user", "q"), ("assistant", "a"), ("user", "q2")]
    assert context.system.text == "s"


def test_neighbours_of_one_role_are_one_turn() -> None:
    context = render([User("one"), User("two"), Assistant("a"), Assistant("b")]).context

    assert turns(context) == [("user", "one\n\ntwo"), ("assistant", "a\n\nb")]
    assert len(context.flow) == 4


def test_a_message_joins_lines_and_blocks_of_text() -> None:
    context = render(User("one", "two", Bold("three"), Section("s", title="T"))).context

    assert turns(context) == [("user", "one\ntwo\n**three**\n\n## T\n\ns")]


@pytest.mark.parametrize("content", [(), ("",), (None, False), ("  \n",)])
def test_an_empty_message_compiles_to_nothing(content: tuple[Any, ...]) -> None:
    assert not render([System("s"), User(*content)]).context.messages


@pytest.mark.parametrize("role", ["system", "users", None])
def test_an_unknown_role_is_refused_by_name(role: Any) -> None:
    with pytest.raises(RenderError, match=r"role must be 'user' or 'assistant', got"):
        Message(role, "x")


def test_a_message_in_a_message_is_an_error() -> None:
    with pytest.raises(Exception, match="a message stands inside User"):
        _ = render(User("a", Assistant("b"))).context


def test_a_section_between_messages_joins_the_user_turn_that_follows() -> None:
    context = render([User("q"), Assistant("a"), Section("now", id="x"), User("q2")]).context

    assert turns(context) == [("user", "q"), ("assistant", "a"), ("user", "now\n\nq2")]


def test_a_section_or_system_part_after_the_messages_trails_the_last_user_turn() -> None:
    context = render([System("s"), User("q"), Section("now", id="x"), System("and this")]).context

    assert turns(context) == [("user", "q\n\nnow\n\nand this")]
    assert context.system.text == "s"


def test_a_tool_inside_a_message_is_still_a_tool() -> None:
    @tool
    def look() -> str:
        """Look."""
        return ""

    assert [spec.name for spec in render(User("a", look)).context.tools] == ["look"]


def test_components_inside_a_message_are_part_of_it() -> None:
    @component
    def Name(of: str) -> Any:
        return f"I am {of}."

    assert turns(render(User(Name(of="Ryan"))).context) == [("user", "I am Ryan.")]
