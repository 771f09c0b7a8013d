"""A tool that the user calls, and not the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.content import ToolCall, new_id
from nbsession.errors import ToolError, did_you_mean
from nbsession.session.tool_calls import context_for
from nbsession.tools import Pause, run_tool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.session.core import SessionCore
    from nbsession.session.door import Turn


async def dispatched(core: SessionCore, handle: Turn, tool: str, input: Mapping[str, Any]) -> Any:
    """Run a tool of the tree and return its value; ``ToolError`` where it fails or is not there."""
    core.mount.own()
    await core.settle()
    compiled = core.mount.compile(tools=core.tools)
    found = compiled.toolbox.get(tool)
    if found is None:
        raise ToolError(f"there is no tool {tool!r}{did_you_mean(tool, compiled.toolbox)}")
    call = ToolCall(new_id("call"), tool, input)
    verdict = core.permissions.verdict_on(found, call)
    if verdict is not None and verdict.action == "deny":
        raise ToolError(verdict.refusal)
    try:
        outcome = await run_tool(found, call, context_for(core, handle, call), user_loop=core.home.user_loop)
    except Pause as pause:
        raise ToolError(
            f"{tool} asks {pause.question!r}, which can wait only where a model called it; give it what it asks for"
        ) from None
    core.render()
    core.keeper.drain()
    core.keeper.soon()
    if outcome.result.is_error:
        raise ToolError(outcome.result.text, traceback=outcome.traceback)
    return outcome.value
