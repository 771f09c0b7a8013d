"""Where an execution waits changes nothing: what comes of it is what comes of tools that answer at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nbsession import App, Pause, Section, StopReason, System, Timeline, component, tool, use_state
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from nbsession import Execution, Session

Script = list[list[tuple[str, bool]]]
"""The calls of each tick: the tool, and whether it has somebody asked."""

scripts = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["plain", "beside", "confirmed"]), st.booleans()), min_size=1, max_size=4
    ),
    min_size=1,
    max_size=3,
)


def app_of(script: Script, *, asks: bool, store: MemoryStore, begin: int = 0) -> App:
    asking = {f"{tick}.{n}" for tick, calls in enumerate(script) for n, (_, ask) in enumerate(calls) if ask}
    asking = asking if asks else set()

    @component
    def Agent() -> Any:
        count, set_count = use_state(0)

        def work(key: str, *, may_ask: bool) -> str:
            set_count(lambda n: n + 1)
            if may_ask and key in asking:
                raise Pause(f"What of {key}?")
            return f"{key} it is"

        @tool
        def plain(key: str) -> str:
            """Work."""
            return work(key, may_ask=True)

        @tool(parallel=True)
        def beside(key: str) -> str:
            """Work beside others."""
            return work(key, may_ask=True)

        @tool(confirm=lambda given, _: given["key"] in asking)
        def confirmed(key: str) -> str:
            """Work, when that is allowed."""
            return work(key, may_ask=False)

        return [
            System("Work."), plain, beside, confirmed, Timeline(),
            Section(f"{count} done", title="State"),
        ]  # fmt: skip

    answers = [
        [call(name, key=f"{tick}.{n}") for n, (name, _) in enumerate(calls)]
        for tick, calls in enumerate(script)
    ]
    return App(Agent, model=ScriptedModel(*answers[begin:], "The end."), store=store)


async def ended(session: Session, execution: Execution) -> Any:
    """Wait for an execution; what it asks to do is to wait, too."""
    async for event in execution:
        if event.type == "confirmation_requested":
            execution.pause()
    return await execution


async def outcome(script: Script, *, asks: bool, order: list[int], restarts: bool = False) -> dict[str, Any]:
    """Run a script, answering in an order, and return what came of it."""
    store = MemoryStore()
    session = app_of(script, asks=asks, store=store).session("s")
    result = await ended(session, session.send("Go."))
    while result.stop_reason is StopReason.paused:
        if restarts:
            await session.aclose()
            session = app_of(script, asks=asks, store=store, begin=len(session.ticks)).session("s")
        order = [*order[1:], order[0]]
        question = session.waiting[order[0] % len(session.waiting)]
        answer = True if question.kind == "confirmation" else f"{question.call.input['key']} it is"
        result = await ended(session, session.answer(question.id, answer))
    found = {
        "text": result.text,
        "timeline": [(entry.role, entry.status, entry.text) for entry in session.timeline],
        "contexts": [tick.context.hash for tick in session.ticks],
        "results": [run.result and run.result.status for tick in session.ticks for run in tick.tool_calls],
        "state": session.state,
        "usage": str(session.usage),
        "waiting": session.waiting,
        "faults": session.verify(),
    }
    await session.aclose()
    return found


@settings(deadline=None, max_examples=25)
@given(scripts, st.lists(st.integers(0, 9), min_size=1, max_size=6), st.booleans())
def test_waiting_anywhere_gives_what_answering_at_once_gives(
    script: Script, order: list[int], restarts: bool
) -> None:
    at_once = asyncio.run(outcome(script, asks=False, order=order))
    assert asyncio.run(outcome(script, asks=True, order=order, restarts=restarts)) == at_once
