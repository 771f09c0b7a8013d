from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from nbsession.content import ServerTool, Text, Thinking, ToolCall
from nbsession.errors import ModelError
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    MessageDelta,
    MessageStart,
    MessageStop,
    TextDelta,
)
from nbsession.models import OpenAIModel
from nbsession.testing import EventRecorder
from nbsession.usage import Usage
from tests.support.fake_messages import Reply, broken
from tests.support.fake_responses import (
    Item,
    answer,
    calling,
    failing,
    item,
    ran,
    reasoned,
    refused,
    said,
    searched,
    status,
    text,
)
from tests.support.live import KEY, ask, context, failure, finished

if TYPE_CHECKING:
    from nbsession.events import ModelEvent
    from tests.support.fake_responses import FakeResponses

HELLO = text("Hello you there.")
USED = Usage(input_tokens=36, output_tokens=17, cache_read_tokens=20, cache_write_tokens=5, thinking_tokens=3)
CITED = {"type": "url_citation", "url": "https://a.org", "title": "A", "start_index": 0, "end_index": 5}


def ending(events: list[ModelEvent]) -> MessageDelta:
    [delta] = [event for event in events if isinstance(event, MessageDelta)]
    return delta


async def test_text_streams_in_pieces_with_their_offsets(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    responses_server.will(HELLO)
    assert await ask(responses) == [
        MessageStart("openai:gpt-test-1", "live"),
        ContentBlockStart(0, "text"),
        TextDelta(0, "Hello yo", 0),
        TextDelta(0, "u there.", 8),
        ContentBlockStop(0, Text("Hello you there.")),
        MessageDelta("end_turn", USED),
        MessageStop(),
    ]


async def test_the_request_is_the_context(responses_server: FakeResponses, responses: OpenAIModel) -> None:
    await ask(responses)
    [sent] = responses_server.requests
    assert (sent.path, sent.headers["authorization"]) == ("/v1/responses", f"Bearer {KEY}")
    assert sent.body == {
        "model": "gpt-test-1",
        "store": False,
        "instructions": "You are kind.",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        ],
        "stream": True,
    }
    assert sent.body == responses.request(context())


async def test_reasoning_is_told_by_its_summary_and_kept_as_it_came(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    thought = reasoned("I look it up.", "Then I say it.")
    responses_server.will(answer(thought, calling("look", '{"x": 1}')))
    recorded = await EventRecorder().record(responses.stream(context()))
    assert thought.done is not None
    kept = {name: value for name, value in thought.done.items() if value is not None}
    assert recorded.blocks == [
        Thinking("I look it up.\n\nThen I say it.", kept),
        ToolCall("call_1", "look", {"x": 1}),
    ]
    assert kept["encrypted_content"] == "c2VhbGVk"
    assert recorded.text == "I look it up.\n\nThen I say it."
    assert recorded.of(MessageDelta)[0].stop_reason == "tool_use"


@pytest.mark.parametrize("thought", [reasoned("Hm.", encrypted=None), reasoned("Hm.", status="incomplete")])
async def test_reasoning_that_could_not_be_known_again_is_shown_and_not_sent_back(
    responses_server: FakeResponses, responses: OpenAIModel, thought: Item
) -> None:
    responses_server.will(answer(thought, said("Yes.")))
    assert finished(await ask(responses)) == [Thinking("Hm.", {}), Text("Yes.")]


async def test_reasoning_without_a_summary_is_kept_too(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    responses_server.will(answer(reasoned(), said("Yes.")))
    thought, _ = finished(await ask(responses))
    assert (thought.text, thought.raw["encrypted_content"]) == ("", "c2VhbGVk")


async def test_an_open_model_s_reasoning_is_shown(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    base: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": []}
    delta = {"type": "response.reasoning_text.delta", "item_id": "rs_1", "content_index": 0, "delta": "Hm."}
    done = {**base, "content": [{"type": "reasoning_text", "text": "Hm."}]}
    responses_server.will(answer(Item(base, [delta], done), Item(base, (), done), said("Yes.")))
    assert finished(await ask(responses)) == [Thinking("Hm."), Thinking("Hm."), Text("Yes.")]


async def test_calls_are_made_beside_words_and_each_other(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    responses_server.will(
        answer(
            said("Two notes.", phase="commentary"),
            calling("a", '{"x": 1}', "call_1"),
            calling("b", "", "functions.b:0"),
        )
    )
    words, one, two = finished(await ask(responses))
    assert (words, one) == (Text("Two notes.", (), "commentary"), ToolCall("call_1", "a", {"x": 1}))
    assert (two.name, dict(two.input)) == ("b", {})
    assert re.fullmatch(r"call_[0-9a-f]+", two.id)  # an id that all providers take


async def test_items_that_come_without_deltas_are_whole(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    whole = answer(reasoned("Hm."), said("So."), calling("a", '{"x": 1}'))
    kept = ("response.created", "response.output_item.done", "response.completed")
    responses_server.will(Reply(tuple(event for event in whole.events if event["type"] in kept)))
    recorded = await EventRecorder().record(responses.stream(context()))
    assert [str(block) for block in recorded.blocks] == ["Hm.", "So.", "a(x=1)"]
    assert recorded.text == "Hm.So."


@pytest.mark.parametrize(
    "half",
    [
        calling("add_note", '{"note": "half', "call_1", status="incomplete"),
        calling("add_note", '{"note": "whole"}', "call_1", status="incomplete"),
        calling("add_note", '{"note": "half', "call_1", status=None),
    ],
)
async def test_a_tool_call_cut_by_its_limit_never_ends(
    responses_server: FakeResponses, responses: OpenAIModel, half: Item
) -> None:
    before = calling("a", '{"x": 1}', "call_0")
    responses_server.will(answer(said("I note"), before, half, incomplete="max_output_tokens"))
    events = await ask(responses)
    assert finished(events) == [Text("I note"), ToolCall("call_0", "a", {"x": 1})]
    assert ending(events).stop_reason == "max_tokens"
    assert isinstance(events[-1], MessageStop)


async def test_words_and_thoughts_that_were_cut_are_kept_as_far_as_they_came(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    thought, words = reasoned("I look it up."), said("Hello you there.")
    cut = [Item(thought.added, thought.events[:3], None), Item(words.added, words.events[:2], None)]
    responses_server.will(answer(*cut, incomplete="max_output_tokens"))
    events = await ask(responses)
    assert finished(events) == [Thinking("I look it up."[:13]), Text("Hello yo")]


async def test_a_refusal_says_why(responses_server: FakeResponses, responses: OpenAIModel) -> None:
    responses_server.will(
        answer(refused("It could do harm.")), answer(said("So"), incomplete="content_filter")
    )
    events = await ask(responses)
    assert (ending(events).stop_reason, ending(events).detail) == ("refusal", "It could do harm.")
    assert finished(events) == []
    events = await ask(responses)
    assert (ending(events).stop_reason, ending(events).detail) == ("refusal", "content_filter")
    assert finished(events) == [Text("So")]


async def test_another_reason_to_stop_is_passed_on(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    responses_server.will(answer(said("So"), incomplete="max_messages"))
    assert ending(await ask(responses)).stop_reason == "max_messages"


async def test_a_search_comes_as_a_step_and_a_text_that_cites(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    found = searched("tides", "tides kiel", sources=["https://a.org"])
    opened = searched(id="ws_2", kind="open_page", url="https://a.org")
    responses_server.will(answer(found, opened, said("At noon.", annotations=[CITED]), searches=1))
    events = await ask(responses)
    step, page, words = finished(events)
    assert found.done is not None
    assert step == ServerTool(
        "ws_1",
        "web_search",
        "web_search('tides', 'tides kiel')\nhttps://a.org",
        found.done,
        is_result=True,
    )
    assert page.text == "web_search.open_page('https://a.org')"
    assert words == Text("At noon.", (CITED,))
    assert ContentBlockStart(0, "server_tool", id="ws_1", name="web_search") in events
    assert (ending(events).stop_reason, ending(events).usage.web_searches) == ("end_turn", 1)


async def test_searches_are_counted_where_the_service_does_not(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    opened = searched(id="ws_3", kind="open_page", url="https://a.org")
    responses_server.will(answer(searched("a"), searched("b", id="ws_2"), opened, said("So.")))
    assert ending(await ask(responses)).usage.web_searches == 2


@pytest.mark.parametrize(
    ("step", "name", "told"),
    [
        (
            ran(
                "print(2 + 2)\n",
                {"type": "logs", "logs": "4\n"},
                {"type": "image", "url": "https://a.org/p.png"},
            ),
            "code_execution",
            "print(2 + 2)\n4\nhttps://a.org/p.png",
        ),
        (
            item(
                type="file_search_call",
                id="fs_1",
                status="completed",
                queries=["tides"],
                results=[{"file_id": "f", "filename": "sea.md", "score": 1.0, "text": "High\nat noon."}],
            ),
            "file_search",
            "file_search('tides')\nsea.md · High at noon.",
        ),
        (
            item(type="web_search_call", id="ws_1", status="failed", action={"type": "search", "query": "x"}),
            "web_search",
            "web_search('x')\nfailed",
        ),
        (
            item(type="image_generation_call", id="ig_1", status="completed", result="aGk="),
            "image_generation",
            "image_generation()",
        ),
    ],
)
async def test_steps_of_every_tool_are_told_in_words_and_kept_whole(
    responses_server: FakeResponses, responses: OpenAIModel, step: Item, name: str, told: str
) -> None:
    responses_server.will(answer(step))
    [made] = finished(await ask(responses))
    assert (made.name, made.text, made.raw) == (name, told, step.done)


async def test_what_is_not_known_is_passed_over(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    odd = {"type": "response.hologram.delta", "depth": 3}
    responses_server.will(Reply((odd, *HELLO.events[:3], odd, *HELLO.events[3:], odd)))
    assert finished(await ask(responses)) == [Text("Hello you there.")]


async def test_usage_that_is_not_reported_is_estimated_and_said_to_be(
    responses_server: FakeResponses, responses: OpenAIModel
) -> None:
    responses_server.will(answer(said("Hello you there."), usage=None))
    assert ending(await ask(responses)).usage == Usage(context().tokens, 4, estimated=True)


@pytest.mark.parametrize(
    ("reply", "kind", "retryable", "told"),
    [
        (status(401, "invalid_api_key", "wrong key"), "authentication", False, "check OPENAI_API_KEY"),
        (
            status(429, "rate_limit_exceeded", retry_after="7"),
            "rate_limit",
            True,
            "wait 7 s, then send again",
        ),
        (status(429, "insufficient_quota", "No credit."), "request", False, "want of credit"),
        (status(404, "model_not_found", "no such model"), "request", False, "check the model's id"),
        (failing(HELLO, 4, "server_error", "Internal"), "server", True, "failed on its side: Internal; send"),
        (failing(HELLO, 4, None, "Broken"), "server", True, "failed on its side: Broken"),
        (
            answer(said("So"), error={"code": "rate_limit_exceeded", "message": "Slow"}),
            "rate_limit",
            True,
            "its rate limit: Slow; wait a minute",
        ),
        (
            answer(error={"code": "invalid_image_url", "message": "No such picture."}),
            "request",
            False,
            "refused the request: No such picture; look at",
        ),
        (answer(error={"code": "invalid_prompt", "message": f"{KEY} x"}), "request", False, r"\[key\] x"),
        (broken(HELLO, 5, "cut"), "connection", True, "broke off in mid-answer"),
        (broken(HELLO, 5, "whole"), "stream", True, "before it was complete"),
        (answer(calling("f", '{"a": ')), "stream", True, "called f with an input"),
        (Reply((*HELLO.events[:4], {"type": "response.output_item.done"})), "stream", True, "cannot be read"),
    ],
)
async def test_every_failure_is_a_model_error_of_one_sentence(
    responses_server: FakeResponses,
    responses: OpenAIModel,
    reply: Reply,
    kind: str,
    retryable: bool,
    told: str,
) -> None:
    responses_server.will(reply)
    error = await failure(responses)
    assert (error.kind, error.retryable) == (kind, retryable)
    assert "openai:gpt-test-1" in str(error)
    assert re.search(told, str(error))


@pytest.mark.parametrize(
    ("words", "room"),
    [
        (
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            None,
        ),
        (
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
            8192,
        ),
    ],
)
async def test_a_context_that_is_too_long_is_said_with_the_limit(
    responses_server: FakeResponses, responses: OpenAIModel, words: str, room: int | None
) -> None:
    code = "context_length_exceeded"
    for reply in (status(400, code, words), failing(HELLO, 2, code, words)):
        responses_server.will(reply)
        error = await failure(responses)
        assert (error.too_long, error.room, error.retryable) == (True, room, False)


async def test_what_fails_before_anything_is_said_is_tried_again(
    responses_server: FakeResponses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbsession.models.retry.BACK_OFF", 0)
    responses_server.will(answer(error={"code": "server_error", "message": "Oh."}), HELLO)
    model = OpenAIModel("gpt-test-1", api="responses", base_url=responses_server.url, max_retries=1)
    assert finished(await ask(model)) == [Text("Hello you there.")]
    await model.aclose()
    assert len(responses_server.requests) == 2


def test_openai_itself_is_spoken_to_by_responses_and_others_by_chat_unless_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = OpenAIModel("gpt-6-sol")
    assert (model.api, "input" in model.request(context())) == ("responses", True)
    assert "messages" in OpenAIModel("gpt-6-sol", api="chat").request(context())
    there = OpenAIModel("tiny", base_url="https://models.example/v1")
    assert (there.api, there.capabilities.server_tools) == ("chat", False)
    assert OpenAIModel("tiny", base_url="https://models.example/v1", api="responses").api == "responses"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:9/v1")
    assert model.api == "chat"
    with pytest.raises(ModelError, match="api= of openai:x must be 'responses' or 'chat', got 'completions'"):
        OpenAIModel("x", api="completions")  # type: ignore[arg-type]  # what a user may write
