"""What Anthropic clears of a long conversation on its side, before the model reads it.

The compiled context is what is sent; the service leaves out of it what the setting
``context_management`` says, tells what that was, and changes nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbsession.content import ServerTool
from nbsession.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FIELD = "context_management"

CLEAR_TOOL_USES = "clear_tool_uses_20250919"
"""Old uses of tools are cleared first of all; with no more said, by the service's own measures."""

HEADER = {"anthropic-beta": "context-management-2025-06-27"}


def edits_of(value: Any, model: str) -> dict[str, Any] | None:
    """``True``, a list of the API's edits, or the API's own form; ``None`` for ``False``."""
    if value is True:
        return {"edits": [{"type": CLEAR_TOOL_USES}]}
    if value is False:
        return None
    if isinstance(value, (list, tuple)):
        return {"edits": list(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise ModelError(
        f"{FIELD} for {model} is True, or a list of edits such as {{'type': {CLEAR_TOOL_USES!r}}}, got {value!r}",
        kind="request",
    )


def editing(create: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return ``create`` of the SDK, which knows the field in its beta form only."""

    async def ask(
        *, context_management: Any = None, extra_body: Mapping[str, Any] | None = None, **request: Any
    ) -> Any:
        if context_management is None:
            return await create(**request, extra_body=extra_body)
        body = {**(extra_body or {}), FIELD: context_management}
        return await create(**request, extra_body=body, extra_headers=HEADER)

    return ask


def cleared(applied: Any) -> ServerTool | None:
    """Return the step that says what was cleared, ``None`` where nothing was; it is not to be sent back."""
    edits = applied.get("applied_edits") if isinstance(applied, Mapping) else None
    said = "\n".join(map(_told, edits or ()))
    return ServerTool("", FIELD, said, {}, is_result=True) if said else None


def _told(edit: Mapping[str, Any]) -> str:
    what = {"cleared_tool_uses": "uses of tools", "cleared_thinking_turns": "turns of thinking"}
    counts = [f"{edit[name]:,} {words}" for name, words in what.items() if edit.get(name)]
    tokens = f"{edit.get('cleared_input_tokens') or 0:,} tokens"
    return f"not shown to the model: {', '.join([*counts, tokens])}"
