"""The names of OpenTelemetry's semantic conventions for generative AI, and values written as they have them.

Source: https://github.com/open-telemetry/semantic-conventions-genai, as of October 2026; they are in development.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from nbsession.content import Document, Image, ServerTool, Text, Thinking, ToolCall, ToolResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nbsession.content import Block, Message, ToolSpec
    from nbsession.context import CompiledContext
    from nbsession.usage import Usage

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
AGENT = "gen_ai.agent.name"
CONVERSATION = "gen_ai.conversation.id"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
STREAM = "gen_ai.request.stream"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
FINISH_REASONS = "gen_ai.response.finish_reasons"
OLD_PROVIDER = "gen_ai.system"
OLD_CACHE_WRITE = "gen_ai.usage.cache_creation.input_tokens"
OUTPUT_TYPE = "gen_ai.output.type"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
TOOL_DEFINITIONS = "gen_ai.tool.definitions"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_CALL = "gen_ai.tool.call.id"
TOOL_DESCRIPTION = "gen_ai.tool.description"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"
ERROR_TYPE = "error.type"

ESTIMATED = "nbsession.usage.estimated"
"""Our own: whether the figures of a usage are estimates, as those of a simulated model."""

SETTINGS = {
    "effort": "gen_ai.request.reasoning.level",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "max_tokens": "gen_ai.request.max_tokens",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "stop_sequences": "gen_ai.request.stop_sequences",
    "temperature": "gen_ai.request.temperature",
    "top_k": "gen_ai.request.top_k",
    "top_p": "gen_ai.request.top_p",
}
"""A model's settings and their attributes."""

FINISHED = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "context_window": "length",
    "tool_use": "tool_call",
    "refusal": "content_filter",
}
"""Why a model stopped, in the words of the conventions; others stay as they are."""


def provider_and_model(name: str) -> tuple[str, str]:
    """Return the provider and the id that a model's name is made of; one without a provider is its own."""
    provider, colon, identifier = name.partition(":")
    return (provider, identifier) if colon else (name, name)


def plain(text: str) -> str:
    """Return a text that can be written as UTF-8: half characters become question marks."""
    return text.encode("utf-8", "replace").decode()


def usage_attributes(usage: Usage) -> dict[str, Any]:
    """Return what a usage says, without what is not used at all."""
    more = {
        CACHE_READ: usage.cache_read_tokens,
        CACHE_WRITE: usage.cache_write_tokens,
        REASONING_TOKENS: usage.thinking_tokens,
        ESTIMATED: usage.estimated,
    }
    used = {name: value for name, value in more.items() if value}
    return {INPUT_TOKENS: usage.input_tokens, OUTPUT_TOKENS: usage.output_tokens, **used}


def settings_attributes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a request that the conventions know; none of them is content."""
    known = {SETTINGS[name]: value for name, value in settings.items() if name in SETTINGS and _fits(value)}
    return {**known, **({OUTPUT_TYPE: "json"} if settings.get("output_schema") else {})}


def context_attributes(context: CompiledContext) -> dict[str, str]:
    """Return what is sent, as JSON texts: instructions, messages and tools."""
    attributes = {INPUT_MESSAGES: as_json([_message(message) for message in context.messages])}
    if context.system:
        instructions = [{"type": "text", "content": part.text} for part in context.system]
        attributes[SYSTEM_INSTRUCTIONS] = as_json(instructions)
    if context.tools:
        attributes[TOOL_DEFINITIONS] = as_json([_definition(tool) for tool in context.tools])
    return attributes


def output_message(blocks: Iterable[Block], finished: str) -> str:
    """Return an answer as a JSON text."""
    return as_json([{"role": "assistant", "parts": list(_parts(blocks)), "finish_reason": finished}])


def as_json(value: Any) -> str:
    """Write a value as JSON of ASCII signs; what is no JSON becomes its text."""
    return json.dumps(value, default=str)


def _fits(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(item, str) for item in value)
    return isinstance(value, (bool, int, float, str))


def _message(message: Message) -> dict[str, Any]:
    return {"role": message.role, "parts": list(_parts(message.content))}


def _parts(blocks: Iterable[Block]) -> Iterator[dict[str, Any]]:
    for block in blocks:
        if isinstance(block, Text):
            yield {"type": "text", "content": block.text}
        elif isinstance(block, Thinking):
            yield {"type": "reasoning", "content": block.text}
        elif isinstance(block, ToolCall):
            yield {"type": "tool_call", "id": block.id, "name": block.name, "arguments": dict(block.input)}
        elif isinstance(block, ToolResult):
            failed = {"is_error": True} if block.is_error else {}
            yield {"type": "tool_call_response", "id": block.call_id, "response": block.text, **failed}
            yield from _parts(item for item in block.content if not isinstance(item, Text))
        elif isinstance(block, ServerTool):
            kind = "server_tool_call_response" if block.is_result else "server_tool_call"
            yield {"type": kind, "id": block.call_id, "name": block.name, kind: dict(block.raw)}
        else:
            yield _file(block)


def _file(block: Image | Document) -> dict[str, Any]:
    modality = "image" if isinstance(block, Image) else "document"
    about = {"modality": modality, "mime_type": block.media_type}
    if block.url:
        return {"type": "uri", **about, "uri": block.url}
    return {"type": "blob", **about, "content": base64.b64encode(block.data).decode("ascii")}


def _definition(tool: ToolSpec) -> dict[str, Any]:
    if tool.options is not None:
        return {"type": "server_tool", "name": tool.name, **tool.options}
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.input_schema),
    }
