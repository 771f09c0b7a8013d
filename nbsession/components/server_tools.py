"""Tools that the model's provider runs itself: search of the web, of files and of tools, and code.

They stand in the tree like any other tool, or in ``tools=``. Their calls and
results come as part of the answer; nothing runs here. One that several providers have is the
same for each; what the model's provider does not have, a tool or an option of it, is a
``ModelError`` of the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.content import ToolSpec
from nbsession.context import Foldable, Fragment, ToolUse
from nbsession.errors import RenderError, ToolError
from nbsession.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.tree import Element, Fiber


def WebSearch(
    *,
    max_uses: int | None = None,
    allowed_domains: Sequence[str] | None = None,
    blocked_domains: Sequence[str] | None = None,
    location: Mapping[str, str] | None = None,
    type: str | None = None,
) -> Tool:
    """Let the provider search the web while the model answers; the answer cites what it found.

    ``max_uses`` bounds the searches of one answer, each of which is charged for (OpenAI bounds all
    its tools together). Domains are allowed or blocked, not both (``RenderError``); OpenAI blocks none.
    ``location`` is where the user is, roughly: ``city``, ``region``, ``country`` (two letters),
    ``timezone`` (IANA). ``type`` is the provider's own word for another version of the tool.
    """
    return _tool(
        "web_search",
        type=type,
        max_uses=max_uses,
        allowed_domains=allowed_domains,
        blocked_domains=blocked_domains,
        user_location=None if location is None else {"type": "approximate", **location},
    )


def WebFetch(
    *,
    max_uses: int | None = None,
    allowed_domains: Sequence[str] | None = None,
    blocked_domains: Sequence[str] | None = None,
    max_tokens: int | None = None,
    citations: bool = False,
    type: str | None = None,
) -> Tool:
    """Let the provider read pages that the conversation names, while the model answers; Anthropic has it.

    ``max_tokens`` bounds what is taken of one page; ``citations`` asks for
    references to it. The rest is as in ``WebSearch``.
    """
    return _tool(
        "web_fetch",
        type=type,
        max_uses=max_uses,
        allowed_domains=allowed_domains,
        blocked_domains=blocked_domains,
        max_content_tokens=max_tokens,
        citations={"enabled": True} if citations else None,
    )


def CodeExecution(*, type: str | None = None) -> Tool:
    """Let the provider run code that the model writes, in a container of the provider's.

    ``type`` is the provider's own word for another version of the tool.
    """
    return _tool("code_execution", type=type)


def FileSearch(
    vector_store_ids: Sequence[str],
    *,
    max_results: int | None = None,
    filters: Mapping[str, Any] | None = None,
    type: str | None = None,
) -> Tool:
    """Let the provider search files that were given to it, while the model answers; OpenAI has it.

    ``vector_store_ids`` name the provider's stores of them. ``max_results`` bounds what one search
    gives; ``filters`` are the provider's own, over the attributes of the files.
    """
    return _tool(
        "file_search",
        type=type,
        vector_store_ids=vector_store_ids,
        max_num_results=max_results,
        filters=filters,
    )


class _ToolSearch(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        found = [
            ToolUse(
                use.tool, use.path, deferred=use.tool.audience == "model" and use.tool.spec.options is None
            )
            for use in inner.tools
        ]
        made = inner.folded(inner.body)
        made.tools = (ToolUse(fiber.element.props["search"], fiber.path), *found)
        return made


_tool_search = _ToolSearch("ToolSearch", props=("search",))


def ToolSearch(*children: Any, type: str | None = None, key: str | int | None = None) -> Element:
    """Show the model the tools among ``children`` only when it has searched for them, which the provider does.

    For many tools, which would fill the context. Whatever else stands in it compiles as it would outside.
    What a search finds is kept in the conversation. ``type`` is the provider's own word for another
    version of the search.
    """
    return _tool_search(*children, key=key, search=_tool("tool_search", type=type))


def _tool(name: str, **options: Any) -> Tool:
    given = {
        key: list(value) if isinstance(value, (list, tuple)) else value
        for key, value in options.items()
        if value is not None
    }
    if "allowed_domains" in given and "blocked_domains" in given:
        raise RenderError(f"{name} takes allowed_domains or blocked_domains, not both")
    for key in ("allowed_domains", "blocked_domains", "vector_store_ids"):
        if isinstance(given.get(key), str):
            raise RenderError(f"{name} takes {key} as a list, got {given[key]!r}")

    def elsewhere() -> None:
        raise ToolError(f"{name} runs at the provider, and this model has none: use a model that offers it")

    tool = Tool(name, handler=elsewhere)
    tool._spec = ToolSpec(name, "", {}, given)
    return tool
