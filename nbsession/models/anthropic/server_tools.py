"""Tools that run on Anthropic's side, in the syntax of the Messages API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbsession.content import ServerTool
from nbsession.errors import ModelError

if TYPE_CHECKING:
    from nbsession.content import ToolSpec

# The first versions of each that are generally available: every model that has the tool takes them.
OWN_TOOLS = {
    "web_search": "web_search_20250305",
    "web_fetch": "web_fetch_20250910",
    "code_execution": "code_execution_20250825",
    "tool_search": "tool_search_tool_bm25_20251119",
}
"""The tools that Anthropic runs, and the API's word for each."""

_DATE = re.compile(r"_\d{8}$")
_RESULT = "_tool_result"


def tool_param(spec: ToolSpec, model: str, known: Mapping[str, str] = OWN_TOOLS) -> dict[str, Any]:
    """Return a provider's tool as the request names it.

    ``known`` are the tools that the server has, by name. Raises ``ModelError`` for
    another one.
    """
    options = dict(spec.options or {})
    asked = options.pop("type", None)
    kind = (asked or known.get(spec.name)) if known else None
    if kind is None:
        remedy = f"it has {', '.join(sorted(known))}" if known else "take it out, or use another model"
        raise ModelError(f"{model} has no tool {spec.name!r} of its own; {remedy}", kind="request")
    # Each kind of search has a name of its own, which is its type's without the date.
    name = _DATE.sub("", kind) if spec.name == "tool_search" else spec.name
    return {"type": kind, "name": name, **options}


def is_server_step(kind: str) -> bool:
    """Say whether a block of this type is a step of a provider's tool."""
    return kind in ("server_tool_use", "container_upload") or kind.endswith(_RESULT)


def step_of(raw: Mapping[str, Any]) -> ServerTool:
    """Return what a finished block of the API says of its own tool."""
    # A field that is null in an answer is refused in a request.
    block = {name: value for name, value in raw.items() if value is not None}
    kind = block["type"]
    if kind == "server_tool_use":
        arguments = ", ".join(f"{name}={value!r}" for name, value in block.get("input", {}).items())
        return ServerTool(block["id"], block["name"], f"{block['name']}({arguments})", block)
    name = kind.removesuffix(_RESULT)
    said = _told(block.get("content", block.get("file_id", "")))
    return ServerTool(block.get("tool_use_id", ""), name, said, block, is_result=True)


def _told(content: Any) -> str:
    """Say in lines what a result holds."""
    if isinstance(content, list):
        return "\n".join(filter(None, map(_told, content))) or "nothing found"
    if not isinstance(content, Mapping):
        return str(content)
    if code := content.get("error_code"):
        return f"failed: {code}"
    if "return_code" in content:
        output = (content.get("stdout", ""), content.get("stderr", ""), f"exit {content['return_code']}")
        return "\n".join(str(line).rstrip() for line in output if line)
    if (found := content.get("tool_references")) is not None:
        return ", ".join(str(tool.get("tool_name")) for tool in found) or "nothing found"
    named = [str(content[name]) for name in ("title", "url", "file_id") if content.get(name)]
    return " · ".join(named) or str(content.get("type", ""))
