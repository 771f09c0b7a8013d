"""Spawned sessions: isolated, bounded in depth, counted with, and stopped with those above."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    Session,
    SessionClosedError,
    SessionError,
    StopReason,
    System,
    Timeline,
    component,
    tool,
    use_effect,
    use_session,
    use_usage,
)
from nbsession.content import ToolResult
from nbsession.events import MessageDelta
from nbsession.testing import ScriptedModel, call, pause
from nbsession.usage import Usage

if TYPE_CHECKING:
    from nbsession.tools import ToolContext


@component
def Researcher() -> Any:
    return [System("You research."), Timeline()]


@tool
async def research(topic: str, context: ToolContext) -> str:
    """Let another agent look into something."""
    return str(await context.spawn(Researcher, f"look into {topic}"))


@component
def Root() -> Any:
    return [System("You lead."), Timeline()]


def used(tokens: int) -> MessageDelta:
    return MessageDelta("end_turn", Usage(input_tokens=tokens, output_tokens=0))


def calling(tool: str, tokens: int, **input: Any) -> list[Any]:
    return [call(tool, **input), MessageDelta("tool_use", Usage(input_tokens=tokens, output_tokens=0))]


async def test_a_spawned_session_is_isolated_and_its_usage_counts_upwards() -> None:
    model = ScriptedModel(
        calling("research", 10, topic="ants"), ["ants are small", used(100)], ["done", used(1)]
    )
    session = App(Root, model=model, tools=[research]).session()
    result = await session.send("tell me of ants")
    assert str(result.tool_calls[0].result) == "ants are small"
    child = model.contexts[1]
    assert str(child.system) == "You research."
    assert [str(message) for message in child.messages] == ["look into ants"]
    assert len(session.timeline) == 4
    assert result.usage.total_tokens == 11
    assert session.usage.total_tokens == 111


async def test_usage_of_a_spawned_session_is_seen_while_it_still_runs() -> None:
    held = pause()
    seen: list[int] = []

    @component
    def Counting() -> Any:
        seen.append(use_usage().total_tokens)
        return Timeline()

    @tool
    def act() -> str:
        """Act."""
        return "x"

    model = ScriptedModel(calling("act", 50), [held, "done", used(1)])
    session = App(Counting, model=model, tools=[act]).session()
    execution = session.spawn(Researcher, "go")
    await held.reached
    assert session.usage.total_tokens == 50
    held.release()
    await execution
    assert session.usage.total_tokens == 51
    session.compile()
    assert seen[-1] == 51


async def test_what_is_spawned_is_stopped_with_the_execution_that_spawned_it() -> None:
    held = pause()
    model = ScriptedModel([call("research", topic="ants")], ["ants", held], "fine")
    session = App(Root, model=model, tools=[research]).session()
    execution = session.send("go")
    await held.reached
    execution.abort()
    assert (await execution).stop_reason is StopReason.aborted
    child = session.children[0]
    await child.executions[0]
    assert child.executions[0].partial.stop_reason is StopReason.aborted
    assert child.timeline[-1].text == "ants"
    assert child.status == "idle"
    assert isinstance(session.timeline[-1].content[0], ToolResult)
    assert (await session.send("again")).text == "fine"


async def test_what_is_spawned_at_rest_goes_on_beside_the_session_and_is_closed_with_it() -> None:
    cleaned: list[str] = []

    @component
    def Careful() -> Any:
        @use_effect
        def hold() -> Any:
            return lambda: cleaned.append("careful")

        return Timeline()

    held = pause()
    session = App(Root, model=ScriptedModel(["child", held], "parent")).session()
    spawned = session.spawn(Careful, "go")
    await held.reached
    assert (await session.send("hi")).text == "parent"
    assert not spawned.done
    await session.aclose()
    assert (await spawned).stop_reason is StopReason.aborted
    assert spawned.session.status == "closed"
    assert cleaned == ["careful"]
    with pytest.raises(SessionClosedError):
        session.spawn(Careful, "go")


async def test_sessions_spawn_to_a_depth_of_ten() -> None:
    depths: list[int] = []

    @component
    def Deep() -> Any:
        session = use_session()

        @tool
        async def deeper() -> str:
            """Go deeper."""
            depths.append(len(depths))
            return (await session.spawn(Deep, "deeper")).text

        return [deeper, Timeline()]

    def respond(context: Any) -> Any:
        last = context.messages[-1].content[-1]
        return str(last) if isinstance(last, ToolResult) else call("deeper")

    session = App(Deep, model=ScriptedModel(*[respond] * 30)).session()
    result = await session.send("go")
    assert len(depths) == 11
    assert "spawned 10 levels deep; the limit is 10" in result.text


async def test_a_budget_bounds_a_session_with_all_that_it_spawns() -> None:
    model = ScriptedModel(calling("research", 400, topic="ants"), ["never", used(1)], "after")
    app = App(Root, model=model, tools=[research], budget={"tokens": 410})
    session = app.session()
    result = await session.send("go")
    assert result.stop_reason is StopReason.budget
    assert len(model.contexts) == 1
    assert session.children[0].executions[0].partial.stop_reason is StopReason.budget


async def test_only_a_component_or_an_element_can_be_spawned() -> None:
    session = App(Root, model=ScriptedModel()).session()
    with pytest.raises(Exception, match="takes a component or an element, got str"):
        session.spawn("Researcher", "go")
    with pytest.raises(SessionError, match="empty"):
        session.spawn(Researcher, "")


async def test_parallel_tools_may_spawn_at_the_same_time() -> None:
    @tool(parallel=True)
    async def ask(topic: str, context: ToolContext) -> str:
        """Ask another agent."""
        return str(await context.spawn(Researcher, topic))

    @tool(parallel=True)
    def ask_blocking(topic: str, context: ToolContext) -> str:
        """Ask another agent from a thread."""
        assert isinstance(context.session, Session)
        return str(asyncio.run(_awaited(context.spawn(Researcher, topic))))

    def respond(context: Any) -> Any:
        return "about " + str(context.messages[-1])

    model = ScriptedModel([call("ask", topic="a"), call("ask_blocking", topic="b")], respond, respond, "done")
    session = App(Root, model=model, tools=[ask, ask_blocking]).session()
    result = await session.send("go")
    assert [str(run.result) for run in result.tool_calls] == ["about a", "about b"]


async def _awaited(execution: Any) -> Any:
    return await execution
