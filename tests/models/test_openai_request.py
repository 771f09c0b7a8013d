from __future__ import annotations

import base64
from typing import Any

import pytest

from nbsession.content import (
    Document,
    Image,
    Message,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from nbsession.context import context_of
from nbsession.errors import ModelError
from nbsession.models.openai.chat.request import SETTINGS, request_of

NOTE = ToolSpec("add_note", "Keep a note.", {"type": "object", "properties": {"note": {"type": "string"}}})
PIXELS = base64.b64encode(b"pixels").decode()
PICTURE = Image("image/png", b"pixels", alt="a cat")


def user(*blocks: Any) -> Message:
    return Message("user", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def assistant(*blocks: Any) -> Message:
    return Message("assistant", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def request(*messages: Message, **settings: Any) -> dict[str, Any]:
    return request_of(context_of([], messages or [user("Hi")], settings=settings), "gpt-test-1")


def test_a_request_holds_the_context_and_no_more() -> None:
    context = context_of(["You are kind.", "Be brief."], [user("Hi", "There")], [NOTE])
    assert request_of(context, "gpt-test-1") == {
        "model": "gpt-test-1",
        "messages": [
            {"role": "system", "content": "You are kind.\n\nBe brief."},
            {"role": "user", "content": "Hi\n\nThere"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "add_note",
                    "description": "Keep a note.",
                    "parameters": NOTE.input_schema,
                },
            }
        ],
    }


def test_calls_and_results_become_messages_of_their_own_and_keep_their_ids() -> None:
    calls = [ToolCall("call_1", "add_note", {"note": "ü"}), ToolCall("toolu_2", "add_note", {})]
    results = [
        ToolResult("call_1", "add_note", (Text("Noted."), Text("Twice."))),
        ToolResult("toolu_2", "add_note", (Text("no note"),), is_error=True),
    ]
    sent = request(user("Hi"), assistant("So:", *calls), user(*results, "And now?"))
    assert sent["messages"][1:] == [
        {
            "role": "assistant",
            "content": "So:",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "add_note", "arguments": '{"note": "ü"}'},
                },
                {"id": "toolu_2", "type": "function", "function": {"name": "add_note", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "Noted.\nTwice."},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "Error: no note"},
        {"role": "user", "content": "And now?"},
    ]


def test_an_id_longer_than_this_api_takes_is_shortened_in_call_and_result_alike() -> None:
    call = ToolCall("toolu_" + "x" * 60, "add_note", {})
    sent = request(user("Hi"), assistant(call), user(ToolResult(call.id, "add_note", ())))
    [made] = sent["messages"][1]["tool_calls"]
    assert len(made["id"]) <= 40
    assert sent["messages"][2]["tool_call_id"] == made["id"]


def test_thinking_of_another_provider_is_left_out() -> None:
    thinking = Thinking("Hm.", {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"})
    sent = request(user("Hi"), assistant(thinking, "Yes."), user("Why?"), assistant(thinking), user("Say!"))
    assert [(item["role"], item["content"]) for item in sent["messages"]] == [
        ("user", "Hi"),
        ("assistant", "Yes."),
        ("user", "Why?"),
        ("user", "Say!"),
    ]


def test_pictures_go_in_by_bytes_or_by_url() -> None:
    elsewhere = Image("", url="https://example.org/cat.png")
    [message] = request(user(PICTURE, "What is it?", elsewhere))["messages"]
    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXELS}"}},
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
    ]


def test_a_picture_in_a_result_is_named_there_and_follows_all_results() -> None:
    calls = [ToolCall("call_1", "draw", {}), ToolCall("call_2", "add_note", {})]
    results = [
        ToolResult("call_1", "draw", (Text("Drawn."), PICTURE)),
        ToolResult("call_2", "add_note", (Text("Noted."),)),
    ]
    sent = request(user("Hi"), assistant(*calls), user(*results, "Nice?"))
    assert [item["role"] for item in sent["messages"]] == ["user", "assistant", "tool", "tool", "user"]
    assert sent["messages"][2]["content"] == "Drawn.\n[image: a cat]"
    assert [part["type"] for part in sent["messages"][4]["content"]] == ["image_url", "text"]


def test_documents_go_in_as_files_or_as_text() -> None:
    [message] = request(user(Document("application/pdf", b"pixels", title="Paper")))["messages"]
    file = {"filename": "Paper.pdf", "file_data": f"data:application/pdf;base64,{PIXELS}"}
    assert message["content"] == [{"type": "file", "file": file}]
    [message] = request(user(Document("text/csv", b"a,b", title="Table"), "Sum?"))["messages"]
    assert message["content"] == "Table\n\na,b\n\nSum?"


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (Image("image/tiff", b"x"), "models take image/png"),
        (Document("application/zip", b"x"), "models take PDF and text"),
        (Document("application/pdf", url="https://example.org/a.pdf"), "by their bytes only; load it first"),
    ],
)
def test_media_that_this_api_does_not_take_are_named(block: Image | Document, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        request(user(block))


def test_settings_take_the_names_of_this_api() -> None:
    sent = request(effort="low", stop_sequences=["END"], temperature=0.5, max_tokens=99, seed=None)
    del sent["messages"]
    assert sent == {
        "model": "gpt-test-1",
        "reasoning_effort": "low",
        "stop": ["END"],
        "temperature": 0.5,
        "max_tokens": 99,
    }


def test_the_bound_of_an_answer_is_spelled_as_the_server_has_it_and_the_tree_wins() -> None:
    context = context_of([], [user("Hi")], settings={"max_tokens": 5})
    sent = request_of(context, "gpt-test-1", max_tokens=9, limit_name="max_completion_tokens")
    assert (sent["max_completion_tokens"], "max_tokens" in sent) == (5, False)
    sent = request_of(context_of([], [user("Hi")]), "gpt-test-1", max_tokens=9)
    assert sent["max_tokens"] == 9


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("any", "required"),
        ("none", "none"),
        ("add_note", {"type": "function", "function": {"name": "add_note"}}),
    ],
)
def test_a_tool_may_be_asked_for(choice: str, sent: Any) -> None:
    assert request(tool_choice=choice)["tool_choice"] == sent


def test_a_schema_is_strict_where_it_can_be() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer", "default": 1}}}
    assert request(output_schema=schema)["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "output",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {"x": {"type": "integer"}},
                "required": ["x"],
                "additionalProperties": False,
            },
        },
    }
    free = {"type": "object", "additionalProperties": {"type": "integer"}}
    held = request(output_schema=free)["response_format"]["json_schema"]
    assert held == {"name": "output", "strict": False, "schema": free}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"efort": "low"}, "gpt-test-1 has no setting 'efort', got 'low'; did you mean 'effort'"),
        ({"max_tokens": 0}, "max_tokens for gpt-test-1 must be a positive whole number, got 0"),
        ({"max_tokens": True}, "must be a positive whole number, got True"),
    ],
)
def test_a_setting_that_is_wrong_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        request(**settings)


def test_every_setting_is_taken() -> None:
    values = {"max_tokens": 9, "output_schema": {"type": "object"}, "tool_choice": "auto"}
    assert len(request(**{name: values.get(name, "x") for name in SETTINGS})) == 2 + len(SETTINGS)


def test_a_tool_that_another_provider_would_run_is_refused() -> None:
    search = ToolSpec("web_search", "", {}, {"max_uses": 3})
    with pytest.raises(ModelError, match="gpt-test-1 has no tool 'web_search' of its own"):
        request_of(context_of([], [user("Hi")], [search]), "gpt-test-1")


def test_what_another_provider_ran_and_cited_is_left_out() -> None:
    step = ServerTool("srv_1", "web_search", "web_search(query='x')", {"type": "server_tool_use"})
    sent = request(user("Hi"), assistant(step, Text("Found.", ({"type": "char_location"},))))
    assert sent["messages"][1] == {"role": "assistant", "content": "Found."}


def test_a_context_without_messages_is_refused() -> None:
    with pytest.raises(ModelError, match="has no messages; send one"):
        request_of(context_of(["You are kind."]), "gpt-test-1")
