"""``WebSearch``, ``WebFetch``, ``CodeExecution``: tools that the model's provider runs itself.

They stand in the tree like any other tool, or in ``tools=``. Their calls and
results come as part of the answer; nothing runs here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.content import ToolSpec
from nbsession.errors import RenderError, ToolError
from nbsession.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Sequence


def WebSearch(
    *,
    max_uses: int | None = None,
    allowed_domains: Sequence[str] | None = None,
    blocked_domains: Sequence[str] | None = None,
    type: str | None = None,
) -> Tool:
    """Let the provider search the web while the model answers; the answer cites what it found.

    ``max_uses`` bounds the searches of one answer, each of which is charged for.
    Domains are allowed or blocked, not both (``RenderError``). ``type`` is the
    provider's own word for another version of the tool.
    """
    return _tool(
        "web_search",
        type=type,
        max_uses=max_uses,
        allowed_domains=allowed_domains,
        blocked_domains=blocked_domains,
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
    """Let the provider read pages that the conversation names, while the model answers.

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


def _tool(name: str, **options: Any) -> Tool:
    given = {
        key: list(value) if isinstance(value, (list, tuple)) else value
        for key, value in options.items()
        if value is not None
    }
    if "allowed_domains" in given and "blocked_domains" in given:
        raise RenderError(f"{name} takes allowed_domains or blocked_domains, not both")
    for key in ("allowed_domains", "blocked_domains"):
        if isinstance(given.get(key), str):
            raise RenderError(f"{name} takes {key} as a list, got {given[key]!r}")

    def elsewhere() -> None:
        raise ToolError(f"{name} runs at the provider, and this model has none: use a model that offers it")

    tool = Tool(name, handler=elsewhere)
    tool._spec = ToolSpec(name, "", {}, given)
    return tool
