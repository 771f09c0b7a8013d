from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, CodeExecution, Section, System, Timeline, WebFetch, WebSearch, component, tool
from nbsession.content import Document, Message, ServerTool, Text, ToolSpec, block_from_dict
from nbsession.context import CompiledContext, context_of
from nbsession.errors import CompileError, ModelError, RenderError
from nbsession.events import ContentBlockStart, MessageDelta
from nbsession.models import AnthropicModel, RecordedModel, SimulatedModel
from nbsession.models.anthropic.request import request_of
from nbsession.models.openai.chat.request import request_of as chat_request_of
from nbsession.notebook.view.pieces import Prose
from nbsession.notebook.view.transcript import Transcript
from nbsession.stores import SqlStore
from nbsession.testing import EventRecorder, render
from nbsession.usage import Usage, prices
from tests.support.fake_messages import broken, message, text, text_block, tool_use

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_messages import SSE, FakeMessages

FOUND = {"type": "web_search_result", "title": "Tides", "url": "https://example.org/tides", "page_age": None}
CITED = {
    "type": "web_search_result_location",
    "cited_text": "High at noon.",
    "encrypted_index": "abc",
    "title": "Tides",
    "url": "https://example.org/tides",
}


def search_block(query: str = "tides", id: str = "srvtoolu_1") -> list[SSE]:
    start = {"type": "server_tool_use", "id": id, "name": "web_search", "input": {}}
    pieces = json.dumps({"query": query})
    return [
        {"type": "content_block_start", "content_block": start},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": pieces[:6]}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": pieces[6:]}},
        {"type": "content_block_stop"},
    ]


def block(**content: Any) -> list[SSE]:
    return [{"type": "content_block_start", "content_block": content}, {"type": "content_block_stop"}]


def found_block(id: str = "srvtoolu_1") -> list[SSE]:
    return block(type="web_search_tool_result", tool_use_id=id, content=[{**FOUND, "encrypted_content": "x"}])


def cited_block(words: str, citation: SSE = CITED) -> list[SSE]:
    deltas = text_block(words)
    delta = {"type": "content_block_delta", "delta": {"type": "citations_delta", "citation": citation}}
    return [*deltas[:-1], delta, deltas[-1]]


def searched(**delta: Any) -> Any:
    return message(text_block("Let me see."), search_block(), found_block(), cited_block("At noon."), **delta)


@component
def Coast() -> list[Any]:
    return [System("You know the sea."), WebSearch(max_uses=2), Timeline(), Section("Low wind.", id="wind")]


def context(*messages: Message, tools: Any = (), **settings: Any) -> CompiledContext:
    return context_of([], messages or [Message("user", (Text("Hi"),))], tools, settings)


async def test_a_search_comes_as_its_call_its_result_and_a_text_that_cites(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(searched())
    events = await EventRecorder().record(live.stream(context()))
    _, called, found, said = events.blocks
    assert isinstance(called, ServerTool)
    assert (called.call_id, called.name, called.is_result) == ("srvtoolu_1", "web_search", False)
    assert called.text == "web_search(query='tides')"
    assert called.raw["input"] == {"query": "tides"}
    assert isinstance(found, ServerTool)
    assert (found.call_id, found.is_result, found.text) == (
        "srvtoolu_1",
        True,
        "Tides · https://example.org/tides",
    )
    assert said == Text("At noon.", (CITED,))
    assert [event.block for event in events.of(ContentBlockStart)] == [
        "text",
        "server_tool",
        "server_tool",
        "text",
    ]


async def test_what_was_searched_and_cited_is_sent_back_as_it_came(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(searched(), text("Gladly."))
    session = App(Coast, model=live).session()
    result = await session.send("When is high tide?")
    await session.send("Thanks")
    session.close()
    assert result.text == "Let me see.\n\nAt noon."
    shown = [piece.kind for piece in Transcript.of(result.ticks).ticks[0].pieces if isinstance(piece, Prose)]
    assert shown == ["text", "server_tool", "server_tool", "text"]
    sent = messages_server.requests[1].body
    assert [item["type"] for item in sent["messages"][1]["content"]] == [
        "text",
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]
    assert sent["messages"][1]["content"][2]["content"] == [{**FOUND, "encrypted_content": "x"}]
    assert sent["messages"][1]["content"][3]["citations"] == [CITED]
    assert sent["tools"] == [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]


async def test_a_paused_turn_is_sent_again_unchanged_and_goes_on(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(
        message(text_block("Let me see."), search_block(), stop_reason="pause_turn"),
        message(found_block(), cited_block("At noon.")),
    )
    session = App(Coast, model=live).session()
    result = await session.send("When is high tide?")
    session.close()
    assert (result.text, str(result.stop_reason), len(result.ticks)) == ("At noon.", "end_turn", 2)
    first, second = (request.body["messages"] for request in messages_server.requests)
    assert [item["role"] for item in second] == ["user", "assistant"]
    assert [item["type"] for item in second[1]["content"]] == ["text", "server_tool_use"]
    assert [item["text"] for item in second[0]["content"]] == [item["text"] for item in first[0]["content"]]


async def test_a_search_without_its_result_is_not_sent_again_after_a_cut(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    cut = message(search_block(), found_block(), search_block("wind", "srvtoolu_2"))
    messages_server.will(broken(cut, -2, "cut"), text("Here I am."))
    session = App(Coast, model=live).session()
    with pytest.raises(ModelError):
        await session.send("When is high tide?")
    await session.send("And?")
    session.close()
    answer = messages_server.requests[1].body["messages"][1]["content"]
    assert [item.get("id") or item.get("tool_use_id") for item in answer] == ["srvtoolu_1", "srvtoolu_1"]


async def test_searches_are_counted_and_charged(messages_server: FakeMessages, live: AnthropicModel) -> None:
    reply = searched()
    events = [dict(event) for event in reply.events]
    events[-2]["usage"] = {"output_tokens": 17, "server_tool_use": {"web_search_requests": 3}}
    messages_server.will(type(reply)(tuple(events)))
    recorded = await EventRecorder().record(live.stream(context()))
    usage = recorded.of(MessageDelta)[0].usage
    assert usage.web_searches == 3
    without = prices.cost("claude-sonnet-5-5", Usage(1000, 10))
    assert without is not None
    assert prices.cost("claude-sonnet-5-5", Usage(1000, 10, web_searches=3)) == pytest.approx(without + 0.03)
    assert (usage + usage).web_searches == 6


async def test_a_recorded_search_is_replayed_and_the_next_turn_found(
    messages_server: FakeMessages, live: AnthropicModel, tmp_path: Path
) -> None:
    messages_server.will(searched(), text("Gladly."))
    contents = []
    for model in (
        RecordedModel(tmp_path / "tape", record="new", model=live),
        RecordedModel(tmp_path / "tape"),
    ):
        session = App(Coast, model=model).session()
        contents.append([(await session.send(words)).content for words in ("When?", "Thanks")])
        session.close()
    assert contents[0] == contents[1]
    assert isinstance(contents[1][0][1], ServerTool)


async def test_a_stored_session_brings_searches_and_citations_back(
    messages_server: FakeMessages, live: AnthropicModel, tmp_path: Path
) -> None:
    messages_server.will(searched())
    store = SqlStore(f"sqlite:///{tmp_path / 'sea.db'}")
    session = App(Coast, model=live, store=store).session("coast")
    before = (await session.send("When?")).content
    session.close()
    again = App(Coast, model=live, store=store).session("coast")
    assert again.ticks[0].response == before
    assert again.verify() == []
    again.close()
    store.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {
                "type": "bash_code_execution_tool_result",
                "content": {
                    "type": "bash_code_execution_result",
                    "stdout": "4\n",
                    "stderr": "",
                    "return_code": 0,
                },
            },
            "4\nexit 0",
        ),
        (
            {
                "type": "web_fetch_tool_result",
                "content": {"type": "web_fetch_result", "url": "https://example.org"},
            },
            "https://example.org",
        ),
        (
            {
                "type": "web_search_tool_result",
                "content": {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"},
            },
            "failed: max_uses_exceeded",
        ),
        ({"type": "web_search_tool_result", "content": []}, "nothing found"),
        ({"type": "brand_new_tool_result", "content": {"type": "brand_new"}}, "brand_new"),
    ],
)
async def test_results_of_every_tool_are_told_in_words(
    messages_server: FakeMessages, live: AnthropicModel, content: dict[str, Any], said: str
) -> None:
    messages_server.will(message(block(**content, tool_use_id="srvtoolu_1")))
    events = await EventRecorder().record(live.stream(context()))
    assert events.text == said
    assert [block.to_dict()["text"] for block in events.blocks] == [said]


def test_the_tools_stand_in_the_tree_with_their_options() -> None:
    shown = render(
        [
            WebSearch(allowed_domains=("example.org",), type="web_search_29990101"),
            WebFetch(max_tokens=500, citations=True),
            CodeExecution(),
            Timeline(),
        ]
    ).context
    assert request_of(context(tools=shown.tools), "claude-test-1", caching=False)["tools"] == [
        {"type": "web_search_29990101", "name": "web_search", "allowed_domains": ["example.org"]},
        {
            "type": "web_fetch_20250910",
            "name": "web_fetch",
            "max_content_tokens": 500,
            "citations": {"enabled": True},
        },
        {"type": "code_execution_20250825", "name": "code_execution"},
    ]


def test_another_option_of_a_tool_is_another_context() -> None:
    few, many = (render([WebSearch(max_uses=n), Timeline()]).context for n in (1, 2))
    assert few.hash != many.hash
    assert few.hash == render([WebSearch(max_uses=1), Timeline()]).context.hash
    assert [ToolSpec.from_dict(spec.to_dict()) for spec in few.tools] == list(few.tools)


def test_a_tool_of_the_same_name_is_refused() -> None:
    @tool
    def web_search(query: str) -> str:
        """Search."""
        return query

    with pytest.raises(CompileError, match="two tools are named 'web_search'"):
        render([web_search, WebSearch(), Timeline()]).context  # noqa: B018  # compiling is the test


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(RenderError, match="allowed_domains or blocked_domains, not both"):
        WebSearch(allowed_domains=["a"], blocked_domains=["b"])
    with pytest.raises(RenderError, match=r"as a list, got 'example.org'"):
        WebFetch(allowed_domains="example.org")


def test_a_model_without_such_a_tool_says_so() -> None:
    with pytest.raises(ModelError, match="gpt has no tool 'web_search' of its own"):
        chat_request_of(context(tools=[WebSearch().spec]), "gpt")
    with pytest.raises(
        ModelError, match="claude-test-1 has no tool 'telepathy' of its own; it has code_exec"
    ):
        request_of(context(tools=[ToolSpec("telepathy", "", {}, {})]), "claude-test-1")


async def test_a_server_on_this_machine_that_is_asked_for_such_a_tool_says_so(
    messages_server: FakeMessages,
) -> None:
    here = AnthropicModel("tiny", base_url=messages_server.url, prefix="ollama", caching=False)
    with pytest.raises(ModelError, match="ollama:tiny has no tool 'web_search' of its own; take it out"):
        await EventRecorder().record(here.stream(context(tools=[WebSearch(type="web_search_1").spec])))
    assert messages_server.requests == []


async def test_a_server_on_this_machine_reads_what_was_searched_as_text(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    here = AnthropicModel("tiny", base_url=messages_server.url, prefix="ollama", caching=False)

    @component
    def Sea() -> list[Any]:
        return [System("You know the sea."), Timeline()]

    messages_server.will(searched(), text("Gladly."))
    session = App(Sea, model=live).session()
    await session.send("When?")
    await session.send("Thanks", model=here)
    await here.aclose()
    session.close()
    answer = messages_server.requests[1].body["messages"][1]["content"]
    assert answer == [
        {"type": "text", "text": "Let me see."},
        {"type": "text", "text": "web_search(query='tides')"},
        {"type": "text", "text": "Tides · https://example.org/tides"},
        {"type": "text", "text": "At noon."},
    ]


async def test_the_simulated_model_says_that_it_has_no_such_tool() -> None:
    session = App(Coast, model=SimulatedModel(rate=0)).session()
    result = await session.send("Search the web for tides")
    session.close()
    assert "web_search runs at the provider, and this model has none" in result.text


async def test_a_model_that_calls_it_as_if_it_ran_here_is_told(
    messages_server: FakeMessages, live: AnthropicModel
) -> None:
    messages_server.will(tool_use("web_search", {}), text("A pity."))
    session = App(Coast, model=live).session()
    result = await session.send("When?")
    session.close()
    [run] = result.tool_calls
    assert run.result is not None
    assert run.result.is_error
    assert "web_search runs at the provider" in run.result.text


def test_citations_are_asked_for_of_all_documents() -> None:
    paper = Document("text/plain", b"High at noon.", title="Tides")
    asked = context(Message("user", (Text("When?"), paper)), citations=True)
    content = request_of(asked, "claude-test-1", caching=False)["messages"][0]["content"]
    assert [item.get("citations") for item in content] == [None, {"enabled": True}]
    assert "citations" not in request_of(asked, "claude-test-1")


def test_a_citation_is_sent_back_without_what_only_answers_have() -> None:
    citation = {"type": "char_location", "cited_text": "noon", "document_index": 0, "file_id": None}
    said = Text("Noon.", (citation,))
    sent = request_of(
        context(Message("user", (Text("When?"),)), Message("assistant", (said,))),
        "claude-test-1",
        caching=False,
    )
    assert sent["messages"][1]["content"] == [
        {
            "type": "text",
            "text": "Noon.",
            "citations": [{"type": "char_location", "cited_text": "noon", "document_index": 0}],
        }
    ]
    assert block_from_dict(said.to_dict()) == said
