"""Entries and messages: what they say, and the short ways to make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Entry, SessionError, Timeline, tool
from nbsession.content import Image, Message, Text, Thinking, ToolCall, ToolResult
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = (ToolResult("1", "look", (Text("milk"), Text("eggs"))), ToolResult("2", "look", (Text("bread"),)))
GIF = b"GIF89a\x02\x00\x03\x00"


class TestText:
    def test_of_a_tools_entry_is_what_the_tools_gave(self) -> None:
        entry = Entry.of("tool", *RESULTS)
        assert entry.text == str(entry) == "milk\neggs\n\nbread"
        assert Message("user", (*RESULTS, Text("and now?"))).text == "milk\neggs\n\nbread\n\nand now?"

    def test_of_an_answer_is_what_was_said_and_neither_thinking_nor_calls(self) -> None:
        entry = Entry.of("assistant", Thinking("hm"), "Let me see.", ToolCall("1", "look", {}))
        assert entry.text == "Let me see."

    async def test_of_a_sessions_timeline_has_the_results(self) -> None:
        @tool
        def look() -> str:
            return "no milk"

        model = ScriptedModel(call("look"), "Buy milk.")
        session = App(Timeline(), tools=[look], model=model).session()
        await session.send("What do we need?")
        assert [entry.text for entry in session.timeline] == ["What do we need?", "", "no milk", "Buy milk."]
        assert session.ticks[1].context.messages[-1].text == "no milk"


class TestOf:
    def test_an_entry_takes_what_a_message_takes(self) -> None:
        entry = Entry.of("user", "Look:", GIF, ["and", Text("this")])
        assert (entry.role, entry.parent, entry.status) == ("user", None, "complete")
        text, image, *rest = entry.content
        assert (text, rest) == (Text("Look:"), [Text("and"), Text("this")])
        assert isinstance(image, Image)

    def test_equal_entries_are_one_and_an_id_tells_them_apart(self) -> None:
        assert Entry.of("user", "a") == Entry.of("user", "a")
        assert len({Entry.of("user", "a").id, Entry.of("user", "b").id, Entry.of("assistant", "a").id}) == 3
        assert Entry.of("user", "a", id="first").id == "first"

    @pytest.mark.parametrize(
        ("role", "content", "told"),
        [
            ("system", "a", "an entry's role must be 'user', 'assistant' or 'tool', got 'system'"),
            ("tool", "a", r"a tool's entry holds ToolResult\(call_id, name, content\), got Text: "),
            ("user", ToolCall("1", "look", {}), "a message of the user holds no ToolCall, got "),
            ("user", None, "a message is text, content or an entry, got NoneType: None"),
        ],
    )
    def test_what_a_role_does_not_hold_is_refused(self, role: Any, content: Any, told: str) -> None:
        with pytest.raises(SessionError, match=f"^{told}"):
            Entry.of(role, content)

    async def test_a_summary_stands_for_what_it_sums_up(self) -> None:
        def brief(entries: Sequence[Entry]) -> Sequence[Entry]:
            return [Entry.of("user", f"({len(entries) - 1} left out)"), entries[-1]]

        session = App(Timeline(), model=ScriptedModel("one", "two"), policies=[brief]).session()
        await session.send("a")
        await session.send("b")
        assert session.ticks[1].context.messages[0].text == "(2 left out)\n\nb"

    async def test_two_equal_ones_in_a_policy_need_ids(self) -> None:
        def twice(entries: Sequence[Entry]) -> Sequence[Entry]:
            return [Entry.of("user", "…"), Entry.of("user", "…")]

        session = App(Timeline(), model=ScriptedModel("never"), policies=[twice]).session()
        with pytest.raises(
            SessionError, match=r'give a new one an id of its own: Entry\.of\(role, …, id="…"\)'
        ):
            await session.send("a")


class TestReplace:
    def test_an_entry_keeps_its_place_and_says_something_else(self) -> None:
        entry = Entry("e2", "e1", "user", (Text("call 0171"),), created=3.0, metadata={"cell": 1})
        hidden = entry.replace("call ••••")
        assert hidden == Entry("e2", "e1", "user", (Text("call ••••"),), created=3.0, metadata={"cell": 1})
        assert entry.text == "call 0171"

    async def test_a_long_result_of_a_tool_is_put_shorter_and_still_answers_its_call(self) -> None:
        @tool
        def look() -> str:
            return "milk " * 1000

        def short(entries: Sequence[Entry]) -> Sequence[Entry]:
            return [entry.replace("(left out)") if entry.role == "tool" else entry for entry in entries]

        model = ScriptedModel([call("look"), call("look")], "Enough.")
        session = App(Timeline(), tools=[look], model=model, policies=[short]).session()
        assert (await session.send("What is there?")).text == "Enough."
        assert session.ticks[1].context.messages[-1].text == "(left out)\n\n(left out)"

    def test_results_may_be_replaced_one_by_one(self) -> None:
        other = ToolResult("1", "look", (Text("cheese"),))
        assert Entry.of("tool", *RESULTS).replace(other, RESULTS[1]).text == "cheese\n\nbread"
