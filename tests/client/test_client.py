"""Sessions from afar: what can be done with one, in the core's own types."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from nbsession import (
    App,
    KnobError,
    ModelError,
    SessionError,
    SessionNotFoundError,
    Timeline,
    component,
    tool,
)
from nbsession.client import AsyncClient
from nbsession.events import ConfirmationRequested, Done, TextDelta, TickContext, ToolStart
from nbsession.protocol import event_to_wire
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call, pause
from nbsession.tools import Pause
from tests.client.conftest import TOKEN, connected, serving
from tests.server.conftest import notepad

if TYPE_CHECKING:
    from nbsession.events import Event


async def test_what_was_sent_is_awaited_for_the_result_that_the_session_has() -> None:
    app = notepad([call("add_note", note="a")], "done")
    async with connected(app) as client:
        session = await client.create("s", metadata={"of": "me"})
        result = await session.send("hi")
        local = app.opened["s"].executions[-1].outcome.result()
        assert repr(result) == repr(local)
        assert result.content == local.content
        assert [tick.context for tick in result.ticks] == [tick.context for tick in local.ticks]
        assert [str(run) for run in result.tool_calls] == [str(run) for run in local.tool_calls]
        assert (result.usage, result.cost, result.source, result.model) == (
            local.usage,
            local.cost,
            local.source,
            local.model,
        )
        assert await session.metadata() == {"of": "me"}
        assert (await session.usage()) == app.opened["s"].usage.total


async def test_an_execution_is_iterated_for_the_cores_events_as_they_come_and_again_by_late_readers() -> None:
    held = pause()
    app = notepad([call("add_note", note="a")], ["one ", held, "two"])
    async with connected(app) as client:
        execution = (await client.create("s")).send("hi")
        said, kinds = "", set()
        async for event in execution:
            kinds.add(type(event))
            if isinstance(event, TextDelta):
                said += event.text
                if said == "one ":
                    held.release()
        late = [event async for event in execution]
        assert said == "one two"
        assert {ToolStart, TickContext, Done} <= kinds
        local = [event async for event in app.opened["s"].executions[-1]]
        assert [event_to_wire(event) for event in late if event.durable] == [
            event_to_wire(event) for event in local if event.durable
        ]


async def test_an_execution_is_stopped_from_afar_also_one_that_has_not_begun() -> None:
    held = pause()
    app = notepad(["so far ", held, "never"], "never")
    async with connected(app) as client:
        session = await client.create("s")
        first, second = session.send("a"), session.send("b")
        async for event in first:
            if isinstance(event, TextDelta):
                break
        second.abort("not needed")
        stopped = await second
        first.abort("enough")
        result = await first
    assert (str(stopped.stop_reason), stopped.reason, stopped.ticks) == ("aborted", "not needed", [])
    assert (str(result.stop_reason), result.reason, result.text) == ("aborted", "enough", "so far ")


async def test_cancelling_who_awaits_it_stops_it_and_cancelling_a_reader_does_not() -> None:
    held = [pause(), pause()]
    app = notepad(["one ", held[0], "two"], ["three ", held[1], "four"])
    async with connected(app) as client:
        session = await client.create("s")
        read = session.send("a")
        async for event in read:
            if isinstance(event, TextDelta):
                break
        held[0].release()
        assert (await read).text == "one two"
        awaited = session.send("b")

        async def waiting() -> Any:
            return await awaited

        waiter = asyncio.ensure_future(waiting())
        await held[1].reached
        waiter.cancel()
        await awaited.settled()
        result = awaited.outcome.result()
    assert (str(result.stop_reason), result.text) == ("aborted", "three ")


class City(BaseModel):
    """A city."""

    name: str
    people: int


async def test_an_answer_is_read_as_the_type_that_was_asked_for() -> None:
    app = notepad('{"name": "Ulm", "people": 126000}', "none", '{"name": "Ulm"}')
    async with connected(app) as client:
        session = await client.create("s")
        assert (await session.send("which?", output=City)).output == City(name="Ulm", people=126_000)
        with pytest.raises(ModelError, match="did not answer with a City"):
            await session.send("and?", output=City)
        with pytest.raises(ModelError, match="did not answer with a City: people"):
            await session.send("and?", output=City)
    assert app.model.contexts[0].settings["output_schema"]["required"] == ["name", "people"]


async def test_knobs_are_read_and_set_and_a_value_that_does_not_fit_is_a_knob_error() -> None:
    app = notepad("ok")
    async with connected(app) as client:
        session = await client.create("s")
        assert await session.knobs.get("tone") == "friendly"
        await session.knobs.set("tone", "terse")
        assert app.opened["s"].knobs["tone"] == "terse"
        assert (await session.knobs.specs()) == app.opened["s"].knobs.specs()
        assert "terse" in str(await session.compile("hi"))
        with pytest.raises(KnobError, match="tone"):
            await session.knobs.set("tone", "loud")
        with pytest.raises(KnobError, match="did you mean 'tone'"):
            await session.knobs.get("tune")
        await session.knobs.reset()
        assert await session.knobs.values() == {"tone": "friendly"}


async def test_a_session_is_looked_at_from_afar() -> None:
    app = notepad([call("add_note", note="a")], "done", "more")
    async with connected(app) as client:
        session = await client.create("s")
        await session.send("hi")
        local = app.opened["s"]
        assert await session.status() == "idle"
        assert await session.state() == local.state
        assert await session.timeline() == list(local.timeline)
        assert (await session.compile("and now?")).hash == local.compile("and now?").hash
        ticks = await session.ticks()
        assert [tick.text for tick in ticks] == ["", "done"]
        assert [tick.context.tokens for tick in ticks] == [tick.context.tokens for tick in local.ticks]
        assert (await session.tick(1)).context == local.ticks[1].context
        fork = await session.fork(0, id="f")
        await fork.send("else")
        assert await fork.timeline() == list(app.opened["f"].timeline)
        assert await session.dispatch("add_note", note="b") == "Noted."
        await session.rename({"title": "t"})
        assert {entry.id: entry.metadata async for entry in client.sessions()} == {
            "s": {"title": "t"},
            "f": {},
        }
        with pytest.raises(SessionError, match="is the past of its fork"):
            await session.delete()
        await fork.delete()
        await session.delete()
        with pytest.raises(SessionNotFoundError):
            await session.info()


async def test_messages_wait_and_go_into_what_runs() -> None:
    held = pause()
    app = notepad([call("add_note", note="a"), held], "steered", "now", "rendered")
    async with connected(app) as client:
        session = await client.create("s")
        execution = session.send("hi")
        await held.reached
        await session.steer("to the left")
        held.release()
        assert (await execution).text == "steered"
        await session.queue("later")
        await session.send("now")
        assert [entry.text for entry in await session.timeline() if entry.role == "user"] == [
            "hi",
            "to the left",
            "now",
            "later",
        ]
        assert (await session.render()).text == "rendered"


SENT: list[str] = []


@component
def Desk() -> Any:
    @tool(confirm=True)
    def send(draft: str) -> str:
        """Send it."""
        SENT.append(draft)
        return "sent"

    @tool
    def ask(what: str) -> str:
        """Ask."""
        raise Pause(what, answer=int)

    return [send, ask, Timeline()]


def desk(*said: Any) -> App:
    return App(Desk, model=ScriptedModel(*said), store=MemoryStore())


async def test_a_confirmation_is_given_from_afar() -> None:
    SENT.clear()
    calls = [[call("send", draft="x")], "done"] * 3
    async with connected(desk(*calls)) as client:
        session = await client.create("s")
        for approved, given in ((True, None), (False, None), (True, {"draft": "better"})):
            execution = session.send("go")
            async for event in execution:
                if isinstance(event, ConfirmationRequested):
                    execution.confirm(event.call.id, approved, input=given)
            assert (await execution).text == "done"
    assert SENT == ["x", "better"]


async def test_an_answer_that_the_server_refuses_is_asked_for_again_with_why() -> None:
    SENT.clear()
    async with connected(desk([call("send", draft="x")], "done")) as client:
        execution = (await client.create("s")).send("go")
        asked: list[str] = []
        async for event in execution:
            if isinstance(event, ConfirmationRequested):
                asked.append(event.message)
                given = {"draft": "good"} if len(asked) > 1 else {"draft": 3}
                execution.confirm(event.call.id, True, input=given)
    assert len(asked) == 2
    assert "is not answered" in asked[1]
    assert SENT == ["good"]


async def test_a_question_that_waits_is_answered_and_what_goes_on_has_a_handle() -> None:
    async with connected(desk([call("ask", what="how many?")], "three it is")) as client:
        session = await client.create("s")
        paused = await session.send("go")
        (question,) = await session.waiting()
        assert (str(paused.stop_reason), question.text) == ("paused", "how many?")
        with pytest.raises(SessionError, match="is not answered"):
            await session.answer(question.id, "many")
        execution = session.answer(question.id, 3)
        assert (await execution).text == "three it is"
        assert [event async for event in execution][-1].type == "done"
        with pytest.raises(SessionError, match="answered with 3"):
            await session.answer(question.id, 4)


async def test_the_same_request_is_one_message_whoever_sends_it_again() -> None:
    app = notepad("one", "two")
    async with connected(app) as client:
        session = await client.create("s")
        results = [await session.send("hi", request_id="r") for _ in range(2)]
        assert [result.text for result in results] == ["one", "one"]
        assert len(app.opened["s"].timeline) == 2
        with pytest.raises(SessionError, match="another message"):
            await session.send("else", request_id="r")


async def test_two_clients_of_one_session_see_the_same_events() -> None:
    with serving(notepad("one", "two")) as server:
        async with (
            AsyncClient(server.url, token=TOKEN) as client,
            AsyncClient(server.url, token=TOKEN) as other,
        ):
            session = await client.create("s")
            seen: list[Event] = []

            async def watch() -> None:
                async with aclosing(other.session("s").subscribe()) as events:
                    async for event in events:
                        seen.append(event)
                        if isinstance(event, Done):
                            return

            watching = asyncio.ensure_future(watch())
            sent = [event async for event in session.send("hi") if event.durable]
            await watching
            assert [event for event in seen if event.durable] == sent
            assert (await other.session("s").send("and?")).text == "two"


async def test_what_is_served_is_listed() -> None:
    async with connected(notepad("ok")) as client:
        (agent,) = await client.agents()
        assert (agent.component, [knob.name for knob in agent.knobs]) == ("Notepad", ["tone"])
        assert (await client.health()).status == "ok"
        made = [(await client.create()).id for _ in range(60)]
        assert {entry.id async for entry in client.sessions()} == set(made)


async def test_closing_the_client_ends_what_still_follows_an_execution_which_goes_on_at_the_server() -> None:
    held = pause()
    app = notepad(["one ", held, "two"])
    with serving(app) as server:
        async with AsyncClient(server.url, token=TOKEN) as client:
            execution = (await client.create("s")).send("hi")
            async for event in execution:
                if isinstance(event, TextDelta):
                    break
        with pytest.raises(
            SessionError, match=r"the client was closed before execution .* ended; it goes on"
        ):
            await execution
        held.release()
        async with AsyncClient(server.url, token=TOKEN) as client:
            async with aclosing(client.session("s").subscribe()) as events:
                async for event in events:
                    if isinstance(event, Done):
                        break
            assert (await client.session("s").timeline())[-1].text == "one two"
