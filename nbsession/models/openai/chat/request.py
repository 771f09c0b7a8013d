"""A compiled context in the syntax of Chat Completions. Pure: nothing is loaded and nothing sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nbsession.content import Block, Document, Image, Message, Text, ToolCall, ToolResult
from nbsession.errors import ModelError
from nbsession.models.media import check_image, text_of
from nbsession.models.openai.settings import call_id, data_url, file_name, given_settings, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbsession.content import ToolSpec
    from nbsession.context import CompiledContext

SETTINGS = (
    "max_tokens",
    "effort",
    "stop_sequences",
    "tool_choice",
    "output_schema",
    "temperature",
    "top_p",
    "seed",
    "verbosity",
    "parallel_tool_calls",
    "prompt_cache_key",
    "metadata",
    "service_tier",
)
"""What ``Model(name, **settings)`` may set for a model of this API."""

_RENAMED = {"effort": "reasoning_effort", "stop_sequences": "stop"}


def request_of(
    context: CompiledContext, model: str, *, max_tokens: int | None = None, limit_name: str = "max_tokens"
) -> dict[str, Any]:
    """Build the body of the request: the context, the model's id and the settings, no more.

    ``limit_name`` is how the server spells the bound of an answer. What this API
    has no field for: a failed tool result begins with ``Error:``; a picture or
    document in one is named there, and follows in the user turn; thinking is not
    sent. Raises ``ModelError`` of kind ``"request"`` for a setting this API does
    not know, a context without messages, and media it does not take.
    """
    if not context.messages:
        raise ModelError(
            f"the context for {model} has no messages; send one, or put User(...) into the tree",
            kind="request",
        )
    messages: list[dict[str, Any]] = []
    if system := "\n\n".join(part.text for part in context.system):
        messages.append({"role": "system", "content": system})
    for message in context.messages:
        messages += _assistant(message) if message.role == "assistant" else _user(message)
    request: dict[str, Any] = {"model": model, "messages": messages}
    if max_tokens is not None:
        request[limit_name] = max_tokens
    if context.tools:
        request["tools"] = [_tool(spec, model) for spec in context.tools]
    request.update(_settings(context.settings, model, limit_name))
    return request


def _settings(settings: Mapping[str, Any], model: str, limit_name: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in given_settings(settings, SETTINGS, model).items():
        if name == "max_tokens":
            fields[limit_name] = value
        elif name == "output_schema":
            fields["response_format"] = {"type": "json_schema", "json_schema": schema_of(value)}
        elif name == "tool_choice":
            fields[name] = _tool_choice(value)
        else:
            fields[_RENAMED.get(name, name)] = value
    return fields


def _tool_choice(value: Any) -> Any:
    """``"auto"``, ``"any"``, ``"none"``, a tool's name, or the API's own form."""
    if not isinstance(value, str) or value in ("auto", "none", "required"):
        return value
    return "required" if value == "any" else {"type": "function", "function": {"name": value}}


def _tool(spec: ToolSpec, model: str) -> dict[str, Any]:
    if spec.options is not None:
        raise ModelError(
            f"{model} has no tool {spec.name!r} of its own by Chat Completions; take it out of the tree, "
            'or use a model that has it (OpenAI\'s by api="responses")',
            kind="request",
        )
    function = {"name": spec.name, "description": spec.description, "parameters": dict(spec.input_schema)}
    return {"type": "function", "function": function}


def _assistant(message: Message) -> Iterable[dict[str, Any]]:
    calls = [
        {
            "id": call_id(block.id),
            "type": "function",
            "function": {
                "name": block.name,
                "arguments": json.dumps(dict(block.input), ensure_ascii=False),
            },
        }
        for block in message.content
        if isinstance(block, ToolCall)
    ]
    if not calls and not message.text:
        return []  # a turn of thinking alone has nothing that could be sent here
    # Some servers want the field even where calls stand alone.
    data: dict[str, Any] = {"role": "assistant", "content": message.text or None}
    if calls:
        data["tool_calls"] = calls
    return [data]


def _user(message: Message) -> Iterable[dict[str, Any]]:
    """Give the tool results as messages of their own, then the rest of the turn."""
    rest: list[Block] = []
    for block in message.content:
        if not isinstance(block, ToolResult):
            rest.append(block)
            continue
        text = block.text
        yield {
            "role": "tool",
            "tool_call_id": call_id(block.call_id),
            "content": f"Error: {text}" if block.is_error else text,
        }
    media = [
        item
        for block in message.content
        if isinstance(block, ToolResult)
        for item in block.content
        if not isinstance(item, Text)
    ]
    parts = [part for block in (*media, *rest) if (part := _part(block)) is not None]
    if not parts:
        return
    texts = [part["text"] for part in parts if part["type"] == "text"]
    # Some servers' templates take a turn of text as a string only.
    yield {"role": "user", "content": "\n\n".join(texts) if len(texts) == len(parts) else parts}


def _part(block: Block) -> dict[str, Any] | None:
    if isinstance(block, Text):
        return {"type": "text", "text": block.text}
    if isinstance(block, Image):
        return {"type": "image_url", "image_url": {"url": _image_url(block)}}
    if isinstance(block, Document):
        return _document(block)
    return None


def _image_url(image: Image) -> str:
    if image.file_id:
        raise ModelError(
            f"{image} is given by its id, and this API takes pictures by their bytes or a URL; load it first",
            kind="request",
        )
    if image.url and not image.data:
        return image.url
    check_image(image)
    return data_url(image.media_type, image.data)


def _document(document: Document) -> dict[str, Any]:
    if document.file_id:
        return {"type": "file", "file": {"file_id": document.file_id}}
    if document.url and not document.data:
        raise ModelError(
            f"{document} is given by its URL, and this API takes documents by their bytes only; load it first",
            kind="request",
        )
    if (text := text_of(document)) is not None:
        return {"type": "text", "text": f"{document.title}\n\n{text}" if document.title else text}
    data = data_url(document.media_type, document.data)
    return {"type": "file", "file": {"filename": file_name(document.title), "file_data": data}}
