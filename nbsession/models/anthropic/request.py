"""A compiled context in the syntax of the Messages API. Pure: nothing is loaded and nothing sent."""

from __future__ import annotations

import re
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
from nbsession.errors import ModelError, did_you_mean
from nbsession.models.anthropic.closed_schema import closed
from nbsession.models.anthropic.context_editing import FIELD as CONTEXT_EDITING
from nbsession.models.anthropic.context_editing import edits_of
from nbsession.models.anthropic.server_tools import OWN_TOOLS, tool_param
from nbsession.models.media import base64_of, check_image, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.context import CompiledContext

DEFAULT_MAX_TOKENS = 16_384
"""Tokens of one answer, thinking included, where no setting says otherwise."""

SETTINGS = (
    "max_tokens",
    "effort",
    "thinking",
    "stop_sequences",
    "tool_choice",
    "output_schema",
    "citations",
    "cache_ttl",
    "context_management",
    "metadata",
    "service_tier",
)
"""What ``Model(name, **settings)`` may set for a model of this API."""

CACHE_TTLS = ("5m", "1h")
"""How long what is marked for the cache is kept; the shorter is the default, the longer costs more to write."""

COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config")
"""The fields of a request whose tokens can be counted before it is sent."""

# Adaptive thinking came with 4.6; ids read claude-<family>-<major>[-<minor>][-<date>].
_VERSION = re.compile(r"^claude-[a-z]+-(\d{1,2})(?:-(\d{1,2}))?(?:-\d{8})?$")
_ADAPTIVE_FROM = (4, 6)


def request_of(
    context: CompiledContext,
    model: str,
    *,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    caching: bool = True,
    server_tools: bool = True,
) -> dict[str, Any]:
    """Build the body of the request: the context, the model's id and the settings, no more.

    ``caching`` sets up to four cache marks on what is likely to come again: the
    end of the system prompt, of the turn sent before, of the conversation
    without its trailing context, and of the whole. ``server_tools=False`` says that the
    server has no tools of its own. Raises ``ModelError`` of kind ``"request"`` for
    a setting this API does not know, a context without messages, and media it
    does not take.
    """
    messages = [_message(message) for message in context.messages]
    if not messages:
        raise ModelError(
            f"the context for {model} has no messages; send one, or put User(...) into the tree",
            kind="request",
        )
    request: dict[str, Any] = {"model": model, "max_tokens": max_tokens}
    if system := "\n\n".join(part.text for part in context.system):
        request["system"] = [{"type": "text", "text": system}]
    request["messages"] = messages
    if context.tools:
        known = OWN_TOOLS if server_tools else {}
        request["tools"] = [
            tool.to_dict() if tool.options is None else tool_param(tool, model, known)
            for tool in context.tools
        ]
    if context.settings.get("citations"):
        _cite(messages)
    request.update(_settings(context.settings, model))
    if caching:
        _mark_for_cache(request, _trailing(context), _cache_mark(context.settings.get("cache_ttl"), model))
    return request


def takes_adaptive_thinking(model: str) -> bool:
    """Tell from a model's id whether it takes ``thinking: adaptive``; ids of another form do not."""
    match = _VERSION.match(model)
    return match is not None and (int(match[1]), int(match[2] or 0)) >= _ADAPTIVE_FROM


def _settings(settings: Mapping[str, Any], model: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    output: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in SETTINGS:
            raise ModelError(
                f"{model} has no setting {name!r}, got {value!r}{did_you_mean(name, SETTINGS)}",
                kind="request",
            )
        if value is None or name in ("citations", "cache_ttl"):
            continue
        if name == "max_tokens" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ModelError(
                f"max_tokens for {model} must be a positive whole number, got {value!r}", kind="request"
            )
        if name == "effort":
            output["effort"] = value
        elif name == "output_schema":
            output["format"] = {"type": "json_schema", "schema": closed(value)}
        elif name == "thinking":
            fields[name] = _thinking(value)
        elif name == CONTEXT_EDITING:
            if (edits := edits_of(value, model)) is not None:
                fields[name] = edits
        elif name == "tool_choice":
            fields[name] = _tool_choice(value)
        elif name == "stop_sequences":
            fields[name] = [value] if isinstance(value, str) else list(value)
        else:
            fields[name] = value
    if settings.get("thinking") is None and takes_adaptive_thinking(model):
        fields["thinking"] = _thinking(True)
    if output:
        fields["output_config"] = output
    return fields


def _thinking(value: Any) -> Any:
    """``True`` and ``False``, the name of a kind, or the API's own form."""
    if value is True:
        # Without a display, current models send thinking blocks that are signed and empty.
        return {"type": "adaptive", "display": "summarized"}
    if value is False:
        return {"type": "disabled"}
    return {"type": value} if isinstance(value, str) else value


def _tool_choice(value: Any) -> Any:
    """``"auto"``, ``"any"``, ``"none"``, a tool's name, or the API's own form."""
    if not isinstance(value, str):
        return value
    return {"type": value} if value in ("auto", "any", "none") else {"type": "tool", "name": value}


def _message(message: Message) -> dict[str, Any]:
    blocks = [_block(block) for block in message.content]
    return {"role": message.role, "content": [block for block in blocks if block is not None]}


def _block(block: Block) -> dict[str, Any] | None:
    if isinstance(block, Text):
        return _text(block)
    if isinstance(block, ServerTool):
        return dict(block.raw) or None
    if isinstance(block, ToolCall):
        return {"type": "tool_use", "id": block.id, "name": block.name, "input": dict(block.input)}
    if isinstance(block, ToolResult):
        return _tool_result(block)
    if isinstance(block, Thinking):
        return dict(block.raw) or None
    if isinstance(block, Image):
        return {"type": "image", "source": _image_source(block)}
    return _document(block)


def _text(text: Text) -> dict[str, Any]:
    data: dict[str, Any] = {"type": "text", "text": text.text}
    if text.citations:
        # An answer names the file that a citation is from, a request may not.
        data["citations"] = [
            {name: value for name, value in citation.items() if name != "file_id"}
            for citation in text.citations
        ]
    return data


def _cite(messages: Sequence[Mapping[str, Any]]) -> None:
    """Ask for citations of the documents: of all, since the API takes all or none."""
    for message in messages:
        for block in message["content"]:
            inner = block.get("content", ()) if block["type"] == "tool_result" else ()
            for item in (block, *inner):
                if item["type"] == "document":
                    item["citations"] = {"enabled": True}


def _tool_result(result: ToolResult) -> dict[str, Any]:
    # A blank text is refused, a result without content is not.
    content = [block for block in result.content if not isinstance(block, Text) or block.text.strip()]
    data: dict[str, Any] = {"type": "tool_result", "tool_use_id": result.call_id}
    if content:
        data["content"] = [_block(block) for block in content]
    if result.is_error:
        data["is_error"] = True
    return data


def _image_source(image: Image) -> dict[str, Any]:
    if image.file_id:
        return {"type": "file", "file_id": image.file_id}
    if image.url and not image.data:
        return {"type": "url", "url": image.url}
    check_image(image)
    return _base64(image.media_type, image.data)


def _document(document: Document) -> dict[str, Any]:
    if document.file_id:
        source: dict[str, Any] = {"type": "file", "file_id": document.file_id}
    elif document.url and not document.data:
        source = {"type": "url", "url": document.url}
    elif (text := text_of(document)) is not None:
        source = {"type": "text", "media_type": "text/plain", "data": text}
    else:
        source = _base64(document.media_type, document.data)
    data: dict[str, Any] = {"type": "document", "source": source}
    if document.title:
        data["title"] = document.title
    return data


def _base64(media_type: str, data: bytes) -> dict[str, Any]:
    return {"type": "base64", "media_type": media_type, "data": base64_of(data)}


def _trailing(context: CompiledContext) -> int:
    """Count the parts after the conversation: each is one block at the end of the last turn."""
    count = 0
    for part in reversed(context.flow):
        if part.kind == "message":
            break
        count += 1
    return count


def _cache_mark(ttl: Any, model: str) -> dict[str, Any]:
    if ttl not in (None, *CACHE_TTLS):
        raise ModelError(
            f"cache_ttl for {model} must be {' or '.join(map(repr, CACHE_TTLS))}, got {ttl!r}", kind="request"
        )
    return {"type": "ephemeral"} if ttl is None else {"type": "ephemeral", "ttl": ttl}


def _mark_for_cache(request: dict[str, Any], trailing: int, mark: Mapping[str, Any]) -> None:
    """Mark the ends of what is stable; a provider reads back only up to where it was told to write."""
    # What is found by a search only may not be marked.
    tools = [tool for tool in request.get("tools", ()) if not tool.get("defer_loading")]
    stable: Sequence[dict[str, Any]] = request.get("system") or tools
    turns = [message["content"] for message in request["messages"] if message["role"] == "user"]
    marked = [stable[-1]] if stable else []
    marked += [content[-1] for content in turns[-2:] if content]
    if turns and 0 < trailing < len(turns[-1]):
        # Trailing context goes when the execution ends; what stands before it stays.
        marked.append(turns[-1][-1 - trailing])
    for block in marked:
        block["cache_control"] = dict(mark)
