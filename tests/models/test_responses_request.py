from __future__ import annotations

import base64
from typing import Any

import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import ConfigDict, TypeAdapter

from nbsession import CodeExecution, FileSearch, WebFetch, WebSearch
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
from nbsession.models.openai.responses.request import SETTINGS, request_of

NOTE = ToolSpec("add_note", "Keep a note.", {"type": "object", "properties": {"note": {"type": "string"}}})
PIXELS = base64.b64encode(b"pixels").decode()
PICTURE = Image("image/png", b"pixels", alt="a cat")
REASONED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbGVk"}


def user(*blocks: Any) -> Message:
    return Message("user", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def assistant(*blocks: Any) -> Message:
    return Message("assistant", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def request(
    *messages: Message, tools: Any = (), model: str = "gpt-test-1", **settings: Any
) -> dict[str, Any]:
    sent = request_of(context_of([], messages or [user("Hi")], tools, settings=settings), model)
    _PARAMS.validate_python({**sent, "stream": True})
    return sent


class _Params(ResponseCreateParamsStreaming):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # as pydantic has it


_PARAMS = TypeAdapter(_Params)


def test_a_request_holds_the_context_and_no_more() -> None:
    context = context_of(["You are kind.", "Be brief."], [user("Hi", "There")], [NOTE])
    assert request_of(context, "gpt-test-1") == {
        "model": "gpt-test-1",
        "store": False,
        "instructions": "You are kind.\n\nBe brief.",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hi"}, {"type": "input_text", "text": "There"}],
            }
        ],
        "tools": [
            {
                "type": "function",
                "name": "add_note",
                "description": "Keep a note.",
                "parameters": NOTE.input_schema,
                "strict": False,
            }
        ],
    }


@pytest.mark.parametrize("model", ["o3", "gpt-5", "gpt-5-mini-2025-08-07", "gpt-6.1-sol", "ft:o4-mini:us::x"])
def test_a_model_that_reasons_is_asked_for_its_reasoning_sealed_and_in_summary(model: str) -> None:
    sent = request(model=model)
    assert (sent["include"], sent["reasoning"]) == (["reasoning.encrypted_content"], {"summary": "auto"})
    assert request(model=model, thinking=False, effort="low")["reasoning"] == {"effort": "low"}
    assert request(model=model, thinking="detailed")["reasoning"] == {"summary": "detailed"}
    assert request(model=model, thinking={"context": "all_turns"})["reasoning"] == {"context": "all_turns"}
    assert request(model=model, thinking=False)["include"] == ["reasoning.encrypted_content"]


@pytest.mark.parametrize(
    "model", ["gpt-4o-mini", "gpt-4.1", "gpt-5-chat-latest", "gpt-oss-120b", "deployment-7"]
)
def test_other_models_which_would_refuse_it_are_not(model: str) -> None:
    sent = request(model=model)
    assert sent.keys() == {"model", "store", "input"}
    asked = request(model=model, effort="low")
    assert (asked["reasoning"], asked["include"]) == ({"effort": "low"}, ["reasoning.encrypted_content"])


def test_reasoning_goes_back_as_it_came_before_the_call_that_it_led_to() -> None:
    call, result = (
        ToolCall("call_1", "add_note", {"note": "ü"}),
        ToolResult("call_1", "add_note", (Text("Noted."),)),
    )
    sent = request(user("Hi"), assistant(Thinking("Hm.", REASONED), "So:", call), user(result, "And now?"))
    assert sent["input"][1:] == [
        REASONED,
        {"type": "message", "role": "assistant", "content": "So:"},
        {"type": "function_call", "call_id": "call_1", "name": "add_note", "arguments": '{"note": "ü"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "Noted."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And now?"}]},
    ]


def test_reasoning_that_nothing_followed_is_left_out() -> None:
    sent = request(user("Hi"), assistant("Yes.", Thinking("Hm.", REASONED)), user("Go on"))
    assert [item.get("role") for item in sent["input"]] == ["user", "assistant", "user"]
    assert request(user("Hi"), assistant(Thinking("", REASONED)), user("Go on"))["input"][1]["role"] == "user"


def test_results_hold_pictures_and_files_and_say_that_they_are_errors() -> None:
    calls = [ToolCall("call_1", "draw", {}), ToolCall("call_2", "draw", {}), ToolCall("call_3", "draw", {})]
    paper = Document("application/pdf", b"pixels", title="Paper")
    results = [
        ToolResult("call_1", "draw", (Text("Drawn."), PICTURE, paper)),
        ToolResult("call_2", "draw", (Text("no ink"),), is_error=True),
        ToolResult("call_3", "draw", (PICTURE,), is_error=True),
    ]
    outputs = [item["output"] for item in request(user("Hi"), assistant(*calls), user(*results))["input"][4:]]
    shown = {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PIXELS}"}
    file = {
        "type": "input_file",
        "filename": "Paper.pdf",
        "file_data": f"data:application/pdf;base64,{PIXELS}",
    }
    assert outputs == [
        [{"type": "input_text", "text": "Drawn."}, shown, file],
        "Error: no ink",
        [{"type": "input_text", "text": "Error:"}, shown],
    ]


def test_media_go_in_by_bytes_by_url_or_as_text() -> None:
    elsewhere = Image("", url="https://example.org/cat.png")
    paper = Document("application/pdf", url="https://example.org/a.pdf")
    table = Document("text/csv", b"a,b", title="Table")
    [message] = request(user(elsewhere, paper, table))["input"]
    assert message["content"] == [
        {"type": "input_image", "detail": "auto", "image_url": "https://example.org/cat.png"},
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
        {"type": "input_text", "text": "Table\n\na,b"},
    ]


def test_an_id_longer_than_this_api_takes_is_shortened_in_call_and_result_alike() -> None:
    call = ToolCall("toolu_" + "x" * 60, "add_note", {})
    sent = request(user("Hi"), assistant(call), user(ToolResult(call.id, "add_note", ())))
    assert len(sent["input"][1]["call_id"]) <= 40
    assert sent["input"][2]["call_id"] == sent["input"][1]["call_id"]


def test_settings_take_the_names_of_this_api() -> None:
    sent = request(
        effort="low",
        verbosity="high",
        max_tokens=99,
        temperature=0.5,
        prompt_cache_key="notes",
        metadata=None,
    )
    del sent["input"]
    assert sent == {
        "model": "gpt-test-1",
        "store": False,
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "high"},
        "max_output_tokens": 99,
        "temperature": 0.5,
        "prompt_cache_key": "notes",
        "include": ["reasoning.encrypted_content"],
    }
    assert request_of(context_of([], [user("Hi")]), "x", max_tokens=9)["max_output_tokens"] == 9


def test_every_setting_is_taken() -> None:
    values: dict[str, Any] = {
        "max_tokens": 9,
        "max_tool_calls": 3,
        "effort": "low",
        "thinking": "detailed",
        "verbosity": "low",
        "output_schema": {"type": "object"},
        "tool_choice": "auto",
        "temperature": 0.1,
        "top_p": 0.5,
        "parallel_tool_calls": True,
        "metadata": {"a": "b"},
        "cache_ttl": "12h",
    }
    sent = request(**{name: values.get(name, "x") for name in SETTINGS})
    assert sent["reasoning"] == {"effort": "low", "summary": "detailed"}
    assert sent["text"].keys() == {"verbosity", "format"}
    # effort and thinking are one field, so are verbosity and the schema; include is one more.
    assert len(sent) == 3 + len(SETTINGS) - 2 + 1


def test_a_schema_is_strict_where_it_can_be() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer", "default": 1}}}
    assert request(output_schema=schema)["text"]["format"] == {
        "type": "json_schema",
        "name": "output",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"x": {"type": "integer"}},
            "required": ["x"],
            "additionalProperties": False,
        },
    }
    free = {"type": "object", "additionalProperties": {"type": "integer"}}
    held = request(output_schema=free)["text"]["format"]
    assert held == {"type": "json_schema", "name": "output", "strict": False, "schema": free}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("any", "required"),
        ("none", "none"),
        ("add_note", {"type": "function", "name": "add_note"}),
        ("code_execution", {"type": "code_interpreter"}),
    ],
)
def test_a_tool_may_be_asked_for(choice: str, sent: Any) -> None:
    assert request(tools=[NOTE, CodeExecution().spec], tool_choice=choice)["tool_choice"] == sent


def test_the_tools_of_the_provider_are_those_of_the_tree() -> None:
    tools = [
        WebSearch(max_uses=2, allowed_domains=["example.org"], location={"city": "Kiel"}).spec,
        CodeExecution().spec,
        FileSearch(["vs_1"], max_results=3).spec,
    ]
    with pytest.raises(
        ModelError, match=r"\(web_search, code_execution, file_search\) together only; give each"
    ):
        request(tools=tools)
    tools[0] = WebSearch(allowed_domains=["example.org"], location={"city": "Kiel"}).spec
    sent = request(tools=tools, max_tool_calls=4)
    assert sent["tools"] == [
        {
            "type": "web_search",
            "filters": {"allowed_domains": ["example.org"]},
            "user_location": {"type": "approximate", "city": "Kiel"},
        },
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "file_search", "vector_store_ids": ["vs_1"], "max_num_results": 3},
    ]
    assert sent["include"] == [
        "web_search_call.action.sources",
        "code_interpreter_call.outputs",
        "file_search_call.results",
    ]
    assert sent["max_tool_calls"] == 4


def test_uses_of_its_tools_are_bounded_together() -> None:
    assert request(tools=[WebSearch(max_uses=2).spec, NOTE])["max_tool_calls"] == 2


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        (WebFetch(), "has no tool 'web_fetch' of its own; it has code_execution, file_search, tool_search"),
        (WebSearch(blocked_domains=["a.org"]), r"has no blocked_domains, got \['a.org'\]; name those"),
    ],
)
def test_what_the_provider_has_not_is_named(tool: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        request(tools=[tool.spec])


def test_steps_of_its_tools_go_back_as_they_came_and_texts_with_their_phase() -> None:
    raw = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    }
    cited = {"type": "url_citation", "url": "https://a.org", "title": "A", "start_index": 0, "end_index": 5}
    step = ServerTool("ws_1", "web_search", "web_search('x')", raw, is_result=True)
    sent = request(user("Hi"), assistant(step, Text("Found.", (cited,), "final_answer")))
    assert sent["input"][1:] == [
        raw,
        {"type": "message", "role": "assistant", "content": "Found.", "phase": "final_answer"},
    ]


def test_a_step_whose_reasoning_was_left_out_is_text_to_a_model_that_reasons() -> None:
    raw = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    }
    step = ServerTool("ws_1", "web_search", "web_search('x')", raw, is_result=True)
    said = {"type": "message", "role": "assistant", "content": "web_search('x')"}
    assert request(user("Hi"), assistant(step), model="gpt-6-sol")["input"][1] == said
    assert request(user("Hi"), assistant(Thinking("", REASONED), step), model="gpt-6-sol")["input"][2] == raw
    assert request(user("Hi"), assistant(step), model="gpt-4.1")["input"][1] == raw


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"efort": "low"}, "gpt-test-1 has no setting 'efort', got 'low'; did you mean 'effort'"),
        ({"stop_sequences": ["END"]}, r'Chat Completions has more: OpenAIModel\(…, api="chat"\)'),
        ({"max_tokens": 0}, "max_tokens for gpt-test-1 must be a positive whole number, got 0"),
    ],
)
def test_a_setting_that_is_wrong_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        request(**settings)


@pytest.mark.parametrize("thinking", [1024, ["auto"]])
def test_thinking_that_is_none_of_this_api_s_says_what_it_may_be(thinking: Any) -> None:
    with pytest.raises(ModelError, match=r"thinking for .* must be True, False, .* is its effort"):
        request(model="gpt-5", thinking=thinking)


def test_a_context_without_messages_is_refused() -> None:
    with pytest.raises(ModelError, match="has no messages; send one"):
        request_of(context_of(["You are kind."]), "gpt-test-1")
