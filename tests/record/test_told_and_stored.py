"""Whenever what waits is stored, as a reader may ask for at any event, it says what readers were told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Pause, System, Timeline, component, tool
from nbsession.content import Thinking
from nbsession.errors import ModelError
from nbsession.record import stored_events
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from nbsession import Session
    from nbsession.events import Event


@tool(parallel=True)
async def slow(name: str) -> str:
    """A tool that lets others go first."""
    for _ in range(20):
        await asyncio.sleep(0)
    return f"{name} is done"


@tool
async def ask() -> str:
    """A tool that needs a person's word."""
    raise Pause("May I?")


@component
def Agent() -> Any:
    return [System("You work."), slow, ask, Timeline()]


def app(store: MemoryStore, *responses: Any) -> App:
    return App(Agent, model=ScriptedModel(*responses), store=store)


class Heirs:
    """At each event of a session, what another process would find if this one ended then."""

    def __init__(self, session: Session, store: MemoryStore) -> None:
        self.told: list[dict[str, Any]] = []
        self.found: list[tuple[list[dict[str, Any]], int, int]] = []
        self._session, self._store = session, store
        self._emit = session._core.feed.emit
        session._core.feed.emit = self._tell  # type: ignore[method-assign]

    def _tell(self, event: Event, log: Any = None) -> None:
        self._emit(event, log)
        if event.durable:
            self.told.append(event.to_dict())
            asyncio.get_running_loop().call_soon(self._open)

    def _open(self) -> None:
        self._session._core.outbox.keep_now()
        heir = app(self._store).session("s")
        rows = [row.data for _, row in self._store.rows("s", kinds=["events"])]
        events = stored_events(rows, heir.ticks, heir._core.record.by_id, 0)
        read = [event.to_dict() for event in events if event.durable]
        self.found.append((read, len(self.told), len(heir.executions)))

    def check(self) -> None:
        for read, count, executions in self.found:
            assert read == self.told[:count]
            assert executions == sum(event["type"] == "execution_start" for event in read)


@pytest.mark.parametrize(
    "answers",
    [
        [
            ["I work", ". ", call("slow", name="a"), call("slow", name="b")],
            [Thinking("Hm."), "Done", " it is."],
        ],
        [[call("slow", name="a"), call("ask")]],
        [["I work, ", ModelError("lost")]],
        [[Thinking("Hm."), call("nothing")], ""],
    ],
    ids=["tools", "question", "failure", "refusal"],
)
async def test_what_is_stored_at_any_event_says_what_was_told(answers: list[Any]) -> None:
    store = MemoryStore()
    session = app(store, *answers).session("s")
    heirs = Heirs(session, store)
    await session.send("work", request_id="r").settled()
    await asyncio.sleep(0)
    assert len(heirs.found) > 10
    heirs.check()
