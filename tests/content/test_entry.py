"""Entries and messages: what they say."""

from __future__ import annotations

from nbsession import App, Entry, Timeline, tool
from nbsession.content import Message, Text, Thinking, ToolCall, ToolResult
from nbsession.testing import ScriptedModel, call

RESULTS = (ToolResult("1", "look", (Text("milk"), Text("eggs"))), ToolResult("2", "look", (Text("bread"),)))


def test_the_text_of_a_tools_entry_is_what_the_tools_gave() -> None:
    entry = Entry("e", None, "tool", RESULTS)
    assert entry.text == str(entry) == "milk\neggs\n\nbread"
    assert Message("user", (*RESULTS, Text("and now?"))).text == "milk\neggs\n\nbread\n\nand now?"


def test_the_text_of_an_answer_is_what_was_said_and_neither_thinking_nor_calls() -> None:
    content = (Thinking("hm"), Text("Let me see."), ToolCall("1", "look", {}))
    assert Entry("e", None, "assistant", content).text == "Let me see."


async def test_a_sessions_timeline_reads_as_text_results_included() -> None:
    @tool
    def look() -> str:
        return "no milk"

    session = App(Timeline(), tools=[look], model=ScriptedModel(call("look"), "Buy milk.")).session()
    await session.send("What do we need?")
    assert [entry.text for entry in session.timeline] == ["What do we need?", "", "no milk", "Buy milk."]
    assert session.ticks[1].context.messages[-1].text == "no milk"
