from __future__ import annotations

import base64
from typing import Any

import pytest

from nbsession.content import Document, Image, Message, Text, Thinking, ToolCall, ToolResult, ToolSpec
from nbsession.context import CompiledContext, Part, context_of
from nbsession.errors import ModelError
from nbsession.models.anthropic.request import SETTINGS, request_of, takes_adaptive_thinking

CACHED = {"type": "ephemeral"}
NOTE = ToolSpec("add_note", "Keep a note.", {"type": "object", "properties": {"note": {"type": "string"}}})


def user(*blocks: Any) -> Message:
    return Message("user", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def assistant(*blocks: Any) -> Message:
    return Message("assistant", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def request(*messages: Message, **settings: Any) -> dict[str, Any]:
    return request_of(
        context_of([], messages or [user("Hi")], settings=settings), "claude-test-1", caching=False
    )


def marks(data: Any) -> int:
    """Count the cache marks anywhere in a request."""
    if isinstance(data, dict):
        return ("cache_control" in data) + sum(marks(value) for value in data.values())
    return sum(marks(item) for item in data) if isinstance(data, list) else 0


def test_a_request_holds_the_context_and_no_more() -> None:
    context = context_of(["You are kind.", "Be brief."], [user("Hi")], [NOTE])
    assert request_of(context, "claude-test-1", max_tokens=99, caching=False) == {
        "model": "claude-test-1",
        "max_tokens": 99,
        "system": [{"type": "text", "text": "You are kind.\n\nBe brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "tools": [NOTE.to_dict()],
    }


def test_a_tool_call_and_its_result_keep_their_id() -> None:
    call = ToolCall("toolu_7", "add_note", {"note": "x"})
    result = ToolResult("toolu_7", "add_note", (Text("Noted."),))
    messages = request(user("Hi"), assistant(call), user(result))["messages"]
    assert messages[1]["content"] == [
        {"type": "tool_use", "id": "toolu_7", "name": "add_note", "input": {"note": "x"}}
    ]
    assert messages[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "toolu_7", "content": [{"type": "text", "text": "Noted."}]}
    ]


def test_a_failed_tool_is_marked_and_blank_results_hold_nothing() -> None:
    failed = ToolResult("toolu_7", "add_note", (Text(" "),), is_error=True, status="error")
    sent = request(user("Hi"), assistant(ToolCall("toolu_7", "add_note", {})), user(failed))
    assert sent["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "toolu_7", "is_error": True}
    ]


def test_thinking_goes_back_as_the_provider_sent_it() -> None:
    raw = {"type": "thinking", "thinking": "Hm  \n", "signature": "c2ln", "extra": 1}
    sent = request(user("Hi"), assistant(Thinking("Hm  \n", raw), Thinking("unsigned"), "Yes."), user("So?"))
    assert sent["messages"][1]["content"] == [raw, {"type": "text", "text": "Yes."}]


def test_pictures_and_documents_are_sent_by_bytes_or_by_url() -> None:
    data = base64.b64encode(b"bytes").decode()
    content = request(
        user(
            Image("image/png", b"bytes"),
            Image("", url="https://example.org/a.png"),
            Document("application/pdf", b"bytes", title="A paper"),
            Document("text/markdown", "Grüße".encode()),
            Document("", url="https://example.org/a.pdf"),
        )
    )["messages"][0]["content"]
    assert content == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": data},
            "title": "A paper",
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
    ]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (
            Image("image/tiff", b"x", alt="a scan"),
            r"\[image: a scan\] is of type 'image/tiff'.*convert it to PNG",
        ),
        (Document("application/zip", b"x"), "is of type 'application/zip'.*PDF and text"),
    ],
)
def test_media_that_no_model_takes_are_refused_with_a_remedy(block: Image | Document, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        request(user(block))
    assert caught.value.kind == "request"


def test_settings_become_fields_of_the_api() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False, "required": []}
    sent = request(
        max_tokens=5,
        effort="low",
        output_schema=schema,
        stop_sequences="END",
        tool_choice="add_note",
        thinking=False,
    )
    assert {name: sent[name] for name in sent if name not in ("model", "messages")} == {
        "max_tokens": 5,
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": schema}},
        "stop_sequences": ["END"],
        "tool_choice": {"type": "tool", "name": "add_note"},
        "thinking": {"type": "disabled"},
    }


def test_a_setting_of_none_is_not_set() -> None:
    assert request(**dict.fromkeys(SETTINGS)) == {**request()}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": 0.3}, "claude-test-1 has no setting 'temperature', got 0.3; known: 'max_tokens'"),
        ({"efort": "low"}, "did you mean 'effort'"),
        ({"max_tokens": 0}, "max_tokens for claude-test-1 must be a positive whole number, got 0"),
        ({"max_tokens": True}, "got True"),
    ],
)
def test_a_setting_that_is_not_known_or_wrong_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        request(**settings)


@pytest.mark.parametrize(
    ("model", "adaptive"),
    [
        ("claude-sonnet-5-5", True),
        ("claude-opus-5", True),
        ("claude-opus-4-6", True),
        ("claude-haiku-12", True),
        ("claude-haiku-4-5-20251001", False),
        ("claude-opus-4-20250514", False),
        ("claude-3-5-haiku-20241022", False),
        ("qwen3:8b", False),
    ],
)
def test_models_that_think_adaptively_are_asked_for_readable_thinking(model: str, adaptive: bool) -> None:
    sent = request_of(context_of([], [user("Hi")]), model)
    assert takes_adaptive_thinking(model) is adaptive
    assert sent.get("thinking") == ({"type": "adaptive", "display": "summarized"} if adaptive else None)


def test_a_context_without_messages_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ModelError, match="has no messages; send one, or put User"):
        request_of(context_of(["System only."]), "claude-test-1")


def test_cache_marks_stand_at_the_ends_of_what_comes_again() -> None:
    context = context_of(["System."], [user("One"), assistant("Two"), user("Three")], [NOTE])
    sent = request_of(context, "claude-test-1")
    assert sent["system"][-1]["cache_control"] == CACHED
    assert [message["content"][-1].get("cache_control") for message in sent["messages"]] == [
        CACHED,
        None,
        CACHED,
    ]
    assert marks(sent) == 3


def test_without_a_system_prompt_the_tools_are_marked() -> None:
    sent = request_of(context_of([], [user("Hi")], [NOTE]), "claude-test-1")
    assert sent["tools"][-1]["cache_control"] == CACHED
    assert marks(sent) == 2


def test_what_stands_before_trailing_context_is_marked_too() -> None:
    entry = Part("message", "Timeline", "Hi", role="user", blocks=(Text("Hi"),))
    before = Part("message", "Timeline", "Before", key="0", role="user", blocks=(Text("Before"),))
    reply = Part("message", "Timeline", "Yes", key="1", role="assistant", blocks=(Text("Yes"),))
    context = CompiledContext(
        [Part("system", "System", "S")],
        [before, reply, entry, Part("section", "Section", "The time is now.")],
    )
    sent = request_of(context, "claude-test-1")
    assert [block.get("cache_control") for block in sent["messages"][-1]["content"]] == [CACHED, CACHED]
    assert marks(sent) == 4


def test_marking_for_the_cache_leaves_the_context_as_it_is() -> None:
    context = context_of(["System."], [user("Hi")], [NOTE])
    before = context.hash
    assert request_of(context, "claude-test-1") == request_of(context, "claude-test-1")
    assert "cache_control" not in NOTE.to_dict()
    assert context_of(["System."], [user("Hi")], [NOTE]).hash == before
