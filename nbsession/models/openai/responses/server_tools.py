"""Tools that run on OpenAI's side, in the syntax of the Responses API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbsession.content import ServerTool
from nbsession.errors import ModelError

if TYPE_CHECKING:
    from nbsession.content import ToolSpec

OWN_TOOLS = {
    "web_search": "web_search",
    "code_execution": "code_interpreter",
    "file_search": "file_search",
    "tool_search": "tool_search",
}
"""The tools that OpenAI runs, and the API's word for each."""

INCLUDED = {
    "web_search": "web_search_call.action.sources",
    "code_execution": "code_interpreter_call.outputs",
    "file_search": "file_search_call.results",
}
"""What has to be asked for, lest a step come without what it found, by the tools that are charged or bounded."""

_NAMES = {kind: name for name, kind in OWN_TOOLS.items()}
_MOST = 500
"""Characters of a found passage that are told."""


def tool_param(spec: ToolSpec, model: str) -> dict[str, Any]:
    """Return a provider's tool as the request names it.

    ``max_uses`` is not in it: this API bounds all its tools together. Raises ``ModelError`` for
    a tool, or an option of one, that it does not have.
    """
    if spec.name not in OWN_TOOLS:
        raise ModelError(
            f"{model} has no tool {spec.name!r} of its own; it has {', '.join(sorted(OWN_TOOLS))}",
            kind="request",
        )
    options = {name: value for name, value in (spec.options or {}).items() if name != "max_uses"}
    if "blocked_domains" in options:
        raise ModelError(
            f"{model} can be held to allowed_domains and has no blocked_domains, got {options['blocked_domains']}; "
            "name those that it may search, or use an Anthropic model",
            kind="request",
        )
    param: dict[str, Any] = {"type": options.pop("type", None) or OWN_TOOLS[spec.name]}
    if spec.name == "code_execution":
        param["container"] = {"type": "auto"}
    if (domains := options.pop("allowed_domains", None)) is not None:
        param["filters"] = {"allowed_domains": domains}
    return {**param, **options}


def step_of(item: Mapping[str, Any]) -> ServerTool:
    """Return what an output item of the API's own tool says: call and result stand in one."""
    # What an answer alone has, and a field that is null in it, is refused in a request.
    raw = {name: value for name, value in item.items() if value is not None and name != "created_by"}
    return ServerTool(raw.get("id", ""), step_name(raw), _told(raw), raw, is_result=True)


def step_name(item: Mapping[str, Any]) -> str:
    """Return the name of the tool that an item is a step of."""
    kind = str(item["type"]).removesuffix("_call").removesuffix("_output")
    return _NAMES.get(kind, kind)


def _told(item: Mapping[str, Any]) -> str:
    """Say in lines what was done, and what it gave."""
    lines = [_asked(item)]
    action = item.get("action") or {}
    lines += [source.get("url", "") for source in action.get("sources") or ()]
    for output in item.get("outputs") or ():
        lines.append(str(output.get("logs") or output.get("url") or "").rstrip())
    for result in item.get("results") or ():
        passage = " ".join(str(result.get("text") or "").split())[:_MOST]
        lines.append(" · ".join(filter(None, (result.get("filename"), passage))))
    lines += [str(tool.get("name") or tool.get("type")) for tool in item.get("tools") or ()]
    if item.get("status") in ("failed", "incomplete"):
        lines.append(str(item["status"]))
    return "\n".join(filter(None, lines))


def _asked(item: Mapping[str, Any]) -> str:
    if code := item.get("code"):
        return str(code).rstrip()
    action = item.get("action") or {}
    name = step_name(item)
    if action.get("type") not in (None, "search"):
        name = f"{name}.{action['type']}"
    words = action.get("queries") or item.get("queries") or [action.get("query")]
    asked = item.get("arguments")
    asked = list(asked.values()) if isinstance(asked, Mapping) else [asked]
    given = [word for word in (*words, *asked, action.get("pattern"), action.get("url")) if word]
    return f"{name}({', '.join(map(repr, given))})"
