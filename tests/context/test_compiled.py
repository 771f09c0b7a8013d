from __future__ import annotations

from typing import Any

import pytest

from nbsession import App, Section, System, Timeline, User, component, use_state
from nbsession.content import Message, Text, Thinking, ToolCall, ToolResult, ToolSpec
from nbsession.context import CompiledContext, context_of
from nbsession.testing import ScriptedModel, render

TOOL = ToolSpec("look", "Look.", {"type": "object", "properties": {}})


def context(*messages: tuple[Any, str], system: str = "s", **options: Any) -> CompiledContext:
    return context_of([system], [Message(role, (Text(text),)) for role, text in messages], **options)


ONE = context(("user", "a"), ("assistant", "b"))


class Editable:
    """A mounted list of sections whose texts, by id, can be set."""

    def __init__(self, **texts: str) -> None:
        setters: list[Any] = []

        @component
        def Sections() -> Any:
            shown, set_shown = use_state(texts)
            setters[:] = [set_shown]
            return [
                System("s"),
                *[Section(text, id=key, title=key) for key, text in shown.items()],
                User("q"),
            ]

        self._mounted = render(Sections())
        self._set = setters

    def show(self, **texts: str) -> CompiledContext:
        self._set[0](texts)
        return self._mounted.context


def test_equal_contexts_give_an_empty_falsy_diff() -> None:
    same = context(("user", "a"), ("assistant", "b"))

    assert same == ONE
    assert same.hash == ONE.hash
    diff = same.diff(ONE)
    assert not diff
    assert str(diff) == ""
    assert (diff.tokens, diff.prefix_tokens_kept) == (0, ONE.tokens)


@pytest.mark.parametrize(
    "other",
    [
        context(("user", "a"), ("assistant", "c")),
        context(("user", "a"), ("user", "b")),
        context(("assistant", "b"), ("user", "a")),
        context(("user", "a"), ("assistant", "b"), system="t"),
        context(("user", "a"), ("assistant", "b"), tools=[TOOL]),
        context(("user", "a"), ("assistant", "b"), settings={"max_tokens": 1}),
        context(("user", "a")),
        context(("user", "a"), ("assistant", "b"), ("user", "c")),
    ],
)
def test_whatever_is_sent_otherwise_is_another_context(other: CompiledContext) -> None:
    assert other.hash != ONE.hash
    assert other != ONE
    assert other.diff(ONE)
    assert ONE.diff(other)


def test_the_hash_is_the_same_in_every_process() -> None:
    assert ONE.hash == "22e779485256f6f1187ec51bf33183434be4c071c1b1b52855d08c231dc6eb95"


def test_ids_of_calls_and_results_are_no_part_of_the_hash() -> None:
    def called(id: str) -> CompiledContext:
        return context_of(
            [],
            [
                Message("assistant", (ToolCall(id, "look", {"b": 1, "a": 2}),)),
                Message("user", (ToolResult(id, "look", (Text("x"),), duration=len(id)),)),
            ],
        )

    assert called("one").hash == called("another").hash


def test_a_diff_tells_added_removed_changed_and_moved_parts() -> None:
    page = Editable(a="one", b="two", c="three")
    before = page.show(a="one", b="two", c="three", d="four")
    after = page.show(c="three", a="one!", e="five", d="four")
    diff = after.diff(before)

    assert [part.key for part in diff.added] == ["e"]
    assert [part.key for part in diff.removed] == ["b"]
    assert [(old.text, new.text) for old, new in diff.changed] == [("## a\n\none", "## a\n\none!")]
    assert [part.key for part in diff.moved] == ["c"]
    assert diff.tokens == after.tokens - before.tokens
    assert bool(diff)


def test_a_diff_reads_like_a_diff() -> None:
    page = Editable(a="one\ntwo")
    before = page.show(a="one\ntwo", b="gone")
    lines = str(page.show(a="one\nthree", c="new").diff(before)).splitlines()

    assert any(line.startswith("− b") for line in lines)
    assert any(line.startswith("+ c") for line in lines)
    for line in ("-gone", "+new", "-two", "+three"):
        assert line in lines
    assert "≈" in lines[-1]


def test_a_changed_part_ends_the_prefix_that_is_kept() -> None:
    page = Editable(a="x" * 400)
    before = page.show(a="x" * 400, b="y" * 400)
    changed_last = page.show(a="x" * 400, b="z" * 400).diff(before)
    back = page.show(a="x" * 400, b="y" * 400)
    changed_first = page.show(a="w" * 400, b="y" * 400).diff(back)

    assert changed_last.prefix_tokens_kept > changed_first.prefix_tokens_kept + 90


def test_a_changed_setting_is_a_change_without_tokens() -> None:
    diff = context(("user", "a"), settings={"effort": "low"}).diff(context(("user", "a")))

    assert diff.settings == {"effort": (None, "low")}
    assert diff
    assert diff.tokens == 0
    assert "effort: None → 'low'" in str(diff)


def test_everything_is_in_to_dict() -> None:
    data = context(("user", "a"), tools=[TOOL], settings={"max_tokens": 1}).to_dict()

    assert data["system"] == ["s"]
    assert data["messages"] == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    assert data["tools"] == [TOOL.to_dict()]
    assert data["settings"] == {"max_tokens": 1}
    assert [part["text"] for part in data["parts"]][::2] == ["s", "a"]
    assert data["withheld"] == []
    assert set(data) >= {"tokens", "hash"}


def test_parts_can_be_searched_and_read_as_text() -> None:
    one = context(("user", "a question"))

    assert str(one.system) == one.system.text == "s"
    assert one.system[0] in one.parts
    assert [str(part) for part in one.flow] == ["a question"]


def test_unsigned_thinking_and_blank_text_are_not_sent() -> None:
    mounted = render([System("s"), User("  "), User("a")])
    assert [str(message) for message in mounted.context.messages] == ["a"]
    assert context_of([], [Message("assistant", (Thinking("hm"),))]).tokens >= 0


def test_tokens_count_tools_and_messages() -> None:
    bare, tooled = context(("user", "a" * 40)), context(("user", "a" * 40), tools=[TOOL])

    assert bare.tokens == 1 + 10 + 4
    assert tooled.tokens - bare.tokens >= len("look") // 4


async def test_the_same_words_said_again_are_no_change_and_elsewhere_they_are() -> None:
    @component
    def Plain() -> Any:
        return [System("s"), Timeline(limit=3)]

    session = App(Plain, model=ScriptedModel(*["ok"] * 4)).session()
    asked = session.compile("hello")
    again = session.compile("hello")
    assert asked.parts[-1].key != again.parts[-1].key
    assert not again.diff(asked)
    assert again.diff(session.compile("hello!"))
    await session.send("ok?")
    await session.send("ok?")
    older = session.compile()
    await session.send("well?")
    assert session.compile().diff(older).added
