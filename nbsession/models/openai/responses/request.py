"""A compiled context in the syntax of the Responses API. Pure: nothing is loaded and nothing sent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbsession.content import (
    Block,
    Document,
    Image,
    Message,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from nbsession.errors import ModelError
from nbsession.models.media import check_image, text_of
from nbsession.models.openai.responses.server_tools import INCLUDED, tool_param
from nbsession.models.openai.settings import call_id, data_url, file_name, given_settings, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nbsession.content import ToolSpec
    from nbsession.context import CompiledContext

SETTINGS = (
    "max_tokens",
    "effort",
    "thinking",
    "verbosity",
    "tool_choice",
    "output_schema",
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "max_tool_calls",
    "prompt_cache_key",
    "cache_ttl",
    "metadata",
)
"""What ``Model(name, **settings)`` may set for a model of this API."""

CACHE_TTLS = ("30m", "12h")
"""How long what is cached is kept at least; the shorter is the default, the longer costs more to write."""

COUNTED = (
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
)
"""The fields of a request whose tokens can be counted before it is sent."""

_ELSEWHERE = '; Chat Completions has more: OpenAIModel(…, api="chat")'
# Other models refuse to be asked for their reasoning; ids read o<n>… and gpt-<n>….
_REASONING = re.compile(r"^(?:ft:)?(?:o\d|gpt-(?:[5-9]|\d\d)(?!.*-chat))")


def request_of(
    context: CompiledContext, model: str, *, max_tokens: int | None = None, name: str = ""
) -> dict[str, Any]:
    """Build the body of the request: the context, the model's id and the settings, no more.

    Nothing is kept at the service (``store``), so reasoning comes back encrypted and is sent
    again as it came, ahead of what followed it. ``name`` is the model's for messages. What
    this API has no field for: a failed tool result begins with ``Error:``, and citations are
    not sent. Raises
    ``ModelError`` of kind ``"request"`` for a setting this API does not know, a context
    without messages, and media and tools it does not take.
    """
    name = name or model
    if not context.messages:
        raise ModelError(
            f"the context for {name} has no messages; send one, or put User(...) into the tree",
            kind="request",
        )
    request: dict[str, Any] = {"model": model, "store": False}
    if system := "\n\n".join(part.text for part in context.system):
        request["instructions"] = system
    reasons = reasoning_is_told(model)
    request["input"] = [item for message in context.messages for item in _items(message, reasons=reasons)]
    if max_tokens is not None:
        request["max_output_tokens"] = max_tokens
    if context.tools:
        request["tools"] = [_tool(spec, name) for spec in context.tools]
    request.update(_settings(context, name))
    own = [spec for spec in context.tools if spec.name in INCLUDED and spec.options is not None]
    if bound := _most_uses(own, name):
        request.setdefault("max_tool_calls", bound)
    if reasons and context.settings.get("thinking") is None:
        request.setdefault("reasoning", {}).setdefault("summary", "auto")
    include = ["reasoning.encrypted_content"] if reasons or "reasoning" in request else []
    if include := include + [INCLUDED[spec.name] for spec in own]:
        request["include"] = include
    return request


def reasoning_is_told(model: str) -> bool:
    """Tell from a model's id whether it reasons, and may be asked for its reasoning; of other ids that is not known."""
    return _REASONING.match(model) is not None


def _settings(context: CompiledContext, model: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    reasoning: dict[str, Any] = {}
    text: dict[str, Any] = {}
    for name, value in given_settings(context.settings, SETTINGS, model, elsewhere=_ELSEWHERE).items():
        if name == "max_tokens":
            fields["max_output_tokens"] = value
        elif name == "effort":
            reasoning["effort"] = value
        elif name == "thinking":
            reasoning.update(_thinking(value, model))
        elif name == "verbosity":
            text["verbosity"] = value
        elif name == "output_schema":
            text["format"] = {"type": "json_schema", **schema_of(value)}
        elif name == "cache_ttl":
            if value not in CACHE_TTLS:
                raise ModelError(
                    f"cache_ttl for {model} must be {' or '.join(map(repr, CACHE_TTLS))}, got {value!r}",
                    kind="request",
                )
            fields["prompt_cache_options"] = {"ttl": value}
        elif name == "tool_choice":
            fields[name] = _tool_choice(value, context.tools, model)
        else:
            fields[name] = value
    if reasoning:
        fields["reasoning"] = reasoning
    if text:
        fields["text"] = text
    return fields


def _thinking(value: Any, model: str) -> Mapping[str, Any]:
    """``True`` and ``False``, the name of a kind of summary, or the API's own fields of reasoning."""
    if isinstance(value, bool):
        return {"summary": "auto"} if value else {}
    if isinstance(value, str):
        return {"summary": value}
    if isinstance(value, Mapping):
        return value
    raise ModelError(
        f"thinking for {model} must be True, False, a kind of summary ('auto'), or a dict of its reasoning's fields, "
        f"got {value!r}; how much it thinks is its effort",
        kind="request",
    )


def _tool_choice(value: Any, tools: Sequence[ToolSpec], model: str) -> Any:
    """``"auto"``, ``"any"``, ``"none"``, a tool's name, or the API's own form."""
    if not isinstance(value, str) or value in ("auto", "none", "required"):
        return value
    if value == "any":
        return "required"
    own = next((spec for spec in tools if spec.name == value and spec.options is not None), None)
    return {"type": "function", "name": value} if own is None else {"type": tool_param(own, model)["type"]}


def _tool(spec: ToolSpec, model: str) -> dict[str, Any]:
    if spec.options is not None:
        return tool_param(spec, model)
    # Left out, "strict" is true here, and refuses what Python's signatures may say.
    function: dict[str, Any] = {
        "type": "function",
        "name": spec.name,
        "description": spec.description,
        "parameters": dict(spec.input_schema),
        "strict": False,
    }
    if spec.deferred:
        function["defer_loading"] = True
    return function


def _most_uses(own: Sequence[ToolSpec], model: str) -> int:
    """Return the bound of all own tools' calls together, which is what this API has; 0 for none."""
    uses = [(spec.options or {}).get("max_uses") for spec in own]
    if any(uses) and not all(uses):
        named = ", ".join(spec.name for spec in own)
        raise ModelError(
            f"{model} bounds the uses of its tools ({named}) together only; "
            "give each of them max_uses, or all of them Model(max_tool_calls=…)",
            kind="request",
        )
    return sum(filter(None, uses))


def _items(message: Message, *, reasons: bool) -> Iterable[dict[str, Any]]:
    return _assistant(message, reasons=reasons) if message.role == "assistant" else _user(message)


def _assistant(message: Message, *, reasons: bool) -> Iterable[dict[str, Any]]:
    blocks = list(message.content)
    # A step may be refused where the reasoning that led to it was left out.
    bare = reasons and not any(isinstance(block, Thinking) for block in blocks)
    while blocks and isinstance(blocks[-1], Thinking):
        blocks.pop()  # reasoning that nothing followed is refused
    for block in blocks:
        if isinstance(block, Text):
            yield _said(block)
        elif isinstance(block, ServerTool) and bare:
            yield _said(Text(block.text))
        elif isinstance(block, ToolCall):
            arguments = json.dumps(dict(block.input), ensure_ascii=False)
            yield {
                "type": "function_call",
                "call_id": call_id(block.id),
                "name": block.name,
                "arguments": arguments,
            }
        elif isinstance(block, (Thinking, ServerTool)) and block.raw:
            yield dict(block.raw)


def _said(text: Text) -> dict[str, Any]:
    # With citations it would have to be named by an id that is known where nothing is kept.
    said: dict[str, Any] = {"type": "message", "role": "assistant", "content": text.text}
    if text.phase:
        said["phase"] = text.phase
    return said


def _user(message: Message) -> Iterable[dict[str, Any]]:
    """Give the tool results as items of their own, then the rest of the turn."""
    parts: list[dict[str, Any]] = []
    for block in message.content:
        if isinstance(block, ToolResult):
            yield {
                "type": "function_call_output",
                "call_id": call_id(block.call_id),
                "output": _output(block),
            }
        elif (part := _part(block)) is not None:
            parts.append(part)
    if parts:
        yield {"type": "message", "role": "user", "content": parts}


def _output(result: ToolResult) -> str | list[dict[str, Any]]:
    if all(isinstance(block, Text) for block in result.content):
        return f"Error: {result.text}" if result.is_error else result.text
    parts = [part for block in result.content if (part := _part(block)) is not None]
    return [{"type": "input_text", "text": "Error:"}, *parts] if result.is_error else parts


def _part(block: Block) -> dict[str, Any] | None:
    if isinstance(block, Text):
        return {"type": "input_text", "text": block.text}
    if isinstance(block, Image):
        place = {"file_id": block.file_id} if block.file_id else {"image_url": _image_url(block)}
        return {"type": "input_image", "detail": "auto", **place}
    if isinstance(block, Document):
        return _document(block)
    return None


def _image_url(image: Image) -> str:
    if image.url and not image.data:
        return image.url
    check_image(image)
    return data_url(image.media_type, image.data)


def _document(document: Document) -> dict[str, Any]:
    if document.file_id:
        return {"type": "input_file", "file_id": document.file_id}
    if document.url and not document.data:
        return {"type": "input_file", "file_url": document.url}
    if (text := text_of(document)) is not None:
        said = f"{document.title}\n\n{text}" if document.title else text
        return {"type": "input_text", "text": said}
    data = data_url(document.media_type, document.data)
    return {"type": "input_file", "filename": file_name(document.title), "file_data": data}
